//! What reaches the engine.

use tokio::sync::oneshot;
use wardlink_link::Queue;
use wardlink_wire::link::{ErrorItem, LinkToken, ToBs, ToMs};
use wardlink_wire::terminal::{Up, UpSend};
use wardlink_wire::{EndId, Outcome, Reason, SessionId};

use super::front::Query;
use super::outbox::Outbox;
use crate::core::Snapshot;
use crate::core::api::LinkId;

/// One thing that happened outside.
#[derive(Debug)]
pub(super) enum Input {
    LinkOpened {
        queue: Queue<ToMs, ()>,
        id: oneshot::Sender<LinkId>,
    },
    Items(LinkId, Vec<ToBs>),
    Heard(LinkId, Option<u64>),
    /// Items that could not be used, and are answered.
    Unusable(LinkId, Vec<ErrorItem>),
    /// What this BS shows on a link from now on.
    Fresh(LinkId, LinkToken),
    /// A frame was none: the link is to be closed.
    BadFrame(LinkId),
    LinkClosed(LinkId),
    SessionOpened {
        end: EndId,
        query: Query,
        outbox: Outbox,
        id: oneshot::Sender<SessionId>,
    },
    Up(SessionId, Up),
    Written(SessionId, u64),
    SessionClosed(SessionId),
    /// Somebody looks.
    Snapshot(oneshot::Sender<Snapshot>),
    /// A send over HTTP. Who no longer waits for the result drops the other end of `answer`.
    Post {
        caller: EndId,
        from: EndId,
        send: UpSend,
        answer: oneshot::Sender<(Outcome, Option<Reason>)>,
    },
}
