//! Protobuf's primitives for the encoder. A message lists its fields to a [`Sink`] that counts
//! and then to one that writes; nothing is cloned or collected in between.

use bytes::{BufMut, BytesMut};
use uuid::Uuid;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
pub(super) const LENGTH_DELIMITED: u64 = 2;

/// Where bytes go.
pub(super) trait Sink {
    fn varint(&mut self, value: u64);
    fn fixed64(&mut self, value: u64);
    fn raw(&mut self, bytes: &[u8]);

    fn message(&mut self, tag: u32, fields: &impl Fields)
    where
        Self: Sized,
    {
        put_key(tag, LENGTH_DELIMITED, self);
        self.varint(length_of(fields) as u64);
        fields.put(self);
    }
}

impl Sink for BytesMut {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.put_u8(value as u8);
    }

    fn fixed64(&mut self, value: u64) {
        self.put_u64_le(value);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Only counts.
struct Length(usize);

impl Sink for Length {
    fn varint(&mut self, value: u64) {
        self.0 += varint_length(value);
    }

    fn fixed64(&mut self, _: u64) {
        self.0 += 8;
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

pub(super) fn length_of(fields: &impl Fields) -> usize {
    let mut length = Length(0);
    fields.put(&mut length);
    length.0
}

pub(super) fn varint_length(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

pub(super) fn key_length(tag: u32) -> usize {
    varint_length(u64::from(tag) << 3)
}

pub(super) fn put_key(tag: u32, wire_type: u64, out: &mut impl Sink) {
    out.varint(u64::from(tag) << 3 | wire_type);
}

// As protobuf has it, a field that has its default value is left out, unless it is optional.

pub(super) fn uint(tag: u32, value: u64, out: &mut impl Sink) {
    if value != 0 {
        some_uint(tag, value, out);
    }
}

pub(super) fn some_uint(tag: u32, value: u64, out: &mut impl Sink) {
    put_key(tag, VARINT, out);
    out.varint(value);
}

pub(super) fn fixed(tag: u32, value: u64, out: &mut impl Sink) {
    if value != 0 {
        some_fixed(tag, value, out);
    }
}

pub(super) fn some_fixed(tag: u32, value: u64, out: &mut impl Sink) {
    put_key(tag, FIXED64, out);
    out.fixed64(value);
}

pub(super) fn bytes(tag: u32, value: &[u8], out: &mut impl Sink) {
    if !value.is_empty() {
        put_key(tag, LENGTH_DELIMITED, out);
        out.varint(value.len() as u64);
        out.raw(value);
    }
}

pub(super) fn text(tag: u32, value: &str, out: &mut impl Sink) {
    bytes(tag, value.as_bytes(), out);
}

pub(super) fn uuid(tag: u32, value: &Uuid, out: &mut impl Sink) {
    bytes(tag, value.as_bytes(), out);
}

/// A protobuf message: its fields, in the order of their tags.
pub(super) trait Fields {
    fn put<S: Sink>(&self, out: &mut S);
}
