//! What a peer sends cannot crash, stall or bloat a server.

mod strategies;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use wardlink_wire::Epoch;
use wardlink_wire::link::json::decode_plain;
use wardlink_wire::link::{ErrorCode, ErrorItem, FRAME_MAX_ITEMS, FrameError, Send, ToBs, ToMs};
use wardlink_wire::link::{json, proto};
use wardlink_wire::terminal::{BODY_DEPTH_MAX, BODY_MAX_BYTES, BadUp, Down, TerminalError, Up};

fn decode_all_binary(frame: Vec<u8>) {
    let frame = Bytes::from(frame);
    let _ = proto::decode_to_ms(frame.clone());
    let _ = proto::decode_to_bs(frame);
}

fn decode_all_text(text: &str) {
    let _ = json::decode_to_ms(text);
    let _ = json::decode_to_bs(text);
    let _ = decode_plain(text);
    let _ = Up::decode(text);
    let _ = Down::decode(text);
}

/// `message` as field `tag` of another, with the length that it has or is said to have.
fn field(tag: u8, message: &[u8], length: u64) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    prost::encode_length_delimiter(usize::try_from(length).unwrap(), &mut out).unwrap();
    out.extend(message);
    out
}

fn nested(tags: &[u8], message: Vec<u8>) -> Vec<u8> {
    tags.iter().rev().fold(message, |inner, tag| field(*tag, &inner, inner.len() as u64))
}

/// JSON and what almost is: words of the protocols, punctuation and noise.
fn almost_json() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("{\"type\":".to_owned()),
        (0..9u8).prop_map(|kind| format!("{{\"type\":{kind}")),
        "[\\[\\]{},:\"]",
        "\"(endIdentifer|messageContent|stamp|state|partitions|links|epoch|id|to|seq|ttl|body)\":",
        "\"(send|ack|token|welcome|message|result|H1-A2-u7|registered)\"",
        "-?[0-9]{1,25}(\\.5)?(e9)?",
        "\\PC{0,3}",
        Just("null".to_owned()),
    ];
    vec(word, 0..24).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_without_panic(frame in vec(any::<u8>(), 0..512)) {
        decode_all_binary(frame);
    }

    #[test]
    fn frames_with_changed_bytes_are_decoded_without_panic(
        up in vec(strategies::to_ms(), 1..4),
        down in vec(strategies::to_bs(), 1..4),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut frames = [BytesMut::new(), BytesMut::new()];
        proto::encode_to_ms(&up, &mut frames[0]);
        proto::encode_to_bs(&down, &mut frames[1]);
        for frame in frames {
            let mut frame = frame.to_vec();
            for (at, byte) in &changes {
                let at = at.index(frame.len());
                frame[at] = *byte;
            }
            decode_all_binary(frame[..cut.index(frame.len())].to_vec());
            decode_all_binary(frame);
        }
    }

    #[test]
    fn any_text_is_decoded_without_panic(text in "\\PC*", almost in almost_json()) {
        decode_all_text(&text);
        decode_all_text(&almost);
    }

    #[test]
    fn text_frames_with_changed_characters_are_decoded_without_panic(
        up in strategies::up(), down in strategies::down(),
        to_ms in strategies::to_ms(), to_bs in strategies::to_bs(),
        at in any::<prop::sample::Index>(), with in "[\\PC\"\\\\]",
    ) {
        for text in [up.to_json(), down.to_json(), json::encode_to_ms(&[to_ms]), json::encode_to_bs(&[to_bs])] {
            let mut text: Vec<char> = text.chars().collect();
            let at = at.index(text.len());
            text[at] = with.chars().next().unwrap();
            decode_all_text(&text.iter().collect::<String>());
            decode_all_text(&text[..at].iter().collect::<String>());
        }
    }

    #[test]
    fn an_error_is_never_answered(kind in vec(any::<u8>(), 0..40)) {
        let frame = Bytes::from(nested(&[1, 8], kind));
        prop_assert!(matches!(&proto::decode_to_ms(frame.clone()).unwrap()[..], [Ok(ToMs::Error(_))]));
        prop_assert!(matches!(&proto::decode_to_bs(frame).unwrap()[..], [Ok(ToBs::Error(_))]));
    }
}

/// Reserving what is told would end the process here: no machine has it.
#[test]
fn lengths_that_are_only_told_are_not_reserved() {
    for length in [1 << 20, 1 << 31, 1 << 40, u64::MAX >> 1, u64::MAX] {
        decode_all_binary(field(1, b"", length));
        for kind in 1..=11 {
            decode_all_binary(nested(&[1], field(kind, b"", length)));
            for inner in 1..=10 {
                let message = field(inner, b"12345678", length);
                decode_all_binary(nested(&[1, kind], message.clone()));
                decode_all_binary(nested(&[1, kind, inner], message));
            }
        }
    }
}

#[test]
fn a_bad_item_costs_only_itself() {
    let good = ToMs::Error(ErrorItem {
        code: ErrorCode::OutOfPlace,
        text: "text".to_owned(),
        about: "2".to_owned(),
    });
    let mut out = BytesMut::new();
    proto::encode_to_ms(std::slice::from_ref(&good), &mut out);
    // A send whose end is no end, one whose first field is no protobuf, a type of the future.
    out.extend(nested(&[1, 3], field(2, b"H1", 2)));
    out.extend(nested(&[1, 3], vec![0x0f]));
    out.extend(nested(&[1, 15], b"anything".to_vec()));
    proto::encode_to_ms(std::slice::from_ref(&good), &mut out);
    let items = proto::decode_to_ms(out.freeze()).unwrap();
    assert_eq!(items[0], Ok(good.clone()));
    for item in &items[1..3] {
        let error = item.as_ref().unwrap_err();
        assert_eq!((error.code, error.about.as_str()), (ErrorCode::Malformed, "2"));
    }
    assert_eq!(items[3].as_ref().unwrap_err().code, ErrorCode::UnknownType);
    assert_eq!(items[4..], [Ok(good.clone())]);

    let text = json::encode_to_ms(std::slice::from_ref(&good));
    let text =
        format!(r#"[{text},{{"type":2}},5,{{"type":"2"}},{{}},{{"type":9}},{{"type":4}},{text}]"#);
    let items = json::decode_to_ms(&text).unwrap();
    assert_eq!([&items[0], &items[7]], [&Ok(good.clone()), &Ok(good)]);
    let answers = items[1..7].iter().map(|item| {
        let error = item.as_ref().unwrap_err();
        (error.code, error.about.as_str())
    });
    let (malformed, unknown) = (ErrorCode::Malformed, ErrorCode::UnknownType);
    assert_eq!(
        answers.collect::<Vec<_>>(),
        [
            (malformed, "2"),
            (malformed, ""),
            (malformed, ""),
            (malformed, ""),
            (unknown, "9"),
            (unknown, "4")
        ]
    );
}

#[test]
fn frames_that_are_none_are_refused_whole() {
    for frame in [&b"\xff"[..], b"\x0a", b"\x0a\x05\x00", b"\x0b\x0c", b"\x09\x01"] {
        let frame = Bytes::copy_from_slice(frame);
        assert_eq!(proto::decode_to_ms(frame.clone()), Err(FrameError::NotProtobuf));
        assert_eq!(proto::decode_to_bs(frame), Err(FrameError::NotProtobuf));
    }
    for (text, error) in [
        ("", FrameError::NotJson),
        ("{", FrameError::NotJson),
        ("[{}", FrameError::NotJson),
        ("{} {}", FrameError::NotJson),
        ("5", FrameError::NotItems),
        (" null", FrameError::NotItems),
        ("\"{}\"", FrameError::NotItems),
    ] {
        assert_eq!(json::decode_to_ms(text), Err(error), "{text}");
        assert_eq!(json::decode_to_bs(text), Err(error), "{text}");
        assert_eq!(decode_plain(text), Err(error), "{text}");
    }
}

#[test]
fn a_frame_has_a_bounded_number_of_items() {
    let binary = |count: usize| proto::decode_to_ms(Bytes::from(b"\x0a\x00".repeat(count)));
    let text = |count: usize| json::decode_to_ms(&format!("[{}]", vec!["1"; count].join(",")));
    assert_eq!(binary(FRAME_MAX_ITEMS).unwrap().len(), FRAME_MAX_ITEMS);
    assert_eq!(text(FRAME_MAX_ITEMS).unwrap().len(), FRAME_MAX_ITEMS);
    assert_eq!(binary(FRAME_MAX_ITEMS + 1), Err(FrameError::TooManyItems));
    assert_eq!(text(FRAME_MAX_ITEMS + 1), Err(FrameError::TooManyItems));
}

#[test]
fn items_without_a_body_are_bounded() {
    for (kind, list) in [(6, 6), (7, 3), (10, 1)] {
        let item = [list << 3 | 2, 0].repeat(33 * 1024);
        let frame = Bytes::from(nested(&[1, kind], item));
        if kind != 10 {
            assert_eq!(too_large(proto::decode_to_ms(frame.clone())), "item is too large");
        }
        assert_eq!(too_large(proto::decode_to_bs(frame)), "item is too large");
    }
}

fn too_large<T: std::fmt::Debug>(items: Result<Vec<Result<T, ErrorItem>>, FrameError>) -> String {
    items.unwrap().remove(0).unwrap_err().text
}

#[test]
fn a_bs_cannot_make_a_message_of_what_is_no_body() {
    let send = |body: &str| {
        ToMs::Send(Send {
            epoch: Epoch(1),
            end: "H1-A2-u7".parse().unwrap(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            from: None,
            id: "m".parse().unwrap(),
            seq: 1,
            deadline_ms: 1_000,
            ttl_s: None,
            again: false,
        })
    };
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    let large = format!("\"{}\"", "x".repeat(BODY_MAX_BYTES - 1));
    for (body, text) in [
        (r#"1,"type":"welcome""#, "messageContent: no JSON value"),
        ("{", "messageContent: no JSON value"),
        (deep.as_str(), "messageContent: nested deeper than 128"),
        (large.as_str(), "messageContent: larger than 65536 bytes"),
    ] {
        let mut frame = BytesMut::new();
        proto::encode_to_ms(&[send("1"), send(body), send("2")], &mut frame);
        let items = proto::decode_to_ms(frame.freeze()).unwrap();
        let bad = items[1].as_ref().unwrap_err();
        assert_eq!(
            (bad.code, bad.text.as_str(), bad.about.as_str()),
            (ErrorCode::Malformed, text, "2")
        );
        assert!(items[0].is_ok() && items[2].is_ok(), "it costs only its item");
        if body == deep || body == large {
            let items = json::decode_to_ms(&json::encode_to_ms(&[send(body)])).unwrap();
            assert_eq!(items[0].as_ref().unwrap_err().text, text);
            let plain =
                format!(r#"{{"type":2,"endIdentifer":"H1-A2-u7","messageContent":{body}}}"#);
            assert_eq!(decode_plain(&plain).unwrap()[0].as_ref().unwrap_err().text, text);
        }
    }
}

#[test]
fn deep_nesting_neither_overflows_the_stack_nor_is_parsed() {
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    decode_all_text(&deep);
    decode_all_text(&"[".repeat(60_000));
    decode_all_text(&r#"{"a":"#.repeat(10_000));
    for name in ["id", "to", "ttl", "stamp", "code", "type"] {
        decode_all_text(&format!(r#"{{"type":7,"{name}":{deep}}}"#));
        decode_all_text(&format!(r#"{{"type":"send","{name}":{deep}}}"#));
    }
    let send = format!(r#"{{"type":"send","id":"m","to":"H1-A2-u7","body":{deep}}}"#);
    assert_eq!(Up::decode(&send).unwrap_err().code, TerminalError::Invalid);
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let of = |body: &str| format!(r#"{{"type":"send","id":"m","to":"H1-A2-u7","body":{body}}}"#);
    assert!(Up::decode(&of(&nested(BODY_DEPTH_MAX))).is_ok());
    assert!(Up::decode(&of(&nested(BODY_DEPTH_MAX + 1))).is_err());
    let quoted = format!(r#""\"{}""#, "[".repeat(BODY_DEPTH_MAX + 1));
    assert!(Up::decode(&of(&quoted)).is_ok(), "brackets in a string are no nesting");
}

#[test]
fn a_terminal_is_told_what_was_wrong_and_with_which_message() {
    let send = |fields: &str| format!(r#"{{"type":"send","id":"m1",{fields}}}"#);
    let huge = format!("\"{}\"", "x".repeat(BODY_MAX_BYTES - 1));
    let to = r#""to":"H1-A2-u7""#;
    for (text, code, id) in [
        ("".to_owned(), TerminalError::Malformed, false),
        ("[\"send\"]".to_owned(), TerminalError::Malformed, false),
        ("7".to_owned(), TerminalError::Malformed, false),
        (r#"{"id":"m1"}"#.to_owned(), TerminalError::Malformed, true),
        (r#"{"type":2,"id":"m1"}"#.to_owned(), TerminalError::Malformed, true),
        (r#"{"type":"wave","id":"m1"}"#.to_owned(), TerminalError::UnknownType, true),
        (r#"{"type":"send","id":"m 1"}"#.to_owned(), TerminalError::Invalid, false),
        (r#"{"type":"send","id":{},"to":7}"#.to_owned(), TerminalError::Invalid, false),
        (r#"{"type":"ack"}"#.to_owned(), TerminalError::Invalid, false),
        (r#"{"type":"ack","seq":"1","id":"m1"}"#.to_owned(), TerminalError::Invalid, false),
        (r#"{"type":"ack","seq":-1}"#.to_owned(), TerminalError::Invalid, false),
        (r#"{"type":"ack","seq":"1"}"#.to_owned(), TerminalError::Invalid, false),
        (r#"{"type":"token","token":7}"#.to_owned(), TerminalError::Invalid, false),
        (send(r#""to":"H1","body":1"#), TerminalError::Invalid, true),
        (send(r#""to":["H1"],"body":1"#), TerminalError::Invalid, true),
        (send(to), TerminalError::Invalid, true),
        (send(&format!(r#"{to},"body":1,"ttl":0"#)), TerminalError::Invalid, true),
        (send(&format!(r#"{to},"body":1,"ttl":1.5"#)), TerminalError::Invalid, true),
        (send(&format!(r#"{to},"body":1,"ttl":"9""#)), TerminalError::Invalid, true),
        (send(&format!(r#"{to},"body":{huge}"#)), TerminalError::Invalid, true),
    ] {
        let BadUp { code: found, id: found_id, .. } = Up::decode(&text).unwrap_err();
        let shown = &text[..text.len().min(80)];
        assert_eq!((found, found_id.is_some()), (code, id), "{shown}");
    }
    let largest = &format!("\"{}\"", "x".repeat(BODY_MAX_BYTES - 2));
    for fields in
        [r#""body":null"#, r#""body":1,"ttl":99999999999"#, &format!(r#""body":{largest}"#)]
    {
        assert!(Up::decode(&send(&format!("{to},{fields}"))).is_ok());
    }
}

#[test]
fn what_a_later_version_adds_does_not_cost_what_is_known() {
    let text =
        r#"{"type":"result","id":"m","outcome":"rejected","reason":"moon phase","retry":true}"#;
    assert!(matches!(Down::decode(text), Ok(Down::Result { reason: None, .. })));
    let text = r#"{"type":"wave","seq":"a string here"}"#;
    assert_eq!(Down::decode(text).unwrap_err().code, TerminalError::UnknownType);
    let text = r#"{"type":3,"epoch":"1","seq":"2","outcome":"rejected","reason":"moon phase"}"#;
    let items = json::decode_to_bs(text).unwrap();
    assert!(matches!(&items[..], [Ok(ToBs::Result(it))] if it.reason.is_none()));
    // The same in protobuf: epoch and seq left out, outcome 3, reason 99.
    let frame = Bytes::from(nested(&[1, 4], vec![3 << 3, 3, 4 << 3, 99]));
    let items = proto::decode_to_bs(frame).unwrap();
    assert!(matches!(&items[..], [Ok(ToBs::Result(it))] if it.reason.is_none()));
}

#[test]
fn a_token_does_not_show_itself() {
    let up = Up::decode(r#"{"type":"token","token":"secret"}"#).unwrap();
    assert!(!format!("{up:?}").contains("secret"));
}
