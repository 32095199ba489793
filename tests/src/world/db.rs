//! The database: one history of states, of which a majority read may see an older one.
//!
//! Owns the documents and exactly what each operation does to them (see `wardlink_ms::store`).
//! Whether and when an operation is applied, and what its writer hears, is not decided here.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use uuid::Uuid;
use wardlink_defect::{Defect, planted};
use wardlink_ms::core::api::{StoreOp, StoreReply, StoreValue};
use wardlink_ms::store::{
    Append, Appended, Applied, Document, MailboxRead, OpTime, Page, Put, PutError, Renewal,
    Renewed, Row, ViewChange, ViewKey,
};
use wardlink_view::change::{Next, next_number};
use wardlink_view::{Beat, Slot, View};
use wardlink_wire::{EndId, Epoch, MsId, Partition, ServerId};

/// The database's clock when the world begins, in Unix milliseconds.
pub(super) const BASE_MS: u64 = 1_790_000_000_000;
/// States that are kept for reads that lag.
const KEPT: usize = 24;

/// A value over time.
#[derive(Debug, Clone)]
struct History<T>(VecDeque<(OpTime, T)>);

impl<T: Clone> History<T> {
    fn new(value: T) -> Self {
        Self(VecDeque::from([(OpTime(0), value)]))
    }

    fn set(&mut self, at: OpTime, value: T) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back((at, value));
    }

    fn now(&self) -> &T {
        let (_, value) = self.0.back().expect("a history is never empty");
        value
    }

    fn at(&self, point: OpTime) -> &T {
        let known = self.0.iter().rev().find(|(at, _)| *at <= point).or(self.0.front());
        &known.expect("a history is never empty").1
    }
}

/// The document that names members and owners.
#[derive(Debug, Clone)]
pub(super) struct ViewDoc {
    pub(super) view: View,
    pub(super) beats: Vec<Beat>,
}

/// All documents.
#[derive(Debug)]
pub(super) struct Db {
    pub(super) last: OpTime,
    recent: VecDeque<OpTime>,
    view: History<Option<Rc<ViewDoc>>>,
    /// Every view document there ever was: what a backup may hold.
    pub(super) backups: Vec<Rc<ViewDoc>>,
    ends: Vec<EndId>,
    rows: Vec<History<Option<Row>>>,
    mail: Vec<History<Rc<Vec<Document>>>>,
    servers: BTreeMap<ServerId, u64>,
    /// The highest epoch that each end's partition ever had.
    highest: Vec<Epoch>,
    ttl_ms: u64,
}

/// How one operation goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Luck {
    /// A read sees the state as of this many writes ago, where `after` allows it.
    pub(super) lag: usize,
    /// Of an append only so many statements are applied, and the next fails so.
    pub(super) stop_at: Option<(usize, Option<PutError>)>,
}

impl Db {
    pub(super) fn new(ends: Vec<EndId>, ttl_s: u32) -> Self {
        Self {
            last: OpTime((BASE_MS / 1000) << 32),
            recent: VecDeque::new(),
            view: History::new(None),
            backups: Vec::new(),
            rows: ends.iter().map(|_| History::new(None)).collect(),
            mail: ends.iter().map(|_| History::new(Rc::default())).collect(),
            servers: BTreeMap::new(),
            highest: ends.iter().map(|_| Epoch(0)).collect(),
            ends,
            ttl_ms: u64::from(ttl_s) * 1000,
        }
    }

    fn grow(&mut self, now: u64) -> OpTime {
        let second = ((BASE_MS + now) / 1000) << 32;
        self.last = OpTime((self.last.0 + 1).max(second + 1));
        if self.recent.len() >= KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(self.last);
        self.last
    }

    pub(super) fn index(&self, end: &EndId) -> usize {
        self.ends.iter().position(|e| e == end).expect("ends are fixed")
    }

    pub(super) fn view(&self) -> Option<&ViewDoc> {
        self.view.now().as_deref()
    }

    /// The highest epoch of an end that any view ever had.
    pub(super) fn highest(&self, end: usize) -> Epoch {
        self.highest[end]
    }

    pub(super) fn row(&self, end: usize) -> Option<&Row> {
        self.rows[end].now().as_ref()
    }

    pub(super) fn mailbox(&self, end: usize) -> &[Document] {
        self.mail[end].now()
    }

    /// The state that a read sees, and the operation time of its reply.
    fn point(&self, after: OpTime, lag: usize) -> OpTime {
        if lag == 0 {
            return self.last;
        }
        let at = self.recent.len().saturating_sub(1 + lag);
        self.recent.get(at).copied().unwrap_or(self.last).max(after).min(self.last)
    }

    /// Applies an operation.
    pub(super) fn apply(&mut self, op: &StoreOp, luck: Luck, now: u64) -> StoreReply {
        let value = match op {
            StoreOp::ReadView { after } => {
                let time = self.point(*after, luck.lag);
                let view = self.view.at(time).as_ref().map(|doc| doc.view.clone());
                return reply(time, StoreValue::View(view));
            }
            StoreOp::ReadRow { end, after } => {
                let time = self.point(*after, luck.lag);
                let row = self.rows[self.index(end)].at(time).clone();
                return reply(time, StoreValue::Row(row));
            }
            StoreOp::Count { end, after } => {
                let time = self.point(*after, luck.lag);
                let count = self.mail[self.index(end)].at(time).len();
                return reply(time, StoreValue::Count(count));
            }
            StoreOp::ReadMailbox { read, after } => {
                let stale = planted(Defect::MailboxReadBeforeView);
                let (after, lag) = if stale { (OpTime(0), 12) } else { (*after, luck.lag) };
                let time = self.point(after, lag);
                return reply(time, StoreValue::Page(self.page(read, time)));
            }
            StoreOp::RowsOf { servers, above, limit, after } => {
                let time = self.point(*after, luck.lag);
                let mut rows: Vec<Row> =
                    self.rows.iter().filter_map(|row| row.at(time).clone()).collect();
                rows.retain(|row| servers.contains(&row.server));
                rows.retain(|row| above.as_ref().is_none_or(|above| row.end > *above));
                rows.sort_by(|a, b| a.end.cmp(&b.end));
                rows.truncate(*limit);
                return reply(time, StoreValue::Rows(rows));
            }
            StoreOp::Quiet { quiet_ms, limit, .. } => {
                let mut quiet: Vec<ServerId> =
                    self.rows.iter().filter_map(|r| Some(r.now().as_ref()?.server)).collect();
                quiet.sort_unstable();
                quiet.dedup();
                quiet.retain(|s| self.servers.get(s).is_none_or(|seen| seen + quiet_ms <= now));
                quiet.truncate(*limit);
                return reply(self.last, StoreValue::Servers(quiet));
            }
            StoreOp::ChangeView(change) => StoreValue::Applied(self.change(change, now)),
            StoreOp::Renew(renewal) => StoreValue::Renewed(self.renew(renewal, now)),
            StoreOp::WriteRow(row) => StoreValue::Applied(self.write_row(row, now)),
            StoreOp::DeleteRow { end, server, session } => {
                let at = self.index(end);
                if self.row(at).is_some_and(|r| r.server == *server && r.session == *session) {
                    self.wipe_row(at, now);
                }
                StoreValue::Done
            }
            StoreOp::Append(append) => StoreValue::Appended(self.append(append, luck, now)),
            StoreOp::Delete { end, keys } => {
                let at = self.index(end);
                let mut docs = self.mail[at].now().as_ref().clone();
                docs.retain(|doc| !keys.contains(&doc.key));
                self.set_mail(at, docs, now);
                StoreValue::Done
            }
            StoreOp::Touch(servers) => {
                self.grow(now);
                self.servers.extend(servers.iter().map(|server| (*server, now)));
                StoreValue::Done
            }
            StoreOp::DeleteRowsOf(server) => {
                for at in 0..self.rows.len() {
                    if self.row(at).is_some_and(|row| row.server == *server) {
                        self.wipe_row(at, now);
                    }
                }
                StoreValue::Done
            }
        };
        reply(self.last, value)
    }

    fn page(&self, read: &MailboxRead, point: OpTime) -> Page {
        let mut documents: Vec<Document> = self.mail[self.index(&read.end)]
            .at(point)
            .iter()
            .filter(|doc| doc.create_at_ms > read.created_after_ms)
            .cloned()
            .collect();
        documents.sort_by_key(|doc| doc.stamp);
        let end = documents.len() <= read.limit;
        documents.truncate(read.limit);
        Page { documents, end }
    }

    fn set_mail(&mut self, at: usize, docs: Vec<Document>, now: u64) {
        let time = self.grow(now);
        self.mail[at].set(time, Rc::new(docs));
    }

    fn append(&mut self, append: &Append, luck: Luck, now: u64) -> Appended {
        let at = self.index(&append.end);
        let mut docs = self.mail[at].now().as_ref().clone();
        let applied = luck.stop_at.map_or(append.puts.len(), |(n, _)| n.min(append.puts.len()));
        for put in &append.puts[..applied] {
            match put {
                Put::Document(new) => match docs.iter_mut().find(|doc| doc.key == new.key) {
                    Some(doc) => {
                        doc.stamp = if planted(Defect::HigherStampKept) {
                            doc.stamp.max(new.stamp)
                        } else {
                            doc.stamp.min(new.stamp)
                        };
                        doc.redelivered |= new.redelivered;
                    }
                    None => docs.push(new.clone()),
                },
                Put::Mark(key) => {
                    if let Some(doc) = docs.iter_mut().find(|doc| doc.key == *key) {
                        doc.redelivered = true;
                    }
                }
            }
        }
        self.set_mail(at, docs, now);
        let error = luck.stop_at.filter(|_| applied < append.puts.len()).and_then(|(_, e)| e);
        Appended { applied, error }
    }

    fn write_row(&mut self, row: &Row, now: u64) -> Applied {
        let at = self.index(&row.end);
        if self.row(at).is_some_and(|old| old.stamp > row.stamp) {
            return Applied::No;
        }
        let time = self.grow(now);
        self.rows[at].set(time, Some(row.clone()));
        Applied::Yes
    }

    pub(super) fn wipe_row(&mut self, at: usize, now: u64) {
        let time = self.grow(now);
        self.rows[at].set(time, None);
    }

    pub(super) fn set_view(&mut self, doc: Option<ViewDoc>, now: u64) {
        let time = self.grow(now);
        for (highest, end) in self.highest.iter_mut().zip(&self.ends) {
            let epoch = doc.as_ref().map(|doc| doc.view.slot(end.partition()).epoch);
            *highest = (*highest).max(epoch.unwrap_or_default());
        }
        let doc = doc.map(Rc::new);
        self.backups.extend(doc.clone());
        self.view.set(time, doc);
    }

    /// The document is gone, or as it was, without the operation time growing: a restore.
    pub(super) fn restore_view(&mut self, doc: Option<Rc<ViewDoc>>) {
        // No read sees what was before.
        self.recent.clear();
        self.view.0.clear();
        self.view.0.push_back((self.last, doc));
    }

    fn change(&mut self, change: &ViewChange, now: u64) -> Applied {
        let found = self.view().map(|doc| ViewKey::of(&doc.view));
        if found != change.expect {
            return Applied::No;
        }
        let mut view = change.to.clone();
        let mut beats = Vec::new();
        if let Some(old) = self.view() {
            let mut members = old.view.members.clone();
            members.retain(|ms| !change.removed.contains(ms));
            members.extend(change.added.iter().filter(|ms| !old.view.members.contains(ms)));
            members.sort_unstable();
            view.members = members;
            beats.clone_from(&old.beats);
        }
        beats.retain(|beat| view.members.contains(&beat.ms));
        for ms in &view.members {
            if !beats.iter().any(|beat| beat.ms == *ms) {
                beats.push(Beat { ms: *ms, renewals: 0, links: 0 });
            }
        }
        self.set_view(Some(ViewDoc { view, beats }), now);
        Applied::Yes
    }

    fn renew(&mut self, renewal: &Renewal, now: u64) -> Option<Renewed> {
        let doc = self.view.now().as_ref()?;
        if ViewKey::of(&doc.view) != renewal.expect || !doc.view.has(renewal.me) {
            return None;
        }
        self.grow(now);
        let (_, doc) = self.view.0.back_mut()?;
        // A renewal changes no view that a read could tell apart.
        let doc = Rc::make_mut(doc.as_mut()?);
        let beat = doc.beats.iter_mut().find(|beat| beat.ms == renewal.me)?;
        beat.renewals += 1;
        beat.links = renewal.links;
        Some(Renewed { beats: doc.beats.clone(), clock_ms: BASE_MS + now })
    }

    /// Another MS's legal change: these partitions go to `owner`.
    pub(super) fn give(&mut self, partitions: &[Partition], owner: MsId, id: Uuid, now: u64) {
        let Some(doc) = self.view() else { return };
        let number = next_number(self.last.0, doc.view.number);
        let next = Next { number, id };
        let mut doc = doc.clone();
        doc.view.number = next.number;
        doc.view.id = next.id;
        for partition in partitions {
            doc.view.slots[partition.index()] =
                Slot { owner: Some(owner), epoch: Epoch(next.number.0) };
        }
        self.set_view(Some(doc), now);
    }

    /// The TTL pass; how many documents it removed.
    pub(super) fn expire(&mut self, now: u64) -> u64 {
        let before = (BASE_MS + now).saturating_sub(self.ttl_ms);
        let mut removed = 0;
        for at in 0..self.mail.len() {
            let old = self.mail[at].now();
            let kept: Vec<Document> =
                old.iter().filter(|doc| doc.create_at_ms >= before).cloned().collect();
            let gone = old.len() - kept.len();
            if gone > 0 {
                removed += gone as u64;
                self.set_mail(at, kept, now);
            }
        }
        removed
    }
}

fn reply(time: OpTime, value: StoreValue) -> StoreReply {
    StoreReply { time, value: Ok(value) }
}
