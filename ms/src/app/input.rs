//! What reaches the engine.

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use wardlink_link::Queue;
use wardlink_wire::link::{ErrorItem, ToBs, ToMs};
use wardlink_wire::{CloseCode, EndId, Stamp};

use crate::core::api::{LinkId, OpId, PlainItem, Snapshot, StoreReply};

/// A message to a plain BS, once it is written.
pub(super) type Written = (EndId, Stamp);

/// A link's place in the queue, free again when the engine is done with what it came with: a link
/// has few, so that no link's frames crowd out the others'.
pub(super) type Turn = OwnedSemaphorePermit;

/// One thing that happened outside.
#[derive(Debug)]
pub(super) enum Input {
    LinkOpened {
        queue: Queue<ToBs, Written>,
        plain: bool,
        id: oneshot::Sender<LinkId>,
    },
    Items(LinkId, Vec<ToMs>, Turn),
    Plain(LinkId, Vec<PlainItem>, Turn),
    PlainWritten(LinkId, Vec<Written>),
    Heard(LinkId, Turn),
    /// Items that could not be used, and are answered.
    Unusable(LinkId, Vec<ErrorItem>),
    /// The link is to be closed: a frame was none, or its BS has no right to it any more.
    Close(LinkId, CloseCode),
    LinkClosed(LinkId),
    Replies(Vec<(OpId, StoreReply)>),
    Snapshot(oneshot::Sender<Snapshot>),
}
