//! Numbers, ids and stamps as BSON, in both directions. What is read is foreign data.

use ::mongodb::bson::{Bson, Document, RawDocumentBuf, Timestamp, rawdoc};
use wardlink_wire::{Epoch, Stamp};

use crate::store::OpTime;

/// 64 bits as a BSON timestamp, which the database sorts unsigned.
pub(super) fn timestamp(number: u64) -> Timestamp {
    Timestamp { time: (number >> 32) as u32, increment: number as u32 }
}

/// The 64 bits of a BSON timestamp.
pub(super) fn number(timestamp: Timestamp) -> u64 {
    u64::from(timestamp.time) << 32 | u64::from(timestamp.increment)
}

/// An operation time.
pub(super) fn op_time(timestamp: Timestamp) -> OpTime {
    OpTime(number(timestamp))
}

/// A whole number, whichever BSON type it has.
pub(super) fn int(document: &Document, field: &str) -> Option<i64> {
    match document.get(field)? {
        Bson::Int32(value) => Some(i64::from(*value)),
        Bson::Int64(value) => Some(*value),
        Bson::Double(value) if value.fract() == 0.0 && value.abs() < 9e15 => Some(*value as i64),
        _ => None,
    }
}

/// A stamp as a sub-document. The order of its fields is the order in which it is compared.
pub(super) fn stamp_doc(stamp: Stamp) -> RawDocumentBuf {
    rawdoc! { "epoch": timestamp(stamp.epoch.0), "count": stamp.count as i64 }
}

/// The stamp of a row or a document; `None` in one of an older deployment.
pub(super) fn stamp_of(document: &Document) -> Option<Stamp> {
    let stamp = document.get_document("stamp").ok()?;
    let epoch = Epoch(number(stamp.get_timestamp("epoch").ok()?));
    Some(Stamp { epoch, count: int(stamp, "count")? as u64 })
}
