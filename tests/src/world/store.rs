//! How each operation on the database goes: at once, late, not at all, and what its writer hears.

use wardlink_ms::core::api::{OpId, StoreOp, StoreReply, StoreValue};
use wardlink_ms::store::{Append, Applied, OpTime, Put, PutError, StoreError};

use wardlink_wire::EndId;

use super::cover::Reached;
use super::db::Luck;
use super::oracle::number_of;
use super::profile::{Theme, What, When};
use super::{Ev, World, trace};

/// An operation on its way.
#[derive(Debug)]
pub(super) struct Flight {
    ms: usize,
    inc: u32,
    id: OpId,
    op: StoreOp,
    begun: u64,
    /// Its writer has an answer, or will get none.
    answered: bool,
    /// Its answer is lost.
    lost: bool,
    luck: Luck,
}

impl World {
    pub(super) fn issue(&mut self, m: usize, id: OpId, op: StoreOp) {
        say!(self, format!("ms{m}"), format!("op {}: {}", id.0, trace::op(&op)));
        let inc = self.ms[m].inc;
        self.note_append(&op);
        let hooked = self.hook_op(m, &op);
        let p = &self.profile;
        let (timeout, latency) = (p.op_timeout, p.latency);
        let mut delay = 1 + self.rng.below(latency);
        let mut flight = Flight {
            ms: m,
            inc,
            id,
            op,
            begun: self.now,
            answered: false,
            lost: false,
            luck: Luck::default(),
        };
        if let Some(slow) = hooked {
            delay = slow;
        }
        if self.quiet {
            return self.launch(flight, delay.min(20));
        }
        let p = &self.profile;
        let (slow, slow_max) = (p.slow, p.slow_max);
        let (not_done, lost, late, never) = (p.not_done, p.lost, p.late, p.never);
        let lag = p.lag;
        if self.rng.permille(slow) {
            delay += self.rng.below(slow_max + 1);
        }
        if self.rng.permille(lag) {
            flight.luck.lag = self.rng.range(1, 12) as usize;
            self.hit(Reached::Lagging);
        }
        if !self.in_focus(&flight.op) {
            return self.launch(flight, delay);
        }
        if self.rng.permille(not_done) {
            self.hit(Reached::OpNotDone);
            let at = self.now + delay;
            return self.at(at, Ev::Reply(m, inc, id, failed(StoreError::NotDone)));
        }
        if self.rng.permille(never) {
            self.hit(Reached::OpNever);
            self.unclean(&flight.op);
            return self.after(timeout, Ev::Reply(m, inc, id, failed(StoreError::Unknown)));
        }
        if self.rng.permille(lost) {
            self.hit(Reached::OpLost);
            self.unclean(&flight.op);
            flight.lost = true;
            self.partly(&mut flight);
            return self.launch(flight, delay);
        }
        if self.rng.permille(self.profile.held)
            && matches!(flight.op, StoreOp::Append(_) | StoreOp::WriteRow(_))
        {
            self.hit(Reached::OpLate);
            self.unclean(&flight.op);
            flight.answered = true;
            self.after(timeout, Ev::Reply(m, inc, id, failed(StoreError::Unknown)));
            self.held.push(self.flights.len());
            return self.flights.push(flight);
        }
        if self.rng.permille(late) {
            self.hit(Reached::OpLate);
            self.unclean(&flight.op);
            flight.answered = true;
            self.partly(&mut flight);
            let unknown = failed(StoreError::Unknown);
            self.after(timeout, Ev::Reply(m, inc, id, unknown));
            let left = (self.profile.active + 400).saturating_sub(self.now + timeout);
            let late = self.rng.skewed(0, self.profile.late_max.min(left));
            return self.launch(flight, timeout + late);
        }
        self.fail_a_put(&mut flight);
        self.launch(flight, delay);
    }

    /// Without an answer perhaps only some statements are applied.
    fn partly(&mut self, flight: &mut Flight) {
        if let StoreOp::Append(append) = &flight.op
            && self.rng.percent(40)
        {
            let n = self.rng.index(append.puts.len() + 1);
            flight.luck.stop_at = Some((n, None));
        }
    }

    fn fail_a_put(&mut self, flight: &mut Flight) {
        let StoreOp::Append(append) = &flight.op else { return };
        let (len, fails, refused) =
            (append.puts.len(), self.profile.put_fails, self.profile.refused);
        if self.rng.permille(fails) {
            let n = self.rng.index(len + 1);
            let error = self.rng.pick(&[Some(PutError::NotDone), Some(PutError::Unknown), None]);
            self.hit(if error.is_none() { Reached::NotTried } else { Reached::PutFailed });
            if error == Some(PutError::Unknown) {
                self.unclean(&flight.op);
            }
            flight.luck.stop_at = Some((n, error));
        } else if self.rng.permille(refused) {
            let n = self.rng.index(len);
            if matches!(append.puts.get(n), Some(Put::Document(_))) {
                flight.luck.stop_at = Some((n, Some(PutError::Refused)));
            }
        }
    }

    fn launch(&mut self, flight: Flight, delay: u64) {
        let slot = self.flights.len();
        let timeout = self.profile.op_timeout;
        if !flight.answered && (flight.lost || delay > timeout) {
            self.after(timeout, Ev::Expire(slot));
        }
        self.flights.push(flight);
        self.after(delay, Ev::Apply(slot));
    }

    fn in_focus(&self, op: &StoreOp) -> bool {
        let kind = match op {
            StoreOp::Append(_) => 1,
            StoreOp::WriteRow(_) | StoreOp::DeleteRow { .. } | StoreOp::ReadRow { .. } => 2,
            StoreOp::ReadView { .. } | StoreOp::ChangeView(_) | StoreOp::Renew(_) => 3,
            StoreOp::ReadMailbox { .. } | StoreOp::Count { .. } => 4,
            StoreOp::Delete { .. } => 5,
            _ => 6,
        };
        self.profile.focus == 0 || self.profile.focus == kind
    }

    pub(super) fn apply(&mut self, slot: usize) {
        let flight = &self.flights[slot];
        if self.db_down_until > self.now {
            // It waits for the database, its writer only so long.
            let (answered, begun) = (flight.answered, flight.begun);
            let timeout = begun + self.profile.op_timeout;
            if !answered {
                self.at(timeout, Ev::Expire(slot));
            }
            let until = self.db_down_until + self.rng.below(50);
            return self.at(until, Ev::Apply(slot));
        }
        let (m, inc, id, lost) = (flight.ms, flight.inc, flight.id, flight.lost);
        let due = flight.begun + self.profile.op_timeout;
        if !self.held.is_empty() {
            self.release(slot);
        }
        let flight = &self.flights[slot];
        let (answered, luck) = (flight.answered, flight.luck);
        self.check_change(slot);
        let reply = self.db.apply(&self.flights[slot].op, luck, self.now);
        self.note_applied(slot, &reply);
        say!(
            self,
            "db".to_owned(),
            format!("op {} of ms{m} applied: {}", id.0, trace::value(&reply.value)),
        );
        let former = self.is_of_a_former_owner(slot);
        if answered || former || self.ms[m].inc != inc {
            self.unclean_flight(slot);
        }
        if !answered && !lost {
            let mut back = self.rng.below(self.profile.latency);
            if matches!(self.flights[slot].op, StoreOp::Renew(_)) {
                let end = self.ends[self.rng.index(self.ends.len())].clone();
                back += self.hook(When::RenewApplied, Some(m), Some(&end), None).unwrap_or(0);
            }
            if !self.quiet && self.rng.permille(self.profile.slow_reply) {
                back += self.rng.below(self.profile.slow_max);
            }
            if self.now + back > due {
                self.at(due, Ev::Expire(slot));
            } else {
                self.flights[slot].answered = true;
                self.after(back, Ev::Reply(m, inc, id, reply));
            }
        }
        self.lose_what_is_founded(slot);
        self.hook_applied(slot);
    }

    /// Lets late writes come just before an operation on the same end.
    fn release(&mut self, before: usize) {
        let Some(end) = end_of(&self.flights[before].op).cloned() else { return };
        if !self.rng.percent(40) {
            return;
        }
        let (now, later) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|slot| *slot != before && end_of(&self.flights[*slot].op) == Some(&end));
        self.held = later;
        for slot in now {
            self.apply(slot);
        }
    }

    /// A view founded anew is lost at once, so that somebody else founds one, too.
    fn lose_what_is_founded(&mut self, slot: usize) {
        let StoreOp::ChangeView(change) = &self.flights[slot].op else { return };
        if change.expect.is_none()
            && self.profile.theme == Theme::ViewLoss
            && !self.quiet
            && self.rng.percent(40)
        {
            self.hit(Reached::ViewLost);
            say!(self, "db".to_owned(), "view document lost again".to_owned());
            self.db.restore_view(None);
        }
    }

    pub(super) fn expire(&mut self, slot: usize) {
        let flight = &mut self.flights[slot];
        if !std::mem::replace(&mut flight.answered, true) {
            let (m, inc, id) = (flight.ms, flight.inc, flight.id);
            self.unclean_flight(slot);
            self.store_reply(m, inc, id, failed(StoreError::Unknown));
        }
    }

    pub(super) fn store_reply(&mut self, m: usize, inc: u32, id: OpId, reply: StoreReply) {
        if self.ms[m].inc != inc || self.ms[m].core.is_none() {
            return;
        }
        say!(
            self,
            format!("ms{m}"),
            format!("op {} answered: {}", id.0, trace::value(&reply.value)),
        );
        self.ms_event(m, wardlink_ms::core::api::Event::Reply(id, reply));
    }

    /// Whether this is an append by who does not own the partition any more.
    fn is_of_a_former_owner(&self, slot: usize) -> bool {
        let StoreOp::Append(append) = &self.flights[slot].op else { return false };
        let now = self.db.highest(self.db.index(&append.end));
        append.puts.iter().any(|put| match put {
            Put::Document(doc) => doc.stamp.epoch != now,
            Put::Mark(_) => false,
        })
    }

    fn unclean_flight(&mut self, slot: usize) {
        let op = std::mem::replace(&mut self.flights[slot].op, StoreOp::Touch(Vec::new()));
        self.unclean(&op);
        self.flights[slot].op = op;
    }

    /// What this operation writes has no clean answer: no server knows how it stands.
    fn unclean(&mut self, op: &StoreOp) {
        match op {
            StoreOp::Append(append) => {
                for put in &append.puts {
                    let (Put::Document(wardlink_ms::store::Document { key, .. }) | Put::Mark(key)) =
                        put;
                    self.messages[number_of(&key.id)].unclean = true;
                }
            }
            StoreOp::Delete { keys, .. } => {
                for key in keys {
                    self.messages[number_of(&key.id)].unclean = true;
                }
            }
            _ => {}
        }
    }

    fn note_append(&mut self, op: &StoreOp) {
        let StoreOp::Append(append) = op else { return };
        if append.puts.len() > 2 {
            self.hit(Reached::BigAppend);
        }
        for put in &append.puts {
            match put {
                Put::Mark(_) => self.hit(Reached::Marked),
                Put::Document(doc) if doc.redelivered => self.hit(Reached::NearAppend),
                Put::Document(_) => {}
            }
        }
    }

    fn note_applied(&mut self, slot: usize, reply: &StoreReply) {
        if let (StoreOp::Append(append), Ok(StoreValue::Appended(done))) =
            (&self.flights[slot].op, &reply.value)
            && done.error == Some(PutError::Refused)
            && let Some(Put::Document(doc)) = append.puts.get(done.applied)
        {
            self.messages[number_of(&doc.key.id)].refused = true;
        }
        if matches!(self.flights[slot].op, StoreOp::Renew(_)) {
            self.look_at_links();
        }
        let what = match (&self.flights[slot].op, &reply.value) {
            (StoreOp::WriteRow(_), Ok(StoreValue::Applied(Applied::No))) => Reached::RowRefused,
            (StoreOp::ChangeView(_), Ok(StoreValue::Applied(Applied::Yes))) => Reached::ViewChanged,
            (StoreOp::ReadMailbox { .. }, Ok(StoreValue::Page(page))) if !page.end => {
                Reached::FullPage
            }
            _ => return,
        };
        self.hit(what);
        if what == Reached::ViewChanged && self.trace.on {
            let text = self.db.view().map(|doc| trace::view(&doc.view, &self.ends));
            self.trace.line(self.now, "db", &text.unwrap_or_default());
        }
    }

    /// Faults placed at the beginning of an operation; how long it then takes.
    fn hook_op(&mut self, m: usize, op: &StoreOp) -> Option<u64> {
        let (when, end) = match op {
            StoreOp::Append(append) => (When::AppendBegun, Some(append.end.clone())),
            StoreOp::Renew(_) => (When::RenewBegun, None),
            StoreOp::Delete { end, .. } => (When::DeleteBegun, Some(end.clone())),
            _ => return None,
        };
        self.hook(when, Some(m), end.as_ref(), None)
    }

    fn hook_applied(&mut self, slot: usize) {
        let flight = &self.flights[slot];
        let m = flight.ms;
        let (when, end) = match &flight.op {
            StoreOp::Append(append) if is_near(append, self.profile.hook) => {
                (When::NearApplied, append.end.clone())
            }
            StoreOp::Append(append) => (When::AppendApplied, append.end.clone()),
            StoreOp::ReadMailbox { read, .. } => (When::MailRead, read.end.clone()),
            StoreOp::WriteRow(row) => (When::RowApplied, row.end.clone()),
            _ => return,
        };
        self.hook(when, Some(m), Some(&end), Some(What::SlowOp));
    }

    /// The change that is about to be applied, judged as to fairness.
    fn check_change(&mut self, slot: usize) {
        let StoreOp::ChangeView(change) = &self.flights[slot].op else { return };
        let change = change.clone();
        self.judge_change(self.flights[slot].ms, &change);
    }
}

/// Whether this seed waits for such an append, and it holds what was handed out.
fn is_near(append: &Append, hook: Option<(When, What, u32)>) -> bool {
    matches!(hook, Some((When::NearApplied, _, _)))
        && append.puts.iter().any(|put| matches!(put, Put::Document(doc) if doc.redelivered))
}

/// The end that an operation of a lane is about.
fn end_of(op: &StoreOp) -> Option<&EndId> {
    match op {
        StoreOp::Append(append) => Some(&append.end),
        StoreOp::WriteRow(row) => Some(&row.end),
        StoreOp::ReadMailbox { read, .. } => Some(&read.end),
        StoreOp::ReadRow { end, .. }
        | StoreOp::DeleteRow { end, .. }
        | StoreOp::Count { end, .. }
        | StoreOp::Delete { end, .. } => Some(end),
        _ => None,
    }
}

fn failed(error: StoreError) -> StoreReply {
    StoreReply { time: OpTime(0), value: Err(error) }
}
