//! What goes into the core and what comes out of it.

use bytes::Bytes;
use uuid::Uuid;
use wardlink_view::{Beat, View};
use wardlink_wire::link::{ToBs, ToMs};
use wardlink_wire::{CloseCode, EndId, MessageId, MsId, ServerId, SessionId, Stamp};

use crate::store::{
    Append, Appended, Applied, DocKey, MailboxRead, OpTime, Page, Renewal, Renewed, Row,
    StoreError, ViewChange,
};

/// Milliseconds of this process's monotonic clock. Its zero means nothing.
pub type Millis = u64;

/// One accepted connection of a BS, never used again within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// One database operation of the core, never used again within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// What a plain BS sends: it knows no epochs, sessions or results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlainItem {
    /// The end is at this BS.
    Register(EndId),
    /// The end left.
    Unregister(EndId),
    /// A message for an end; the id is made by the shell, random.
    Send {
        /// The target.
        end: EndId,
        /// JSON text of the body.
        body: Bytes,
        /// A random id.
        id: MessageId,
    },
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A BS opened a link. `plain`: without the sub-protocol; the random server id that it is given.
    LinkOpened {
        /// The link.
        link: LinkId,
        /// Server id of a plain BS.
        plain: Option<ServerId>,
    },
    /// Items arrived on a link, in order.
    Items(LinkId, Vec<ToMs>),
    /// Items of a plain BS arrived.
    Plain(LinkId, Vec<PlainItem>),
    /// A message to a plain BS was written to its socket.
    PlainWritten(LinkId, EndId, Stamp),
    /// Something, perhaps only a pong, arrived on a link.
    Heard(LinkId),
    /// A link is gone.
    LinkClosed(LinkId),
    /// A database operation was answered, or given up by the shell.
    Reply(OpId, StoreReply),
    /// Time passed. Comes at least every [`super::TICK_MS`].
    Tick,
    /// The process is asked to stop: leave the view, then end.
    Stop,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send an item on a link, in order.
    Send(LinkId, ToBs),
    /// Send `{"type":2}` to a plain BS, then report [`Event::PlainWritten`].
    SendPlain {
        /// The link.
        link: LinkId,
        /// The target.
        end: EndId,
        /// JSON text of the body.
        body: Bytes,
        /// Stamp to report.
        stamp: Stamp,
    },
    /// Ping a link, with the database's clock in Unix milliseconds.
    Ping(LinkId, u64),
    /// Close a link. The core has forgotten it already; no `LinkClosed` is needed.
    Close(LinkId, CloseCode),
    /// Begin a database operation; answer with [`Event::Reply`] exactly once, within a bound.
    Store(OpId, StoreOp),
    /// This MS is (or is no longer) fit to take work: readiness.
    Ready(bool),
    /// The core is done: it left the view and its links have followed.
    Exit,
}

/// A database operation. See [`crate::store::Store`] for what each does.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreOp {
    /// Read the view document.
    ReadView {
        /// Not older than this.
        after: OpTime,
    },
    /// Change the view.
    ChangeView(ViewChange),
    /// Renew.
    Renew(Renewal),
    /// Read one row.
    ReadRow {
        /// The end.
        end: EndId,
        /// Not older than this.
        after: OpTime,
    },
    /// Write one row where the one that is there has no higher stamp.
    WriteRow(Row),
    /// Delete a row of a session.
    DeleteRow {
        /// The end.
        end: EndId,
        /// The BS.
        server: ServerId,
        /// The session.
        session: SessionId,
    },
    /// Append to one mailbox.
    Append(Append),
    /// Count one mailbox.
    Count {
        /// The end.
        end: EndId,
        /// Not older than this.
        after: OpTime,
    },
    /// Read one mailbox.
    ReadMailbox {
        /// What to read.
        read: MailboxRead,
        /// Not older than this.
        after: OpTime,
    },
    /// Delete documents of one mailbox.
    Delete {
        /// The end.
        end: EndId,
        /// The documents.
        keys: Vec<DocKey>,
    },
    /// Note that servers are linked.
    Touch(Vec<ServerId>),
    /// Servers named in rows that nobody has touched for a while.
    Quiet {
        /// For so long.
        quiet_ms: u64,
        /// At most so many.
        limit: usize,
        /// Not older than this.
        after: OpTime,
    },
    /// Delete all rows of a server.
    DeleteRowsOf(ServerId),
    /// Rows of servers, page by page.
    RowsOf {
        /// The servers.
        servers: Vec<ServerId>,
        /// Above this end.
        above: Option<EndId>,
        /// At most so many.
        limit: usize,
        /// Not older than this.
        after: OpTime,
    },
}

/// Answer to a database operation: the value, and the operation time of the reply.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreReply {
    /// Operation time, where there was a reply.
    pub time: OpTime,
    /// The answer.
    pub value: Result<StoreValue, StoreError>,
}

/// The value of an answer, by kind of operation.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreValue {
    /// `ReadView`.
    View(Option<View>),
    /// `ChangeView`, `WriteRow`.
    Applied(Applied),
    /// `Renew`; `None` is a refusal.
    Renewed(Option<Renewed>),
    /// `ReadRow`.
    Row(Option<Row>),
    /// `Append`.
    Appended(Appended),
    /// `Count`.
    Count(usize),
    /// `ReadMailbox`.
    Page(Page),
    /// `Quiet`.
    Servers(Vec<ServerId>),
    /// `RowsOf`.
    Rows(Vec<Row>),
    /// `DeleteRow`, `Delete`, `Touch`, `DeleteRowsOf`.
    Done,
}

/// What a person or a test may look at.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// This MS.
    pub me: MsId,
    /// The newest view that it has read.
    pub view: Option<View>,
    /// What the members last said.
    pub beats: Vec<Beat>,
    /// BSs linked here.
    pub links: usize,
    /// Lanes here.
    pub lanes: usize,
    /// Database operations under way or waiting for their call.
    pub operations: usize,
    /// Sends of all links without a result.
    pub open_sends: usize,
    /// Items that wait for a view.
    pub parked: usize,
}

/// Why an MS changes the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewReason {
    /// There was no view.
    Found,
    /// This MS enters.
    Enter,
    /// A member is missed by more BSs than are linked to it.
    Missed,
    /// A member's renewals stand still.
    Silent,
    /// Partitions are evened out.
    Even,
    /// The document was lost or went back: it is written anew.
    Anew,
    /// This MS leaves.
    Leave,
}

impl ViewReason {
    /// All values, for closed label sets.
    pub const ALL: [ViewReason; 7] = [
        ViewReason::Found,
        ViewReason::Enter,
        ViewReason::Missed,
        ViewReason::Silent,
        ViewReason::Even,
        ViewReason::Anew,
        ViewReason::Leave,
    ];

    /// Metric label.
    pub const fn label(self) -> &'static str {
        match self {
            ViewReason::Found => "found",
            ViewReason::Enter => "enter",
            ViewReason::Missed => "missed",
            ViewReason::Silent => "silent",
            ViewReason::Even => "even",
            ViewReason::Anew => "anew",
            ViewReason::Leave => "leave",
        }
    }
}

/// Counters of things that should be rare, and of work done. They only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Items dropped because their epoch was lower.
    pub fenced: u64,
    /// Renewals that were refused.
    pub renewals_refused: u64,
    /// Renewals without an answer.
    pub renewals_unknown: u64,
    /// Documents found by a sweep that nobody was told were stored.
    pub late_writes: u64,
    /// Views adopted.
    pub views: u64,
    /// Views written anew because the document was lost or went back.
    pub healed: u64,
    /// Times that another member took this MS out.
    pub expelled: u64,
    /// Links closed by this MS.
    pub closed: u64,
    /// Appends that failed and were tried again.
    pub appends_failed: u64,
    /// Messages given up at their deadline.
    pub given_up: u64,
    /// Renewals that succeeded.
    pub renewals: u64,
    /// Renewals that failed while something durable waited to be confirmed by them.
    pub confirmations_failed: u64,
    /// Changes of the view by this MS, by reason (in the order of [`ViewReason::ALL`]).
    pub changes: [u64; ViewReason::ALL.len()],
    /// Changes of the view that were refused, for another came first, or had no answer.
    pub changes_failed: u64,
    /// Messages handed to a BS.
    pub handed: u64,
    /// Documents that became durable.
    pub appended: u64,
    /// Times that a lane's queue had to go to the mailbox, for it was too long or too late.
    pub spills: u64,
    /// Items that waited for a view.
    pub parked: u64,
    /// Registers and unregisters dropped, for too many of one end waited.
    pub claims_dropped: u64,
    /// Links that are not told a message's result, for too many waited for it.
    pub waiters_dropped: u64,
}

/// Fresh random ids. The shell seeds it from the operating system, a test from a number.
#[derive(Debug, Clone)]
pub struct Ids(u64);

impl Ids {
    /// A source of ids that follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next id: a UUID v4 from two steps of SplitMix64.
    pub fn uuid(&mut self) -> Uuid {
        let (high, low) = (self.step(), self.step());
        uuid::Builder::from_random_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
            .into_uuid()
    }

    fn step(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
