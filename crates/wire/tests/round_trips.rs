//! What was encoded is what is decoded, in both encodings, and what is not known is ignored.

mod strategies;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use wardlink_wire::EndId;
use wardlink_wire::link::json::{Plain, decode_plain, encode_plain_deliver};
use wardlink_wire::link::{ToBs, ToMs, json, proto};
use wardlink_wire::terminal::{Down, Up};

fn binary_to_ms(items: &[ToMs]) -> Bytes {
    let mut out = BytesMut::new();
    proto::encode_to_ms(items, &mut out);
    out.freeze()
}

fn binary_to_bs(items: &[ToBs]) -> Bytes {
    let mut out = BytesMut::new();
    proto::encode_to_bs(items, &mut out);
    out.freeze()
}

fn all_ok<T, E: std::fmt::Debug, F: std::fmt::Debug>(
    items: Result<Vec<Result<T, E>>, F>,
) -> Vec<T> {
    items.unwrap().into_iter().collect::<Result<_, _>>().unwrap()
}

/// The one item of a binary frame, with fields that no version knows before and after its kind
/// and at its kind's end, and one beside it in the frame.
fn with_unknown_fields(frame: &[u8]) -> Bytes {
    const UNKNOWN: &[u8] = b"\xf8\x7f\x05\xfa\x7f\x03abc\xf9\x7f12345678\xfd\x7f1234";
    fn take<'a>(bytes: &mut &'a [u8]) -> (u8, &'a [u8]) {
        let key = bytes[0];
        *bytes = &bytes[1..];
        let length = prost::decode_length_delimiter(&mut *bytes).unwrap();
        let (field, rest) = bytes.split_at(length);
        *bytes = rest;
        (key, field)
    }
    fn put(key: u8, field: &[u8], out: &mut Vec<u8>) {
        out.push(key);
        prost::encode_length_delimiter(field.len(), out).unwrap();
        out.extend(field);
    }
    let (item_key, mut item) = take(&mut &*frame);
    let (kind_key, kind) = take(&mut item);
    assert!(item.is_empty());
    let mut new_item = UNKNOWN.to_vec();
    put(kind_key, &[kind, UNKNOWN].concat(), &mut new_item);
    new_item.extend(UNKNOWN);
    let mut new_frame = UNKNOWN.to_vec();
    put(item_key, &new_item, &mut new_frame);
    new_frame.extend(UNKNOWN);
    new_frame.into()
}

/// The object, and the objects directly within it, with fields that no version knows. Bodies are
/// not ours to add to.
fn with_unknown_keys(text: &str) -> String {
    fn add(object: &mut Map<String, Value>) {
        object.insert("fromTheFuture".to_owned(), json!({"a": [1, "x", null]}));
    }
    let mut object: Map<String, Value> = serde_json::from_str(text).unwrap();
    for (_, value) in object.iter_mut().filter(|(key, _)| ["stamp", "limits"].contains(&&***key)) {
        value.as_object_mut().map(add);
    }
    add(&mut object);
    serde_json::to_string(&object).unwrap()
}

proptest! {
    #[test]
    fn items_to_an_ms_round_trip_in_both_encodings(items in vec(strategies::to_ms(), 0..6)) {
        let binary = all_ok(proto::decode_to_ms(binary_to_ms(&items)));
        let text = all_ok(json::decode_to_ms(&json::encode_to_ms(&items)));
        prop_assert_eq!(&binary, &items);
        prop_assert_eq!(&text, &items);
    }

    #[test]
    fn items_to_a_bs_round_trip_in_both_encodings(items in vec(strategies::to_bs(), 0..6)) {
        let binary = all_ok(proto::decode_to_bs(binary_to_bs(&items)));
        let text = all_ok(json::decode_to_bs(&json::encode_to_bs(&items)));
        prop_assert_eq!(&binary, &items);
        prop_assert_eq!(&text, &items);
    }

    #[test]
    fn terminal_frames_round_trip(up in strategies::up(), down in strategies::down()) {
        prop_assert_eq!(Up::decode(&up.to_json()).unwrap(), up);
        prop_assert_eq!(Down::decode(&down.to_json()).unwrap(), down);
    }

    #[test]
    fn plain_frames_round_trip(end in strategies::end(), body in strategies::body()) {
        let text = encode_plain_deliver(&end, &body);
        prop_assert_eq!(all_ok(decode_plain(&text)), [Plain::Send { end, body }]);
    }

    #[test]
    fn binary_fields_that_are_not_known_are_ignored(
        up in strategies::to_ms(), down in strategies::to_bs()
    ) {
        let frame = with_unknown_fields(&binary_to_ms(std::slice::from_ref(&up)));
        prop_assert_eq!(all_ok(proto::decode_to_ms(frame)), [up]);
        let frame = with_unknown_fields(&binary_to_bs(std::slice::from_ref(&down)));
        prop_assert_eq!(all_ok(proto::decode_to_bs(frame)), [down]);
    }

    #[test]
    fn json_keys_that_are_not_known_are_ignored(
        to_ms in strategies::to_ms(), to_bs in strategies::to_bs(),
        up in strategies::up(), down in strategies::down()
    ) {
        let item = |text: String| with_unknown_keys(&text);
        let plain = Bytes::from_static(b"\"body\"");
        let to_ms = match to_ms {
            ToMs::Send(it) => ToMs::Send(wardlink_wire::link::Send { body: plain.clone(), ..it }),
            it => it,
        };
        let to_bs = match to_bs {
            ToBs::Deliver(it) => {
                ToBs::Deliver(wardlink_wire::link::Deliver { body: plain.clone(), ..it })
            }
            it => it,
        };
        let up = match up {
            Up::Send(it) => {
                Up::Send(wardlink_wire::terminal::UpSend { body: plain.clone(), ..it })
            }
            it => it,
        };
        let down = match down {
            Down::Message(it) => {
                Down::Message(wardlink_wire::terminal::DownMessage { body: plain, ..it })
            }
            it => it,
        };
        let text = item(json::encode_to_ms(std::slice::from_ref(&to_ms)));
        prop_assert_eq!(all_ok(json::decode_to_ms(&text)), [to_ms]);
        let text = item(json::encode_to_bs(std::slice::from_ref(&to_bs)));
        prop_assert_eq!(all_ok(json::decode_to_bs(&text)), [to_bs]);
        prop_assert_eq!(Up::decode(&item(up.to_json())).unwrap(), up);
        prop_assert_eq!(Down::decode(&item(down.to_json())).unwrap(), down);
    }
}

#[test]
fn decoded_bodies_are_slices_of_the_frame() {
    let items = [ToMs::Send(wardlink_wire::link::Send {
        epoch: wardlink_wire::Epoch(1),
        end: "H1-A2-u7".parse().unwrap(),
        body: Bytes::from_static(b"{\"a\":1}"),
        from: None,
        id: "m".parse().unwrap(),
        seq: 1,
        deadline_ms: 1,
        ttl_s: None,
        again: false,
    })];
    let frame = binary_to_ms(&items);
    let decoded = all_ok(proto::decode_to_ms(frame.clone()));
    let [ToMs::Send(send)] = &decoded[..] else { panic!("one send") };
    assert!(frame.as_ptr_range().contains(&send.body.as_ptr()));
}

#[test]
fn plain_frames_of_the_original_system_are_understood() {
    let end: EndId = "H1-A2-u7".parse().unwrap();
    let text = r#"[{"type":0,"endIdentifer":"H1-A2-u7"},{"type":1,"endIdentifer":"H1-A2-u7"},
        {"type":2,"endIdentifer":"H1-A2-u7","messageContent":"{\"a\":1}"}]"#;
    let body = Bytes::from_static(br#""{\"a\":1}""#);
    assert_eq!(
        all_ok(decode_plain(text)),
        [
            Plain::Register { end: end.clone() },
            Plain::Unregister { end: end.clone() },
            Plain::Send { end: end.clone(), body: body.clone() },
        ]
    );
    assert_eq!(
        encode_plain_deliver(&end, &body),
        r#"{"type":2,"endIdentifer":"H1-A2-u7","messageContent":"{\"a\":1}"}"#
    );
}

#[test]
fn json_numbers_are_taken_as_strings_and_as_numbers() {
    let text = |q: &str| {
        format!(
            r#"{{"type":2,"epoch":{q}7{q},"endIdentifer":"H1-A2-u7","messageContent":null,
            "id":"m","seq":{q}9{q},"deadline":{q}10{q},"ttl":{q}11{q},"from":null}}"#
        )
    };
    let items = all_ok(json::decode_to_ms(&text("\"")));
    assert_eq!(items, all_ok(json::decode_to_ms(&text(""))));
    let [ToMs::Send(send)] = &items[..] else { panic!("one send") };
    assert_eq!((send.epoch.0, send.seq, send.deadline_ms, send.ttl_s), (7, 9, 10, Some(11)));
    assert_eq!(&send.body[..], b"null");
}
