//! What encoding and decoding cost, in nanoseconds an item, best of several rounds:
//! `cargo run --release -p wardlink-wire --example codec_ns`.

use std::hint::black_box;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use uuid::Uuid;
use wardlink_wire::link::{Ack, Deliver, Send, SendResult, ToBs, ToMs, json, proto};
use wardlink_wire::terminal::{Down, DownMessage, Up, UpSend};
use wardlink_wire::{EndId, Epoch, MessageId, Outcome, SessionId, Stamp};

const ROUNDS: usize = 15;
const BATCH: usize = 64;

/// Best time of one call of `work`, which handles `items` items, divided by them.
fn measure(what: &str, items: usize, mut work: impl FnMut()) {
    let calls = 20_000 / items;
    let best = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..calls).for_each(|_| work());
            start.elapsed().as_nanos() as f64 / (calls * items) as f64
        })
        .fold(f64::INFINITY, f64::min);
    println!("{what:<44} {best:7.1} ns");
}

fn to_ms(what: &str, item: ToMs) {
    for batch in [1, BATCH] {
        let items = vec![item.clone(); batch];
        let mut out = BytesMut::new();
        measure(&format!("{what}, binary, {batch} a frame: encode"), batch, || {
            out.clear();
            proto::encode_to_ms(black_box(&items), &mut out);
        });
        let frame = out.to_vec();
        measure(&format!("{what}, binary, {batch} a frame: decode"), batch, || {
            // A frame from a socket is fresh each time; this copy is part of the figure.
            let frame = Bytes::copy_from_slice(black_box(&frame));
            black_box(proto::decode_to_ms(frame).unwrap());
        });
    }
    let items = [item];
    let text = json::encode_to_ms(&items);
    measure(&format!("{what}, JSON: encode"), 1, || {
        black_box(json::encode_to_ms(black_box(&items)));
    });
    measure(&format!("{what}, JSON: decode"), 1, || {
        black_box(json::decode_to_ms(black_box(&text)).unwrap());
    });
}

fn to_bs(what: &str, item: ToBs) {
    let items = vec![item; BATCH];
    let mut out = BytesMut::new();
    measure(&format!("{what}, binary, {BATCH} a frame: encode"), BATCH, || {
        out.clear();
        proto::encode_to_bs(black_box(&items), &mut out);
    });
    let frame = out.to_vec();
    measure(&format!("{what}, binary, {BATCH} a frame: decode"), BATCH, || {
        let frame = Bytes::copy_from_slice(black_box(&frame));
        black_box(proto::decode_to_bs(frame).unwrap());
    });
}

fn main() {
    let end: EndId = "H1-A2-u7@ward-3".parse().unwrap();
    let from: EndId = "H1-A2-gateway-12".parse().unwrap();
    let id = MessageId::from_uuid(Uuid::from_u128(7));
    let session = SessionId(Uuid::from_u128(8));
    let epoch = Epoch(0x6700_0000_0000_0001);
    let stamp = Stamp { epoch, count: 70_000 };
    let body = Bytes::from(format!("{{\"text\":\"{}\"}}", "x".repeat(256 - 11)));
    let at_ms = 1_795_000_000_000;

    to_ms(
        "send",
        ToMs::Send(Send {
            epoch,
            end: end.clone(),
            body: body.clone(),
            from: Some(from.clone()),
            id: id.clone(),
            seq: 70_000,
            deadline_ms: 9_990,
            ttl_s: None,
            again: false,
        }),
    );
    to_ms("ack", ToMs::Ack(Ack { epoch, end: end.clone(), session, stamp, expired: false }));
    to_bs(
        "deliver",
        ToBs::Deliver(Deliver {
            epoch,
            end: end.clone(),
            body: body.clone(),
            from: Some(from.clone()),
            id: id.clone(),
            create_at_ms: at_ms,
            expire_at_ms: at_ms + 600_000,
            session,
            stamp,
            redelivered: false,
        }),
    );
    let outcome = Outcome::Delivered;
    to_bs("result", ToBs::Result(SendResult { epoch, seq: 70_000, outcome, reason: None }));

    let up = Up::Send(UpSend { id: id.clone(), to: end, body: body.clone(), ttl_s: Some(600) });
    let text = up.to_json();
    let mut out = String::new();
    measure("terminal send: encode", 1, || {
        out.clear();
        black_box(&up).encode(&mut out);
    });
    measure("terminal send: decode", 1, || {
        black_box(Up::decode(black_box(&text)).unwrap());
    });
    measure("terminal ack: decode", 1, || {
        black_box(Up::decode(black_box(r#"{"type":"ack","seq":70000}"#)).unwrap());
    });
    let message = DownMessage { seq: 1, id, from: Some(from), body, at_ms, redelivered: false };
    let down = Down::Message(message);
    let text = down.to_json();
    measure("terminal message: encode", 1, || {
        out.clear();
        black_box(&down).encode(&mut out);
    });
    measure("terminal message: decode", 1, || {
        black_box(Down::decode(black_box(&text)).unwrap());
    });
}
