//! What goes into the core of a BS and what comes out of it.

use wardlink_wire::link::{ToBs, ToMs};
use wardlink_wire::terminal::{Down, Up, UpSend};
use wardlink_wire::{ClientId, CloseCode, EndId, Outcome, Reason, SessionId};

/// Milliseconds of this process's monotonic clock. Its zero means nothing.
pub type Millis = u64;

/// One connection to an MS, never used again within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// One post: a send over HTTP and who waits for its result. Never used again within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A connection to an MS is open; the core says hello on it.
    LinkOpened(LinkId),
    /// Items arrived on a link, in order.
    Items(LinkId, Vec<ToBs>),
    /// Something, perhaps only a pong, arrived on a link; a ping carries the database's clock.
    Heard(LinkId, Option<u64>),
    /// A link is gone.
    LinkClosed(LinkId),
    /// A terminal connected and proved who it is.
    SessionOpened {
        /// The session, random.
        session: SessionId,
        /// The terminal's end.
        end: EndId,
        /// The terminal program.
        client: Option<ClientId>,
        /// Counts the connections of `client`.
        n: u64,
        /// Whether the terminal acknowledges; else a written frame counts as its ack.
        acks: bool,
    },
    /// A terminal's frame.
    Up(SessionId, Up),
    /// The frame of the message `seq` was written to the socket of a terminal that does not acknowledge.
    Written(SessionId, u64),
    /// A terminal is gone.
    SessionClosed(SessionId),
    /// A send without a session. Answered by one [`Action::Posted`], unless it is taken back.
    Post {
        /// The post.
        request: RequestId,
        /// Whose token it came with: the bound of one caller is counted by it.
        caller: EndId,
        /// The sender that the target is shown.
        from: EndId,
        /// The message.
        send: UpSend,
    },
    /// Nobody waits for the result of a post any more.
    PostGone(RequestId),
    /// Time passed. Comes at least every [`super::TICK_MS`].
    Tick,
    /// The process is asked to stop: terminals are sent elsewhere, and served until they leave.
    Stop,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send an item on a link, in order.
    Send(LinkId, ToMs),
    /// Ping a link.
    Ping(LinkId),
    /// Close a link. The core has forgotten it already; no `LinkClosed` is needed.
    Close(LinkId, CloseCode),
    /// Send to a terminal, in order.
    Down(SessionId, Down),
    /// Close a terminal's connection. The core has forgotten it already.
    CloseSession(SessionId, CloseCode),
    /// The result of a post. The core has forgotten the post already.
    Posted(RequestId, Outcome, Option<Reason>),
    /// This BS can (or can no longer) take terminals: readiness.
    Ready(bool),
    /// The core is done: it was asked to stop, and no session is left and no post waits.
    Exit,
}

/// Counters of things that should be rare, and of work done. They only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Items dropped because their epoch was lower.
    pub fenced: u64,
    /// Views adopted.
    pub views: u64,
    /// Sends that were taken back and sent again.
    pub sent_again: u64,
    /// Delivers that repeated a message of the session.
    pub repeats: u64,
    /// Delivers that came after their expiry.
    pub expired: u64,
    /// Sends that reached their deadline here.
    pub late: u64,
    /// Sends refused as `overloaded`: beyond what a session, or this BS, may have open.
    pub refused: u64,
    /// Links closed by this BS.
    pub closed: u64,
    /// Sessions that were asked to connect elsewhere, all at one time.
    pub sent_away: u64,
    /// Sessions that were still here at the end of the drain window, and were closed.
    pub left_late: u64,
    /// Posts that were refused because too many are open.
    pub posts_refused: u64,
    /// Posts that were answered from the memory of results.
    pub posts_remembered: u64,
    /// Messages shown to terminals.
    pub shown: u64,
    /// Sends that nobody was told of, for their session had ended.
    pub abandoned: u64,
    /// Ids that a full dedupe window forgot before their time.
    pub forgotten: u64,
    /// Copies of a message that are not acked, for too many of one were owed.
    pub copies_dropped: u64,
    /// Items that waited for a view.
    pub parked: u64,
}
