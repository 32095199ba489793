//! What reaches the engine.

use tokio::sync::oneshot;
use wardlink_link::Queue;
use wardlink_wire::link::{ErrorItem, ToBs, ToMs};
use wardlink_wire::{EndId, Stamp};

use crate::core::api::{LinkId, OpId, PlainItem, Snapshot, StoreReply};

/// A message to a plain BS, once it is written.
pub(super) type Written = (EndId, Stamp);

/// One thing that happened outside.
#[derive(Debug)]
pub(super) enum Input {
    LinkOpened {
        queue: Queue<ToBs, Written>,
        plain: bool,
        id: oneshot::Sender<LinkId>,
    },
    Items(LinkId, Vec<ToMs>),
    Plain(LinkId, Vec<PlainItem>),
    PlainWritten(LinkId, Vec<Written>),
    Heard(LinkId),
    /// Items that could not be used, and are answered.
    Unusable(LinkId, Vec<ErrorItem>),
    /// A frame was none: the link is to be closed.
    BadFrame(LinkId),
    LinkClosed(LinkId),
    Replies(Vec<(OpId, StoreReply)>),
    Snapshot(oneshot::Sender<Snapshot>),
}
