//! Open sends and links: what is on its way to owners, in which order, over which link.
//!
//! An open send lives from its acceptance to its result or deadline. It waits for its
//! partition's owner, or it is out on one link under one `seq`. Taken back, it waits again, in
//! its old place.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use wardlink_defect::{Defect, planted};
use wardlink_wire::link::{Send, ToBs, ToMs};
use wardlink_wire::terminal::UpSend;
use wardlink_wire::{EndId, Epoch, MessageId, MsId, PARTITIONS, Partition, SessionId};

use super::api::{Action, LinkId, Millis};

/// Items that wait on one link for a view. An MS sends the view first, so there are none unless
/// this BS refused that view.
const PARKED_MAX: usize = 16_384;
/// Bytes of bodies that wait so: 64 windows of the largest size.
const PARKED_BYTES: usize = 16 << 20;

/// Who asked for a send, and is told its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// A terminal.
    Session(SessionId),
    /// Those who wait for a post under the send's `from` and id.
    Posts,
}

/// A message without a result.
#[derive(Debug)]
pub(super) struct OpenSend {
    pub(super) asker: Asker,
    pub(super) id: MessageId,
    /// Whether it was ever put on a link.
    pub(super) sent: bool,
    /// When it was accepted, by the clock that measures.
    pub(super) since_us: u64,
    pub(super) from: EndId,
    pub(super) to: EndId,
    partition: Partition,
    pub(super) body: Bytes,
    ttl_s: Option<u32>,
    deadline: Millis,
    at: Option<LinkId>,
}

impl OpenSend {
    pub(super) fn new(
        asker: Asker,
        from: EndId,
        send: UpSend,
        deadline: Millis,
        since_us: u64,
    ) -> Self {
        let UpSend { id, to, body, ttl_s } = send;
        let partition = to.partition();
        Self {
            asker,
            id,
            sent: false,
            since_us,
            from,
            to,
            partition,
            body,
            ttl_s,
            deadline,
            at: None,
        }
    }
}

#[derive(Debug)]
struct Slot {
    order: u64,
    partition: Partition,
    /// Counts against the credit: an answer is still to be expected.
    counted: bool,
    answered: bool,
}

/// A ping that waited while this process stood still names an old time. It can be so old, in
/// milliseconds: an MS closes a silent link after 5 s. What is older is another clock.
const STALE_MAX_MS: u64 = 10_000;

/// One connection to an MS.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) ms: Option<MsId>,
    pub(super) heard: Millis,
    pub(super) credit: usize,
    /// The database's clock, and when it was heard.
    pub(super) clock: Option<(u64, Millis)>,
    slots: VecDeque<Slot>,
    first_seq: u64,
    open: usize,
    /// Partitions that wait for credit, and which of them had it last: they take turns.
    blocked: BTreeSet<Partition>,
    turn: Partition,
    parked: BTreeMap<Partition, Vec<ToBs>>,
    parked_items: usize,
    parked_bytes: usize,
}

impl Link {
    /// Takes the database's clock from a ping, unless it is staler than what is known: then it
    /// waited somewhere, and the clock is further on. Clocks differ by less than 1 ms a second.
    pub(super) fn hear_clock(&mut self, clock: u64, now: Millis) {
        let stale = self.clock.is_some_and(|(known, heard)| {
            let passed = now.saturating_sub(heard);
            let least = known + passed - passed / 1000;
            clock < least && least - clock < STALE_MAX_MS
        });
        if !stale {
            self.clock = Some((clock, now));
        }
    }
}

/// All links and open sends of a BS.
#[derive(Debug)]
pub(super) struct Upstream {
    links: BTreeMap<LinkId, Link>,
    members: BTreeMap<MsId, LinkId>,
    link_number: u64,
    sends: HashMap<u64, OpenSend, ahash::RandomState>,
    /// Bytes of their bodies.
    bytes: usize,
    next_order: u64,
    /// Deadlines in the order of acceptance, which is their order in time.
    deadlines: VecDeque<(Millis, u64)>,
    waiting: Vec<VecDeque<u64>>,
}

impl Upstream {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            links: BTreeMap::new(),
            members: BTreeMap::new(),
            link_number: 0,
            sends: HashMap::with_hasher(ahash::RandomState::with_seeds(seed, 4, 5, 6)),
            bytes: 0,
            next_order: 0,
            deadlines: VecDeque::new(),
            waiting: (0..PARTITIONS).map(|_| VecDeque::new()).collect(),
        }
    }

    /// Notes a new link and gives its number.
    pub(super) fn open(&mut self, link: LinkId, now: Millis) -> u64 {
        let fresh = Link {
            ms: None,
            heard: now,
            credit: 0,
            clock: None,
            slots: VecDeque::new(),
            first_seq: 1,
            open: 0,
            blocked: BTreeSet::new(),
            turn: Partition(0),
            parked: BTreeMap::new(),
            parked_items: 0,
            parked_bytes: 0,
        };
        self.links.insert(link, fresh);
        self.link_number += 1;
        self.link_number
    }

    pub(super) fn close(&mut self, link: LinkId) -> Option<Link> {
        let closed = self.links.remove(&link)?;
        if let Some(ms) = closed.ms
            && self.members.get(&ms) == Some(&link)
        {
            self.members.remove(&ms);
        }
        Some(closed)
    }

    pub(super) fn welcome(&mut self, link: LinkId, ms: MsId) {
        if let Some(entry) = self.links.get_mut(&link) {
            entry.ms = Some(ms);
            self.members.insert(ms, link);
        }
    }

    pub(super) fn link_mut(&mut self, link: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&link)
    }

    pub(super) fn links_mut(&mut self) -> impl Iterator<Item = (LinkId, &mut Link)> {
        self.links.iter_mut().map(|(id, link)| (*id, link))
    }

    pub(super) fn of_member(&self, ms: MsId) -> Option<LinkId> {
        self.members.get(&ms).copied()
    }

    /// When something came last from a member to which there is a link.
    pub(super) fn heard(&self, ms: MsId) -> Option<Millis> {
        Some(self.links.get(&self.of_member(ms)?)?.heard)
    }

    pub(super) fn welcomed(&self) -> impl Iterator<Item = LinkId> {
        self.links.iter().filter(|(_, link)| link.ms.is_some()).map(|(id, _)| *id)
    }

    /// The database's clock now, by what was heard last; 0 if nothing was.
    pub(super) fn clock(&self, now: Millis) -> u64 {
        let at = |link: &Link| link.clock.map(|(clock, heard)| clock + now.saturating_sub(heard));
        self.links.values().filter_map(at).max().unwrap_or(0)
    }

    pub(super) fn open_count(&self) -> usize {
        self.sends.len()
    }

    pub(super) fn open_bytes(&self) -> usize {
        self.bytes
    }

    /// Sends that are out on a link, and items that wait for a view.
    pub(super) fn on_links(&self) -> (usize, usize) {
        let links = self.links.values();
        links.fold((0, 0), |(open, parked), l| (open + l.open, parked + l.parked_items))
    }

    pub(super) fn push(&mut self, send: OpenSend) -> u64 {
        self.next_order += 1;
        let order = self.next_order;
        self.deadlines.push_back((send.deadline, order));
        self.waiting[send.partition.index()].push_back(order);
        self.bytes += send.body.len();
        self.sends.insert(order, send);
        order
    }

    pub(super) fn is_same(&self, order: u64, send: &UpSend) -> bool {
        self.sends.get(&order).is_some_and(|open| open.to == send.to && open.body == send.body)
    }

    pub(super) fn partition_of(&self, order: u64) -> Option<Partition> {
        self.sends.get(&order).map(|send| send.partition)
    }

    /// The send is not open any more.
    pub(super) fn settle(&mut self, order: u64) -> Option<OpenSend> {
        let settled = self.sends.remove(&order)?;
        self.bytes -= settled.body.len();
        self.trim(settled.partition);
        Some(settled)
    }

    /// Lets go of what is settled at the head of a line that nothing flushes, and of deadlines.
    fn trim(&mut self, partition: Partition) {
        let line = &mut self.waiting[partition.index()];
        while line.front().is_some_and(|order| !self.sends.contains_key(order)) {
            line.pop_front();
        }
        while self.deadlines.front().is_some_and(|(_, order)| !self.sends.contains_key(order)) {
            self.deadlines.pop_front();
        }
    }

    /// Sends whose deadline has passed.
    pub(super) fn expire(&mut self, now: Millis) -> Vec<OpenSend> {
        let mut late = Vec::new();
        while let Some((deadline, order)) = self.deadlines.front().copied() {
            if deadline > now && self.sends.contains_key(&order) {
                break;
            }
            self.deadlines.pop_front();
            late.extend(self.settle(order));
        }
        late
    }

    /// An answer came for `seq` of a link: which send it was, if that is still known.
    pub(super) fn answered(&mut self, link: LinkId, seq: u64) -> Option<u64> {
        let entry = self.links.get_mut(&link)?;
        let at = usize::try_from(seq.checked_sub(entry.first_seq)?).ok()?;
        let slot = entry.slots.get_mut(at)?;
        let order = (!slot.answered).then_some(slot.order);
        slot.answered = true;
        if std::mem::take(&mut slot.counted) {
            entry.open -= 1;
        }
        let sends = &self.sends;
        while entry.slots.front().is_some_and(|slot| {
            slot.answered || (!slot.counted && !sends.contains_key(&slot.order))
        }) {
            entry.slots.pop_front();
            entry.first_seq += 1;
        }
        order
    }

    /// Takes back all that is open in these partitions; how many had been sent.
    pub(super) fn take_back(&mut self, partitions: &[Partition]) -> usize {
        let mut taken = [false; PARTITIONS];
        for partition in partitions {
            taken[partition.index()] = true;
        }
        for link in self.links.values_mut() {
            for slot in link.slots.iter_mut().filter(|slot| taken[slot.partition.index()]) {
                if std::mem::take(&mut slot.counted) {
                    link.open -= 1;
                }
            }
        }
        self.rebuild(|send| taken[send.partition.index()])
    }

    /// Takes back all that was out on a link that is gone; how many.
    pub(super) fn take_back_from(&mut self, link: LinkId) -> usize {
        let mut taken = [false; PARTITIONS];
        for send in self.sends.values().filter(|send| send.at == Some(link)) {
            taken[send.partition.index()] = true;
        }
        self.rebuild(|send| taken[send.partition.index()])
    }

    /// Rebuilds the waiting lines of the partitions that hold what `taken` says, in the order of
    /// acceptance: what was out and what waited.
    fn rebuild(&mut self, taken: impl Fn(&OpenSend) -> bool) -> usize {
        let mut lines: BTreeMap<Partition, Vec<u64>> = BTreeMap::new();
        let mut out = 0;
        for (order, send) in self.sends.iter_mut().filter(|(_, send)| taken(send)) {
            out += usize::from(send.at.take().is_some());
            lines.entry(send.partition).or_default().push(*order);
        }
        for (partition, mut orders) in lines {
            orders.sort_unstable();
            if planted(Defect::SentAgainOutOfOrder) {
                orders.reverse();
            }
            self.waiting[partition.index()] = orders.into();
        }
        out
    }

    /// Puts what waits for a partition on its owner's link, in order, as far as the credit goes.
    pub(super) fn flush(
        &mut self,
        partition: Partition,
        link: LinkId,
        epoch: Epoch,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        let line = &mut self.waiting[partition.index()];
        while let Some(order) = line.front().copied() {
            if entry.open >= entry.credit {
                entry.blocked.insert(partition);
                return;
            }
            line.pop_front();
            let Some(send) = self.sends.get_mut(&order) else { continue };
            let left = send.deadline.saturating_sub(now);
            // The owner answers a little earlier than this BS would, for it knows more.
            let deadline_ms = u32::try_from(left - left / 10).unwrap_or(u32::MAX);
            let seq = entry.first_seq + entry.slots.len() as u64;
            let item = Send {
                epoch,
                end: send.to.clone(),
                body: send.body.clone(),
                from: Some(send.from.clone()),
                id: send.id.clone(),
                seq,
                deadline_ms,
                ttl_s: send.ttl_s,
                again: send.sent,
            };
            send.sent = true;
            send.at = Some(link);
            entry.slots.push_back(Slot { order, partition, counted: true, answered: false });
            entry.open += 1;
            actions.push(Action::Send(link, ToMs::Send(item)));
        }
    }

    /// A partition that the credit of this link held up, while there is credit.
    pub(super) fn next_blocked(&mut self, link: LinkId) -> Option<Partition> {
        let entry = self.links.get_mut(&link)?;
        if entry.open >= entry.credit {
            return None;
        }
        let above = (Bound::Excluded(entry.turn), Bound::Unbounded);
        let next = entry.blocked.range(above).next().or(entry.blocked.first()).copied()?;
        entry.blocked.remove(&next);
        entry.turn = next;
        Some(next)
    }

    pub(super) fn has_parked(&self, link: LinkId, partition: Partition) -> bool {
        self.links.get(&link).is_some_and(|link| link.parked.contains_key(&partition))
    }

    /// Lets an item wait for the view. False where too much does.
    pub(super) fn park(&mut self, link: LinkId, partition: Partition, item: ToBs) -> bool {
        let Some(entry) = self.links.get_mut(&link) else { return true };
        if let ToBs::Deliver(deliver) = &item {
            entry.parked_bytes += deliver.body.len();
        }
        entry.parked_items += 1;
        entry.parked.entry(partition).or_default().push(item);
        entry.parked_items <= PARKED_MAX && entry.parked_bytes <= PARKED_BYTES
    }

    /// All that waited for a view, by link.
    pub(super) fn unpark(&mut self) -> Vec<(LinkId, Vec<ToBs>)> {
        let mut all = Vec::new();
        for (id, link) in &mut self.links {
            if !link.parked.is_empty() {
                (link.parked_items, link.parked_bytes) = (0, 0);
                all.push((*id, std::mem::take(&mut link.parked).into_values().flatten().collect()));
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_view_is_bounded_in_number_and_in_bytes() {
        let deliver = |bytes: usize| {
            let stamp = wardlink_wire::Stamp { epoch: Epoch(1), count: 1 };
            ToBs::Deliver(wardlink_wire::link::Deliver {
                epoch: Epoch(1),
                end: "H-A-b".parse().unwrap(),
                body: vec![b'1'; bytes].into(),
                from: None,
                id: "m".parse().unwrap(),
                create_at_ms: 0,
                expire_at_ms: 1,
                session: SessionId(uuid::Uuid::nil()),
                stamp,
                redelivered: false,
            })
        };
        let mut up = Upstream::new(1);
        up.open(LinkId(1), 0);
        let fits = |up: &mut Upstream, bytes| {
            (0..).take_while(|_| up.park(LinkId(1), Partition(1), deliver(bytes))).count()
        };
        assert_eq!(fits(&mut up, 0), PARKED_MAX);
        up.unpark();
        assert_eq!(fits(&mut up, 64 << 10), PARKED_BYTES >> 16);
    }

    #[test]
    fn what_expires_while_there_is_no_owner_leaves_nothing_behind() {
        let mut up = Upstream::new(1);
        let from: EndId = "H-A-a".parse().unwrap();
        for n in 0..10_000u64 {
            let id = format!("m{n}").parse().unwrap();
            let send = UpSend { id, to: "H-A-b".parse().unwrap(), body: Bytes::new(), ttl_s: None };
            up.push(OpenSend::new(Asker::Posts, from.clone(), send, n + 10, 0));
            assert!(up.expire(n).len() <= 1);
        }
        assert!(up.sends.len() <= 11 && up.deadlines.len() <= 11);
        assert!(up.waiting.iter().map(VecDeque::len).sum::<usize>() <= 11);
    }
}
