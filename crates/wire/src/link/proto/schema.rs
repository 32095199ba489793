//! The protobuf messages within `Item`, derived. Numbers of 64 bits that use their upper half are
//! `fixed64`, ids of 128 bits are 16 raw bytes, and texts are read as bytes so that they stay
//! slices of the frame. Tag numbers never change and are never used again.

use bytes::Bytes;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Stamp {
    #[prost(fixed64, tag = "1")]
    pub(super) epoch: u64,
    #[prost(uint64, tag = "2")]
    pub(super) count: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Register {
    #[prost(fixed64, tag = "1")]
    pub(super) epoch: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) end: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) session: Bytes,
    #[prost(message, optional, tag = "4")]
    pub(super) stamp: Option<Stamp>,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) client: Bytes,
    #[prost(uint64, tag = "6")]
    pub(super) n: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Unregister {
    #[prost(fixed64, tag = "1")]
    pub(super) epoch: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) end: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) session: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Send {
    #[prost(fixed64, tag = "1")]
    pub(super) epoch: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) end: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) body: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) from: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) id: Bytes,
    #[prost(uint64, tag = "6")]
    pub(super) seq: u64,
    #[prost(uint32, tag = "7")]
    pub(super) deadline_ms: u32,
    #[prost(uint32, optional, tag = "8")]
    pub(super) ttl_s: Option<u32>,
    #[prost(bool, tag = "9")]
    pub(super) again: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Deliver {
    #[prost(fixed64, tag = "1")]
    pub(super) epoch: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) end: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) body: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) from: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) id: Bytes,
    #[prost(uint64, tag = "6")]
    pub(super) create_at_ms: u64,
    #[prost(uint64, tag = "7")]
    pub(super) expire_at_ms: u64,
    #[prost(bytes = "bytes", tag = "8")]
    pub(super) session: Bytes,
    #[prost(message, optional, tag = "9")]
    pub(super) stamp: Option<Stamp>,
    #[prost(bool, tag = "10")]
    pub(super) redelivered: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SendResult {
    #[prost(fixed64, tag = "1")]
    pub(super) epoch: u64,
    #[prost(uint64, tag = "2")]
    pub(super) seq: u64,
    #[prost(uint32, tag = "3")]
    pub(super) outcome: u32,
    #[prost(uint32, tag = "4")]
    pub(super) reason: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Ack {
    #[prost(fixed64, tag = "1")]
    pub(super) epoch: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) end: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) session: Bytes,
    #[prost(message, optional, tag = "4")]
    pub(super) stamp: Option<Stamp>,
    #[prost(bool, tag = "5")]
    pub(super) expired: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Registered {
    #[prost(fixed64, tag = "1")]
    pub(super) epoch: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) end: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) session: Bytes,
    #[prost(message, optional, tag = "4")]
    pub(super) stamp: Option<Stamp>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Hello {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) server_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) start: Bytes,
    #[prost(uint64, tag = "3")]
    pub(super) link: u64,
    #[prost(uint32, tag = "4")]
    pub(super) version: u32,
    #[prost(fixed64, tag = "5")]
    pub(super) view: u64,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub(super) misses: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MsIds {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) ids: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Known {
    #[prost(fixed64, optional, tag = "1")]
    pub(super) view: Option<u64>,
    #[prost(fixed64, optional, tag = "2")]
    pub(super) synced: Option<u64>,
    #[prost(message, optional, tag = "3")]
    pub(super) misses: Option<MsIds>,
    #[prost(fixed64, optional, tag = "4")]
    pub(super) went_back: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Welcome {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) ms_id: Bytes,
    #[prost(uint32, tag = "2")]
    pub(super) version: u32,
    #[prost(uint32, tag = "3")]
    pub(super) credit: u32,
    #[prost(uint32, tag = "4")]
    pub(super) message_ttl: u32,
    #[prost(uint64, tag = "5")]
    pub(super) clock: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct View {
    #[prost(fixed64, tag = "1")]
    pub(super) number: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) id: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub(super) members: Vec<Bytes>,
    #[prost(sint32, repeated, tag = "4")]
    pub(super) owners: Vec<i32>,
    #[prost(fixed64, repeated, tag = "5")]
    pub(super) epochs: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Count {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) ms: Bytes,
    #[prost(uint32, tag = "2")]
    pub(super) links: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Counts {
    #[prost(message, repeated, tag = "1")]
    pub(super) links: Vec<Count>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Error {
    #[prost(uint32, tag = "1")]
    pub(super) code: u32,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) text: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) about: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Token {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) token: Bytes,
}
