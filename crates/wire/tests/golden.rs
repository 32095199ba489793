//! Frames as they are written in `golden/`: what other versions and other languages rely on.
//! `make generate` has these tests write them anew (`WARDLINK_GENERATE=1`); a difference there is
//! a change of the protocol.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use uuid::Uuid;
use wardlink_wire::link::{
    self, Ack, Counts, Deliver, ErrorCode, ErrorItem, Hello, Known, Register, Registered, Send,
    SendResult, ToBs, ToMs, Unregister, ViewItem, Welcome, json, proto,
};
use wardlink_wire::terminal::{Down, DownMessage, Limits, TerminalError, Token, Up, UpSend};
use wardlink_wire::{
    EndId, Epoch, MessageId, MsId, Outcome, PARTITIONS, Reason, ServerId, SessionId, Stamp,
    StartId, ViewNumber,
};

/// An operation time: seconds in the upper half, an increment in the lower one.
const NUMBER: u64 = 0x6b03_1a80_0000_0002;
const EPOCH: Epoch = Epoch(NUMBER);
const STAMP: Stamp = Stamp { epoch: EPOCH, count: 300 };
const BODY: Bytes = Bytes::from_static("{\"text\":\"Grüße\",\"n\":[1, 2.5]}".as_bytes());

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(0xa1b2_c3d4_e5f6_4789_8abc_def0_1234_5600 + n)
}

fn end() -> EndId {
    "H1-A2-u7".parse().unwrap()
}

fn from() -> EndId {
    "H1-A2-nurse@3-b".parse().unwrap()
}

fn id() -> MessageId {
    MessageId::from_uuid(uuid(9))
}

fn session() -> SessionId {
    SessionId(uuid(1))
}

fn error() -> ErrorItem {
    let text = "endIdentifer: end id must be hospitalCode-hosareaCode-uid".to_owned();
    ErrorItem { code: ErrorCode::Malformed, text, about: "2".to_owned() }
}

fn to_ms() -> Vec<(&'static str, ToMs)> {
    let register = Register {
        epoch: EPOCH,
        end: end(),
        session: session(),
        stamp: Some(STAMP),
        client: Some("c-1".parse().unwrap()),
        n: 3,
    };
    let bare_register = Register { stamp: None, client: None, n: 0, ..register.clone() };
    let unregister = Unregister { epoch: EPOCH, end: end(), session: session() };
    let send = Send {
        epoch: EPOCH,
        end: end(),
        body: BODY,
        from: Some(from()),
        id: id(),
        seq: 70_000,
        deadline_ms: 9_990,
        ttl_s: Some(60),
        again: true,
    };
    let bare_send = Send { from: None, ttl_s: None, again: false, ..send.clone() };
    let ack = Ack { epoch: EPOCH, end: end(), session: session(), stamp: STAMP, expired: false };
    let hello = Hello {
        server_id: ServerId(uuid(2)),
        start: StartId(uuid(3)),
        link: 5,
        version: 1,
        view: ViewNumber(NUMBER),
        misses: vec![MsId(uuid(4))],
    };
    let known = Known {
        view: Some(ViewNumber(NUMBER)),
        synced: Some(ViewNumber(NUMBER - 1)),
        misses: Some(vec![MsId(uuid(4)), MsId(uuid(5))]),
        went_back: Some(EPOCH),
    };
    let misses_none = Known { misses: Some(Vec::new()), ..Known::default() };
    vec![
        ("0-register", ToMs::Register(register)),
        ("0-register-first", ToMs::Register(bare_register)),
        ("1-unregister", ToMs::Unregister(unregister)),
        ("2-send", ToMs::Send(send)),
        ("2-send-plain", ToMs::Send(bare_send)),
        ("3-ack", ToMs::Ack(ack.clone())),
        ("3-ack-expired", ToMs::Ack(Ack { expired: true, ..ack })),
        ("5-hello", ToMs::Hello(hello)),
        ("6-known", ToMs::Known(known)),
        ("6-known-misses-none", ToMs::Known(misses_none)),
        ("7-error", ToMs::Error(error())),
        ("8-token", ToMs::Token(link::Token { token: "ey.fresh.token".parse().unwrap() })),
    ]
}

fn to_bs() -> Vec<(&'static str, ToBs)> {
    let deliver = Deliver {
        epoch: EPOCH,
        end: end(),
        body: BODY,
        from: Some(from()),
        id: id(),
        create_at_ms: 1_795_478_400_000,
        expire_at_ms: 1_795_479_000_000,
        session: session(),
        stamp: STAMP,
        redelivered: true,
    };
    let bare_deliver = Deliver { from: None, redelivered: false, ..deliver.clone() };
    let delivered =
        SendResult { epoch: EPOCH, seq: 70_000, outcome: Outcome::Delivered, reason: None };
    let rejected = SendResult {
        outcome: Outcome::Rejected,
        reason: Some(Reason::MailboxFull),
        ..delivered.clone()
    };
    let registered = Registered { epoch: EPOCH, end: end(), session: session(), stamp: STAMP };
    let welcome = Welcome {
        ms_id: MsId(uuid(4)),
        version: 1,
        credit: 4096,
        message_ttl: 600,
        clock: 1_795_478_400_000,
    };
    let view = ViewItem {
        number: ViewNumber(NUMBER),
        id: uuid(6),
        members: vec![MsId(uuid(4)), MsId(uuid(5))],
        partitions: (0..PARTITIONS as i32).map(|i| (i % 3 - 1, Epoch(NUMBER - i as u64))).collect(),
    };
    let counts = Counts { links: vec![(MsId(uuid(4)), 3), (MsId(uuid(5)), 0)] };
    vec![
        ("2-deliver", ToBs::Deliver(deliver)),
        ("2-deliver-plain", ToBs::Deliver(bare_deliver)),
        ("3-result-delivered", ToBs::Result(delivered)),
        ("3-result-rejected", ToBs::Result(rejected)),
        ("4-registered", ToBs::Registered(registered.clone())),
        ("4-superseded", ToBs::Superseded(registered)),
        ("5-welcome", ToBs::Welcome(welcome)),
        ("6-counts", ToBs::Counts(counts)),
        ("6-view", ToBs::View(view)),
        ("7-error", ToBs::Error(error())),
    ]
}

fn up() -> Vec<(&'static str, Up)> {
    let send = UpSend { id: id(), to: end(), body: BODY, ttl_s: Some(60) };
    vec![
        ("send", Up::Send(send.clone())),
        ("send-without-ttl", Up::Send(UpSend { ttl_s: None, ..send })),
        ("ack", Up::Ack { seq: 7 }),
        ("token", Up::Token(Token("header.claims.signature".to_owned()))),
    ]
}

fn down() -> Vec<(&'static str, Down)> {
    let limits = Limits { body_bytes: 65_536, open_sends: 64, ttl_s: 600, deadline_ms: 10_000 };
    let message = DownMessage {
        seq: 7,
        id: id(),
        from: Some(from()),
        body: BODY,
        at_ms: 1_795_478_400_000,
        redelivered: false,
    };
    let invalid = Down::Error {
        code: TerminalError::Invalid,
        text: "to: \"end\" is missing".to_owned(),
        id: Some(id()),
    };
    let rejected = Some(Reason::MailboxFull);
    let server = ServerId(uuid(2));
    vec![
        ("welcome", Down::Welcome { end: end(), session: session(), server, limits }),
        ("message", Down::Message(message.clone())),
        ("message-plain", Down::Message(DownMessage { from: None, redelivered: true, ..message })),
        ("result", Down::Result { id: id(), outcome: Outcome::Delivered, reason: None }),
        (
            "result-rejected",
            Down::Result { id: id(), outcome: Outcome::Rejected, reason: rejected },
        ),
        ("error", invalid),
        ("reconnect", Down::Reconnect { after_ms: 1500 }),
    ]
}

fn generates() -> bool {
    std::env::var_os("WARDLINK_GENERATE").is_some_and(|it| it == "1")
}

/// Compares a file with what it should hold, or writes it.
fn check(directory: &str, name: &str, extension: &str, content: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(directory);
    let path: PathBuf = path.join(format!("{name}.{extension}"));
    if generates() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, content, "{} differs; see the head of this test", path.display());
}

/// Hexadecimal, 32 bytes a line.
fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|b| format!("{b:02x}")).collect::<String>() + "\n";
    bytes.chunks(32).map(line).collect()
}

#[test]
fn generated_frames_to_an_ms_are_as_they_were() {
    for (name, item) in to_ms() {
        let items = [item];
        let text = json::encode_to_ms(&items);
        let mut binary = BytesMut::new();
        proto::encode_to_ms(&items, &mut binary);
        check("to_ms", name, "json", &format!("{text}\n"));
        check("to_ms", name, "hex", &hex(&binary));
        let [item] = items;
        assert_eq!(json::decode_to_ms(&text).unwrap(), [Ok(item.clone())]);
        assert_eq!(proto::decode_to_ms(binary.freeze()).unwrap(), [Ok(item)]);
    }
}

#[test]
fn generated_frames_to_a_bs_are_as_they_were() {
    for (name, item) in to_bs() {
        let items = [item];
        let text = json::encode_to_bs(&items);
        let mut binary = BytesMut::new();
        proto::encode_to_bs(&items, &mut binary);
        check("to_bs", name, "json", &format!("{text}\n"));
        check("to_bs", name, "hex", &hex(&binary));
        let [item] = items;
        assert_eq!(json::decode_to_bs(&text).unwrap(), [Ok(item.clone())]);
        assert_eq!(proto::decode_to_bs(binary.freeze()).unwrap(), [Ok(item)]);
    }
}

#[test]
fn generated_frames_of_the_terminal_protocol_are_as_they_were() {
    for (name, frame) in up() {
        check("up", name, "json", &format!("{}\n", frame.to_json()));
        assert_eq!(Up::decode(&frame.to_json()), Ok(frame));
    }
    for (name, frame) in down() {
        check("down", name, "json", &format!("{}\n", frame.to_json()));
        assert_eq!(Down::decode(&frame.to_json()), Ok(frame));
    }
}

/// No file is left over from what is no more.
#[test]
fn every_golden_file_is_checked() {
    let count = |directory: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(directory);
        fs::read_dir(path).map_or(0, Iterator::count)
    };
    if !generates() {
        assert_eq!(count("to_ms"), 2 * to_ms().len());
        assert_eq!(count("to_bs"), 2 * to_bs().len());
        assert_eq!((count("up"), count("down")), (up().len(), down().len()));
    }
}
