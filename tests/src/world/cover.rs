//! Which branches and faults the histories reached, counted.

macro_rules! reached {
    ($($name:ident = $text:literal),+ $(,)?) => {
        /// Something worth reaching.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Reached { $($name),+ }

        const NAMES: &[&str] = &[$($text),+];
    };
}

reached! {
    Sent = "messages sent",
    Shown = "messages shown",
    ShownMarked = "shown marked as redelivered",
    Delivered = "results: delivered",
    Stored = "results: stored",
    Rejected = "results: rejected",
    Unknown = "results: unknown",
    MailboxFull = "refused: mailbox full",
    Overloaded = "refused: overloaded",
    TooLarge = "refused: too large",
    Expired = "refused: expired",
    GivenUp = "refused: deadline or unavailable",
    IdReused = "refused: id reused",
    ExpiredAck = "delivers that a BS found expired",
    SentAgain = "sends taken back and sent again",
    Resent = "messages that a terminal sent again",
    NearAppend = "appends of what was in a window",
    BigAppend = "appends of several messages",
    Marked = "marks of documents",
    FullPage = "pages that were full",
    RepeatDeliver = "delivers of what a session was shown",
    Sessions = "sessions",
    HalfOpen = "half-open sessions",
    Superseded = "sessions closed as replaced",
    LinkCut = "links cut",
    LinkStall = "links stalled",
    LinkBlock = "paths blocked",
    DeadBuffer = "items read after their link was gone",
    MsCrash = "MSs killed",
    MsPrefix = "MSs killed in the middle of a step",
    MsPause = "MSs paused",
    MsStop = "MSs stopped as planned",
    BsCrash = "BSs killed",
    BsStop = "BSs stopped as planned",
    BsDrained = "BSs that ended when asked to",
    BsPause = "BSs paused",
    Moved = "partitions moved by others",
    Aba = "partitions moved away and back",
    ViewChanged = "views changed by MSs",
    ViewLost = "view documents lost",
    ViewRestored = "view documents restored",
    Healed = "views written anew",
    TakenOut = "members taken out",
    LostParts = "members that lost their partitions",
    Fenced = "items fenced",
    RenewalRefused = "renewals refused",
    RenewalUnknown = "renewals without an answer",
    DbStop = "stops of the database",
    OpNotDone = "operations not done",
    OpLost = "operations applied, answer lost",
    OpLate = "operations applied late",
    OpNever = "operations without an answer, never applied",
    PutFailed = "appends that failed in the middle",
    NotTried = "appends that were not tried",
    Lagging = "reads of an older state",
    RowRefused = "row writes refused",
    RowWiped = "rows deleted by hand",
    LateFound = "late writes found by a sweep",
    TtlPass = "documents removed by the TTL pass",
    Hook = "faults placed exactly at a step",
    Probes = "probes at the end",
}

/// How often each branch and fault was reached.
#[derive(Debug, Clone)]
pub struct Cover([u64; NAMES.len()]);

impl Default for Cover {
    fn default() -> Self {
        Self([0; NAMES.len()])
    }
}

impl Cover {
    pub(super) fn hit(&mut self, what: Reached) {
        self.0[what as usize] += 1;
    }

    pub(super) fn add(&mut self, what: Reached, n: u64) {
        self.0[what as usize] += n;
    }

    /// Adds what another history reached.
    pub fn merge(&mut self, other: &Cover) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// Name and number of each, in order.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.iter().copied().zip(self.0)
    }
}
