//! Membership: reading the view, entering it, renewing, judging, healing, leaving.
//!
//! [`Member`] owns what this MS knows of the view. One read, one change and one renewal are in
//! flight at most. Nothing here is needed for safety but this: a view is used only when it was
//! read with majority or its change was acknowledged with majority, and its number and epochs
//! never go back.

mod renew;
mod views;

use uuid::Uuid;
use wardlink_view::change::{Next, next_number};
use wardlink_view::{Beat, Judge, View};
use wardlink_wire::{Epoch, MsId, Partition, ViewNumber};

use super::api::{Ids, Millis};
use crate::store::OpTime;

/// Between two timed renewals, in milliseconds.
const RENEW_MS: Millis = 500;
/// Pause after a renewal for a confirmation, or a view read, that failed, in milliseconds.
const AGAIN_MS: Millis = 100;
/// A stopping MS ends after so long, whatever the BSs and the database do, in milliseconds.
const LEAVE_MS: Millis = 5_000;
/// A starting MS is ready after so long in any case, in milliseconds.
const READY_AFTER_MS: Millis = 30_000;
/// For so long a starting MS must have as many links as the best member, in milliseconds.
const READY_FOR_MS: Millis = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not in the view (yet, or any more).
    Entering,
    Inside,
    /// Asked to stop; `renewal`: the last one begun before. Once out, the number of that view.
    Leaving {
        since: Millis,
        renewal: u64,
        left: Option<ViewNumber>,
    },
    Ended,
}

/// What this MS knows of the view, and where it stands in it.
#[derive(Debug)]
pub(super) struct Member {
    me: MsId,
    ids: Ids,
    phase: Phase,
    view: Option<View>,
    /// Highest number that a BS named, or epoch that was met.
    heard: ViewNumber,
    beats: Vec<Beat>,
    judge: Judge,
    view_changed: Millis,
    want_view: bool,
    /// A stamp of this epoch was met in this partition: if the view still says a lower one, the
    /// document went back, and the partition is taken anew.
    anew: Option<(Partition, Epoch)>,
    /// A BS knows this epoch where this MS's view had a lower one. While the document has any
    /// below it, it went back: one written anew has none.
    back: Epoch,
    reading: bool,
    read_after: Millis,
    changing: bool,
    renewing: bool,
    /// The last renewal had no answer.
    failing: bool,
    /// A timed renewal was refused: once the view is read, another is due. Else, where views
    /// follow each other fast, this member would seem to stand still.
    renew_again: bool,
    renew_at: Millis,
    confirm_after: Millis,
    entered: Millis,
    linked_since: Option<Millis>,
    ready: bool,
    /// Planted defect `BeatByClock` only.
    last_moved: Vec<(MsId, u64, Millis)>,
}

impl Member {
    pub(super) fn new(me: MsId, ids: Ids, now: Millis) -> Self {
        Self {
            me,
            ids,
            phase: Phase::Entering,
            view: None,
            heard: ViewNumber(0),
            beats: Vec::new(),
            judge: Judge::new(me),
            view_changed: now,
            want_view: true,
            anew: None,
            back: Epoch(0),
            reading: false,
            read_after: now,
            changing: false,
            renewing: false,
            failing: false,
            renew_again: false,
            renew_at: now,
            confirm_after: now,
            entered: now,
            linked_since: None,
            ready: false,
            last_moved: Vec::new(),
        }
    }

    pub(super) fn me(&self) -> MsId {
        self.me
    }

    pub(super) fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    pub(super) fn beats(&self) -> &[Beat] {
        &self.beats
    }

    pub(super) fn fresh_id(&mut self) -> Uuid {
        self.ids.uuid()
    }

    pub(super) fn is_degraded(&self) -> bool {
        self.failing
    }

    pub(super) fn is_alone(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.members == [self.me])
    }

    pub(super) fn link_counts(&self) -> Vec<(MsId, u32)> {
        self.judge.links().iter().map(|(ms, links)| (*ms, *links)).collect()
    }

    pub(super) fn want_view(&mut self) {
        self.want_view = true;
    }

    /// A BS, or a row, named this number.
    pub(super) fn hear(&mut self, number: ViewNumber) {
        if number > self.known() {
            self.heard = number;
            self.want_view = true;
        }
    }

    /// A BS met a lower epoch than one that it knows: the view is read, and written anew if it
    /// has gone back.
    pub(super) fn went_back(&mut self, epoch: Epoch) {
        self.heard = self.heard.max(ViewNumber(epoch.0));
        self.back = self.back.max(epoch);
        self.want_view = true;
    }

    pub(super) fn start_timers_anew(&mut self, now: Millis) {
        self.renew_at = now;
        self.linked_since = None;
    }

    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. } | Phase::Ended)
    }

    fn known(&self) -> ViewNumber {
        self.heard.max(self.view.as_ref().map_or(ViewNumber(0), |view| view.number))
    }

    fn next(&mut self, time: OpTime) -> Next {
        Next { number: next_number(time.0, self.known()), id: self.ids.uuid() }
    }

    fn is_member(&self) -> bool {
        matches!(self.phase, Phase::Inside | Phase::Leaving { left: None, .. })
    }
}
