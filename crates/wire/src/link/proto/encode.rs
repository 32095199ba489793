//! Items to bytes: each item lists its fields, in the order of their tags.

use bytes::BytesMut;

use super::sink::{
    Fields, LENGTH_DELIMITED, Sink, bytes, fixed, key_length, length_of, put_key, some_fixed,
    some_uint, text, uint, uuid, varint_length,
};
use super::{code, tag};
use crate::id::MsId;
use crate::link::{
    Ack, Counts, Deliver, ErrorItem, Hello, Known, Register, Registered, Send, SendResult, ToBs,
    ToMs, Token, Unregister, ViewItem, Welcome,
};
use crate::number::Stamp;

/// Appends one frame with `items` to `out`. At most
/// [`FRAME_MAX_ITEMS`](crate::link::FRAME_MAX_ITEMS) items fit into a frame.
pub fn encode_to_ms(items: &[ToMs], out: &mut BytesMut) {
    for item in items {
        match item {
            ToMs::Register(it) => put_item(tag::REGISTER, it, out),
            ToMs::Unregister(it) => put_item(tag::UNREGISTER, it, out),
            ToMs::Send(it) => put_item(tag::SEND_OR_DELIVER, it, out),
            ToMs::Ack(it) => put_item(tag::ACK_OR_RESULT, it, out),
            ToMs::Hello(it) => put_item(tag::HELLO_OR_WELCOME, it, out),
            ToMs::Known(it) => put_item(tag::KNOWN_OR_VIEW, it, out),
            ToMs::Error(it) => put_item(tag::ERROR, it, out),
            ToMs::Token(it) => put_item(tag::TOKEN, it, out),
        }
    }
}

/// Appends one frame with `items` to `out`. At most
/// [`FRAME_MAX_ITEMS`](crate::link::FRAME_MAX_ITEMS) items fit into a frame.
pub fn encode_to_bs(items: &[ToBs], out: &mut BytesMut) {
    for item in items {
        match item {
            ToBs::Deliver(it) => put_item(tag::SEND_OR_DELIVER, it, out),
            ToBs::Result(it) => put_item(tag::ACK_OR_RESULT, it, out),
            ToBs::Registered(it) => put_item(tag::REGISTERED, it, out),
            ToBs::Superseded(it) => put_item(tag::SUPERSEDED, it, out),
            ToBs::Welcome(it) => put_item(tag::HELLO_OR_WELCOME, it, out),
            ToBs::View(it) => put_item(tag::KNOWN_OR_VIEW, it, out),
            ToBs::Counts(it) => put_item(tag::COUNTS, it, out),
            ToBs::Error(it) => put_item(tag::ERROR, it, out),
        }
    }
}

/// Tag 1 of `Frame`, around the item's own tag.
fn put_item(tag: u32, fields: &impl Fields, out: &mut BytesMut) {
    let length = length_of(fields);
    let item_length = key_length(tag) + varint_length(length as u64) + length;
    out.reserve(1 + varint_length(item_length as u64) + item_length);
    put_key(1, LENGTH_DELIMITED, out);
    out.varint(item_length as u64);
    put_key(tag, LENGTH_DELIMITED, out);
    out.varint(length as u64);
    fields.put(out);
}

impl Fields for Stamp {
    fn put<S: Sink>(&self, out: &mut S) {
        fixed(1, self.epoch.0, out);
        uint(2, self.count, out);
    }
}

impl Fields for Register {
    fn put<S: Sink>(&self, out: &mut S) {
        fixed(1, self.epoch.0, out);
        text(2, self.end.as_str(), out);
        uuid(3, &self.session.0, out);
        if let Some(stamp) = &self.stamp {
            out.message(4, stamp);
        }
        if let Some(client) = &self.client {
            text(5, client.as_str(), out);
        }
        uint(6, self.n, out);
    }
}

impl Fields for Unregister {
    fn put<S: Sink>(&self, out: &mut S) {
        fixed(1, self.epoch.0, out);
        text(2, self.end.as_str(), out);
        uuid(3, &self.session.0, out);
    }
}

impl Fields for Send {
    fn put<S: Sink>(&self, out: &mut S) {
        fixed(1, self.epoch.0, out);
        text(2, self.end.as_str(), out);
        bytes(3, &self.body, out);
        if let Some(from) = &self.from {
            text(4, from.as_str(), out);
        }
        text(5, self.id.as_str(), out);
        uint(6, self.seq, out);
        uint(7, u64::from(self.deadline_ms), out);
        if let Some(ttl) = self.ttl_s {
            some_uint(8, u64::from(ttl), out);
        }
        uint(9, u64::from(self.again), out);
    }
}

impl Fields for Deliver {
    fn put<S: Sink>(&self, out: &mut S) {
        fixed(1, self.epoch.0, out);
        text(2, self.end.as_str(), out);
        bytes(3, &self.body, out);
        if let Some(from) = &self.from {
            text(4, from.as_str(), out);
        }
        text(5, self.id.as_str(), out);
        uint(6, self.create_at_ms, out);
        uint(7, self.expire_at_ms, out);
        uuid(8, &self.session.0, out);
        out.message(9, &self.stamp);
        uint(10, u64::from(self.redelivered), out);
    }
}

impl Fields for SendResult {
    fn put<S: Sink>(&self, out: &mut S) {
        fixed(1, self.epoch.0, out);
        uint(2, self.seq, out);
        uint(3, u64::from(code::outcome(self.outcome)), out);
        uint(4, u64::from(self.reason.map_or(0, code::reason)), out);
    }
}

impl Fields for Ack {
    fn put<S: Sink>(&self, out: &mut S) {
        fixed(1, self.epoch.0, out);
        text(2, self.end.as_str(), out);
        uuid(3, &self.session.0, out);
        out.message(4, &self.stamp);
        uint(5, u64::from(self.expired), out);
    }
}

impl Fields for Registered {
    fn put<S: Sink>(&self, out: &mut S) {
        fixed(1, self.epoch.0, out);
        text(2, self.end.as_str(), out);
        uuid(3, &self.session.0, out);
        out.message(4, &self.stamp);
    }
}

impl Fields for Hello {
    fn put<S: Sink>(&self, out: &mut S) {
        uuid(1, &self.server_id.0, out);
        uuid(2, &self.start.0, out);
        uint(3, self.link, out);
        uint(4, u64::from(self.version), out);
        fixed(5, self.view.0, out);
        self.misses.iter().for_each(|ms| uuid(6, &ms.0, out));
    }
}

struct MsIds<'a>(&'a [MsId]);

impl Fields for MsIds<'_> {
    fn put<S: Sink>(&self, out: &mut S) {
        self.0.iter().for_each(|ms| uuid(1, &ms.0, out));
    }
}

impl Fields for Known {
    fn put<S: Sink>(&self, out: &mut S) {
        if let Some(view) = self.view {
            some_fixed(1, view.0, out);
        }
        if let Some(synced) = self.synced {
            some_fixed(2, synced.0, out);
        }
        if let Some(misses) = &self.misses {
            out.message(3, &MsIds(misses));
        }
        if let Some(epoch) = self.went_back {
            some_fixed(4, epoch.0, out);
        }
    }
}

impl Fields for Welcome {
    fn put<S: Sink>(&self, out: &mut S) {
        uuid(1, &self.ms_id.0, out);
        uint(2, u64::from(self.version), out);
        uint(3, u64::from(self.credit), out);
        uint(4, u64::from(self.message_ttl), out);
        uint(5, self.clock, out);
    }
}

/// The packed owners of a view; `sint32`, for -1 is among them.
struct Owners<'a>(&'a ViewItem);

impl Fields for Owners<'_> {
    fn put<S: Sink>(&self, out: &mut S) {
        for &(owner, _) in &self.0.partitions {
            let zigzag = ((owner << 1) ^ (owner >> 31)) as u32;
            out.varint(u64::from(zigzag));
        }
    }
}

/// The packed epochs of a view.
struct Epochs<'a>(&'a ViewItem);

impl Fields for Epochs<'_> {
    fn put<S: Sink>(&self, out: &mut S) {
        self.0.partitions.iter().for_each(|&(_, epoch)| out.fixed64(epoch.0));
    }
}

impl Fields for ViewItem {
    fn put<S: Sink>(&self, out: &mut S) {
        fixed(1, self.number.0, out);
        uuid(2, &self.id, out);
        self.members.iter().for_each(|ms| uuid(3, &ms.0, out));
        if !self.partitions.is_empty() {
            out.message(4, &Owners(self));
            out.message(5, &Epochs(self));
        }
    }
}

struct Count<'a>(&'a (MsId, u32));

impl Fields for Count<'_> {
    fn put<S: Sink>(&self, out: &mut S) {
        uuid(1, &self.0.0.0, out);
        uint(2, u64::from(self.0.1), out);
    }
}

impl Fields for Counts {
    fn put<S: Sink>(&self, out: &mut S) {
        self.links.iter().for_each(|count| out.message(1, &Count(count)));
    }
}

impl Fields for ErrorItem {
    fn put<S: Sink>(&self, out: &mut S) {
        uint(1, u64::from(code::error(self.code)), out);
        text(2, &self.text, out);
        text(3, &self.about, out);
    }
}

impl Fields for Token {
    fn put<S: Sink>(&self, out: &mut S) {
        text(1, self.token.expose(), out);
    }
}
