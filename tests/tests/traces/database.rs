//! A database that is played: it applies what it is told to, when it is told to, and answers.
//!
//! It keeps every state that it was ever in, so that a read can be made to lag as far behind as
//! its `after` allows.

use std::collections::BTreeMap;

use uuid::Uuid;
use wardlink_defect::{Defect, planted};
use wardlink_ms::core::api::{StoreOp, StoreReply, StoreValue};
use wardlink_ms::store::{
    Append, Appended, Applied, Document, MailboxRead, OpTime, Page, Put, Renewal, Renewed, Row,
    ViewChange, ViewKey,
};
use wardlink_view::{Beat, Slot, View};
use wardlink_wire::{EndId, Epoch, MsId, ViewNumber};

/// Its clock stood here when time began, in Unix milliseconds.
const CLOCK_MS: u64 = 1_800_000_000_000;

#[derive(Debug, Clone, Default)]
struct State {
    rows: BTreeMap<EndId, Row>,
    mailboxes: BTreeMap<EndId, Vec<Document>>,
}

/// The database, and what a test may do to it behind everybody's back.
#[derive(Debug, Default)]
pub(crate) struct Database {
    /// The view document.
    pub(crate) view: Option<View>,
    beats: Vec<Beat>,
    now: State,
    history: Vec<(OpTime, State)>,
    time: u64,
    passed_ms: u64,
    stepped_back_s: u64,
    views: u128,
    /// Reads of rows and mailboxes show what was then, or at their `after` if that is later.
    pub(crate) lags_at: Option<OpTime>,
}

impl Database {
    /// Time passes here too.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.passed_ms += ms;
    }

    /// Its clock, in Unix milliseconds.
    pub(crate) fn clock_ms(&self) -> u64 {
        CLOCK_MS + self.passed_ms
    }

    /// Operation time of the last write.
    pub(crate) fn time(&self) -> OpTime {
        OpTime(self.time)
    }

    fn wrote(&mut self) {
        self.time = (self.time + 1).max((self.clock_ms() / 1000 - self.stepped_back_s) << 32);
        self.history.push((OpTime(self.time), self.now.clone()));
    }

    /// The newest epoch of an end.
    pub(crate) fn epoch(&self, end: &EndId) -> Epoch {
        self.view.as_ref().expect("there is a view").slot(end.partition()).epoch
    }

    /// Somebody makes `owner` the owner of `end`; the new epoch.
    pub(crate) fn give(&mut self, end: &EndId, owner: MsId) -> Epoch {
        self.wrote();
        let number = ViewNumber(self.time);
        self.views += 1;
        let id = Uuid::from_u128(self.views);
        let view = self.view.as_mut().expect("there is a view");
        (view.number, view.id) = (number, id);
        let slot = Slot { owner: Some(owner), epoch: Epoch(number.0) };
        view.slots[end.partition().index()] = slot;
        slot.epoch
    }

    /// The view document is replaced, as from a backup; `None`: it is lost.
    pub(crate) fn restore(&mut self, view: Option<View>) {
        self.view = view;
        self.wrote();
    }

    /// Its operation time goes back by so many seconds.
    pub(crate) fn step_back(&mut self, seconds: u64) {
        self.time -= seconds << 32;
        self.stepped_back_s += seconds;
    }

    /// The row of an end.
    pub(crate) fn row(&self, end: &EndId) -> Option<&Row> {
        self.now.rows.get(end)
    }

    /// The row of an end is lost.
    pub(crate) fn lose_row(&mut self, end: &EndId) {
        self.now.rows.remove(end);
        self.wrote();
    }

    /// The documents of an end, lowest stamp first.
    pub(crate) fn documents(&self, end: &EndId) -> Vec<Document> {
        self.now.mailboxes.get(end).cloned().unwrap_or_default()
    }

    /// Ids of the documents of an end, lowest stamp first.
    pub(crate) fn mailbox(&self, end: &EndId) -> Vec<String> {
        self.documents(end).iter().map(|d| d.key.id.as_str().to_owned()).collect()
    }

    fn read(&self, after: OpTime) -> &State {
        let Some(lags_at) = self.lags_at else { return &self.now };
        let at = if planted(Defect::MailboxReadBeforeView) { lags_at } else { lags_at.max(after) };
        self.history.iter().rev().find(|(t, _)| *t <= at).map_or(&self.now, |(_, state)| state)
    }

    /// Applies an operation, and says what there is to answer.
    pub(crate) fn apply(&mut self, op: &StoreOp) -> StoreReply {
        let value = match op {
            StoreOp::ReadView { .. } => StoreValue::View(self.view.clone()),
            StoreOp::ChangeView(change) => StoreValue::Applied(self.change_view(change)),
            StoreOp::Renew(renewal) => StoreValue::Renewed(self.renew(renewal)),
            StoreOp::ReadRow { end, after } => {
                StoreValue::Row(self.read(*after).rows.get(end).cloned())
            }
            StoreOp::WriteRow(row) => StoreValue::Applied(self.write_row(row)),
            StoreOp::DeleteRow { end, server, session } => {
                let is_it = |row: &Row| (row.server, row.session) == (*server, *session);
                if self.now.rows.get(end).is_some_and(is_it) {
                    self.now.rows.remove(end);
                    self.wrote();
                }
                StoreValue::Done
            }
            StoreOp::Append(append) => StoreValue::Appended(self.append(append)),
            StoreOp::Count { end, after } => {
                StoreValue::Count(self.read(*after).mailboxes.get(end).map_or(0, Vec::len))
            }
            StoreOp::ReadMailbox { read, after } => StoreValue::Page(self.page(read, *after)),
            StoreOp::Delete { end, keys } => {
                if let Some(mailbox) = self.now.mailboxes.get_mut(end) {
                    mailbox.retain(|document| !keys.contains(&document.key));
                }
                self.wrote();
                StoreValue::Done
            }
            StoreOp::Quiet { .. } => StoreValue::Servers(vec![]),
            StoreOp::RowsOf { servers, .. } => {
                let rows = self.now.rows.values().filter(|row| servers.contains(&row.server));
                StoreValue::Rows(rows.cloned().collect())
            }
            StoreOp::Touch(_) | StoreOp::DeleteRowsOf(_) => StoreValue::Done,
        };
        StoreReply { time: self.time(), value: Ok(value) }
    }

    fn change_view(&mut self, change: &ViewChange) -> Applied {
        if self.view.as_ref().map(ViewKey::of) != change.expect {
            return Applied::No;
        }
        if change.expect.is_none() {
            self.beats.clear();
        }
        self.beats.retain(|beat| !change.removed.contains(&beat.ms));
        self.beats.extend(change.added.iter().map(|ms| Beat { ms: *ms, renewals: 0, links: 0 }));
        self.view = Some(change.to.clone());
        self.wrote();
        Applied::Yes
    }

    fn renew(&mut self, renewal: &Renewal) -> Option<Renewed> {
        let view = self.view.as_ref()?;
        if ViewKey::of(view) != renewal.expect || !view.has(renewal.me) {
            return None;
        }
        let beat = self.beats.iter_mut().find(|beat| beat.ms == renewal.me);
        if let Some(beat) = beat {
            beat.renewals += 1;
            beat.links = renewal.links;
        }
        self.wrote();
        Some(Renewed { beats: self.beats.clone(), clock_ms: self.clock_ms() })
    }

    fn write_row(&mut self, row: &Row) -> Applied {
        if self.now.rows.get(&row.end).is_some_and(|there| there.stamp > row.stamp) {
            return Applied::No;
        }
        self.now.rows.insert(row.end.clone(), row.clone());
        self.wrote();
        Applied::Yes
    }

    fn append(&mut self, append: &Append) -> Appended {
        let mailbox = self.now.mailboxes.entry(append.end.clone()).or_default();
        for put in &append.puts {
            match put {
                Put::Document(new) => match mailbox.iter_mut().find(|d| d.key == new.key) {
                    Some(old) => {
                        let higher = planted(Defect::HigherStampKept);
                        old.redelivered |= new.redelivered;
                        old.stamp = if higher {
                            old.stamp.max(new.stamp)
                        } else {
                            old.stamp.min(new.stamp)
                        };
                    }
                    None => mailbox.push(new.clone()),
                },
                Put::Mark(key) => {
                    if let Some(document) = mailbox.iter_mut().find(|d| d.key == *key) {
                        document.redelivered = true;
                    }
                }
            }
        }
        mailbox.sort_by_key(|document| document.stamp);
        self.wrote();
        Appended { applied: append.puts.len(), error: None }
    }

    fn page(&self, read: &MailboxRead, after: OpTime) -> Page {
        let mailbox = self.read(after).mailboxes.get(&read.end);
        let alive =
            mailbox.into_iter().flatten().filter(|d| d.create_at_ms > read.created_after_ms);
        let all: Vec<Document> = alive.cloned().collect();
        let end = all.len() <= read.limit;
        Page { documents: all.into_iter().take(read.limit).collect(), end }
    }
}
