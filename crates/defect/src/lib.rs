//! Defects that can be planted in the decision cores, one at a time, to see that the simulated
//! world finds them.
//!
//! Owns the list and the switch. Without the feature `plant` (only the simulator's package turns
//! it on) [`planted`] is constantly false, and the compiler removes what hangs on it.

macro_rules! defects {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {
        /// One deliberate mistake.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Defect {
            $($(#[$doc])+ $name),+
        }

        impl Defect {
            /// All of them, in the order of the list.
            pub const ALL: &[Defect] = &[$(Defect::$name),+];
        }
    };
}

defects! {
    /// `stored` is said without a renewal after the append.
    NoConfirm,
    /// A renewal begun before the append counts as its confirmation.
    ConfirmBeforeAppend,
    /// An append is confirmed if this MS is the owner, whatever the epoch.
    ConfirmComparesOwner,
    /// The mailbox is read as of an older state than the view.
    MailboxReadBeforeView,
    /// A new registration makes the lane direct without a read.
    RegisterDirectWithoutRead,
    /// An MS keeps its lanes when it becomes owner again under another epoch.
    LaneKeptOverAba,
    /// A BS does not take back sends where the owner is the same under another epoch.
    BsKeepsOverAba,
    /// An MS handles items of a lower epoch.
    LowerEpochAcceptedByMs,
    /// A BS handles items of a lower epoch.
    LowerEpochAcceptedByBs,
    /// An MS handles items of a higher epoch at once.
    HigherEpochHandled,
    /// An MS drops items of a higher epoch.
    HigherEpochDropped,
    /// A BS takes a view with a lower number.
    LowerViewTaken,
    /// A new link starts without the view.
    LinkWithoutView,
    /// Open sends are not taken back on a new view.
    NoTakeBackOnView,
    /// Open sends are not taken back on a new link.
    NoTakeBackOnLink,
    /// Open sends are sent again in reverse order.
    SentAgainOutOfOrder,
    /// Sessions are not registered again on a new view.
    NoRegisterOnView,
    /// Sessions are not registered again on a new link.
    NoRegisterOnLink,
    /// The route is kept when its link is gone.
    RouteKeptWithoutLink,
    /// Items of a link that is gone are handled.
    DeadLinkHandled,
    /// On overflow only the arrival is appended.
    OverflowAppendsArrivalOnly,
    /// On overflow the queue is appended and the window is not.
    OverflowLeavesWindow,
    /// The lane becomes direct though more is stored than the window holds.
    DirectThoughStored,
    /// At an ack deadline the one message is appended, not what is older.
    AckDeadlineOutOfOrder,
    /// At an ack deadline the message leaves the window.
    AckDeadlineDropsFromWindow,
    /// The mailbox is read from a cursor on.
    Cursor,
    /// A read begun before an append became due makes the lane direct.
    ReadBeforeAppendCounts,
    /// What follows a failed append is appended.
    FailedAppendOvertaken,
    /// When a route ends the queue is appended before the window.
    QueueBeforeWindow,
    /// When a route ends the window is forgotten.
    WindowForgotten,
    /// A message appended again gets the higher stamp.
    HigherStampKept,
    /// Documents in the window of a session that ends are not marked.
    DocumentsNotMarked,
    /// What was handed out is called `rejected`.
    RejectedThoughShown,
    /// A session shows what it was shown before.
    NoDedupe,
    /// A BS acks a repeat though the terminal has not acked the message.
    DuplicateAckedEarly,
    /// `stored` is said before the append is durable.
    StoredBeforeDurable,
    /// A document is removed when it is handed out.
    RemovedWhenHandedOut,
    /// The old route is left before the row's yes.
    RouteLeftBeforeYes,
    /// A refused row write gives the register up.
    RefusedRowGivesUp,
    /// `client` and `n` are not compared.
    NoClientNumber,
    /// An unregister removes the end's registration whatever its session.
    UnregisterByEnd,
    /// Missing rows are not written again.
    NoSweepOfMissingRows,
    /// A view is compared by its number only.
    ViewByNumberOnly,
    /// A member is taken out after a time without renewals, not after renewals of one's own.
    BeatByClock,
    /// A member loses its partitions when any BS misses it.
    ReportsOfLinkedOnly,
    /// Expiry is left to the database.
    ExpiryByDatabaseOnly,
    /// A BS acks what it found expired.
    ExpiredAnsweredAsAck,
    /// A page of expired documents is taken for the end of the mailbox.
    ExpiredPageIsEnd,
    /// A BS believes a `rejected` of a lower epoch.
    LowerRejectedBelieved,
    /// A register without an answer is never repeated.
    RegisterNotRepeated,
}

#[cfg(feature = "plant")]
mod switch {
    use std::cell::Cell;

    use super::Defect;

    thread_local! {
        static PLANTED: Cell<Option<Defect>> = const { Cell::new(None) };
    }

    /// Plants one defect (or none) in the cores that run on this thread.
    pub fn plant(defect: Option<Defect>) {
        PLANTED.set(defect);
    }

    /// Whether `defect` is planted on this thread.
    #[inline]
    pub fn planted(defect: Defect) -> bool {
        PLANTED.get() == Some(defect)
    }
}

#[cfg(feature = "plant")]
pub use switch::{plant, planted};

/// Whether `defect` is planted: never, without the feature `plant`.
#[cfg(not(feature = "plant"))]
#[inline(always)]
pub fn planted(_: Defect) -> bool {
    false
}
