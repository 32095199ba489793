//! The encoder writes by hand what the schema says by derive; here the schema reads and writes
//! the same frames.

use std::fs;
use std::path::Path;

use prost::{Message, Oneof};

use super::schema::{
    Ack, Counts, Deliver, Error, Hello, Known, Register, Registered, Send, SendResult, Token,
    Unregister, View, Welcome,
};

#[derive(Clone, PartialEq, Message)]
struct ToMsFrame {
    #[prost(message, repeated, tag = "1")]
    items: Vec<ToMsItem>,
}

#[derive(Clone, PartialEq, Message)]
struct ToBsFrame {
    #[prost(message, repeated, tag = "1")]
    items: Vec<ToBsItem>,
}

#[derive(Clone, PartialEq, Message)]
struct ToMsItem {
    #[prost(oneof = "ToMsKind", tags = "1, 2, 3, 4, 6, 7, 8, 11")]
    kind: Option<ToMsKind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum ToMsKind {
    #[prost(message, tag = "1")]
    Register(Register),
    #[prost(message, tag = "2")]
    Unregister(Unregister),
    #[prost(message, tag = "3")]
    Send(Send),
    #[prost(message, tag = "4")]
    Ack(Ack),
    #[prost(message, tag = "6")]
    Hello(Hello),
    #[prost(message, tag = "7")]
    Known(Known),
    #[prost(message, tag = "8")]
    Error(Error),
    #[prost(message, tag = "11")]
    Token(Token),
}

#[derive(Clone, PartialEq, Message)]
struct ToBsItem {
    #[prost(oneof = "ToBsKind", tags = "3, 4, 5, 6, 7, 8, 9, 10")]
    kind: Option<ToBsKind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum ToBsKind {
    #[prost(message, tag = "3")]
    Deliver(Deliver),
    #[prost(message, tag = "4")]
    Result(SendResult),
    #[prost(message, tag = "5")]
    Registered(Registered),
    #[prost(message, tag = "6")]
    Welcome(Welcome),
    #[prost(message, tag = "7")]
    View(View),
    #[prost(message, tag = "8")]
    Error(Error),
    #[prost(message, tag = "9")]
    Superseded(Registered),
    #[prost(message, tag = "10")]
    Counts(Counts),
}

/// The binary golden frames of one direction.
fn golden(directory: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(directory);
    let paths = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|it| it == "hex"))
        .map(|path| {
            let text: String = fs::read_to_string(path).unwrap().split_whitespace().collect();
            let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
            (0..text.len()).step_by(2).map(byte).collect()
        })
        .collect()
}

#[test]
fn stock_protobuf_reads_and_writes_the_same_frames() {
    let frames = golden("to_ms");
    assert!(!frames.is_empty());
    for bytes in frames {
        let frame = ToMsFrame::decode(&bytes[..]).unwrap();
        assert!(frame.items.iter().all(|item| item.kind.is_some()));
        assert_eq!(frame.encode_to_vec(), bytes);
    }
    let frames = golden("to_bs");
    assert!(!frames.is_empty());
    for bytes in frames {
        let frame = ToBsFrame::decode(&bytes[..]).unwrap();
        assert!(frame.items.iter().all(|item| item.kind.is_some()));
        assert_eq!(frame.encode_to_vec(), bytes);
    }
}
