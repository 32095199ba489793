//! `swMap`: the links of BSs, by link and by server id, and what each may have here at most.

use std::collections::{BTreeMap, HashMap};

use rustc_hash::FxHashMap;
use wardlink_wire::link::{Hello, ToMs};
use wardlink_wire::{MsId, Partition, ServerId, StartId, ViewNumber};

use super::Held;
use super::api::{LinkId, Millis};

/// Items that wait on one link for a view that the MS has not read yet: all that a BS may have
/// open (65,536 sends), and three registers or unregisters of each of its 100,000 terminals.
pub(super) const PARKED_MAX: usize = 400_000;
/// Bytes of bodies that wait so: all that a BS may have open.
pub(super) const PARKED_BYTES: usize = 64 << 20;
/// Bytes of bodies of one link's open sends: twice what a BS holds, like their number.
pub(super) const OPEN_BYTES: usize = 128 << 20;

/// One link of one BS.
#[derive(Debug)]
pub(super) struct Link {
    /// `None` until the hello.
    pub(super) hello: Option<Greeted>,
    pub(super) plain: bool,
    pub(super) opened: Millis,
    pub(super) heard: Millis,
    /// Sends that were accepted and have no result yet, and the bytes of their bodies.
    pub(super) open: usize,
    pub(super) open_bytes: usize,
    /// Routes and claims when they were counted last, and the registers and unregisters since.
    pub(super) ends: usize,
    /// Items of a higher epoch and what follows them, by partition.
    pub(super) parked: BTreeMap<Partition, Vec<ToMs>>,
    pub(super) parked_items: usize,
    pub(super) parked_bytes: usize,
}

impl Link {
    /// Lets an item wait for the view. False where too much does.
    pub(super) fn park(&mut self, partition: Partition, item: ToMs) -> bool {
        if let ToMs::Send(send) = &item {
            self.parked_bytes += send.body.len();
        }
        self.parked_items += 1;
        self.parked.entry(partition).or_default().push(item);
        self.parked_items <= PARKED_MAX && self.parked_bytes <= PARKED_BYTES
    }

    /// All that waited for the view, partition by partition.
    pub(super) fn unpark(&mut self) -> BTreeMap<Partition, Vec<ToMs>> {
        (self.parked_items, self.parked_bytes) = (0, 0);
        std::mem::take(&mut self.parked)
    }

    /// A register or unregister came. False where there are more than a BS can have.
    pub(super) fn claim(&mut self, max: usize) -> bool {
        self.ends += 1;
        self.ends <= max
    }

    /// A send of `bytes` came. False where the link has too much open; it is not counted then.
    pub(super) fn take_send(&mut self, bytes: usize, credit: usize) -> bool {
        let takes = self.open < credit * 2 && self.open_bytes + bytes <= OPEN_BYTES;
        if takes {
            self.open += 1;
            self.open_bytes += bytes;
        }
        takes
    }
}

/// What a hello said, and what came after it.
#[derive(Debug)]
pub(super) struct Greeted {
    pub(super) server: ServerId,
    pub(super) start: StartId,
    pub(super) number: u64,
    pub(super) synced: ViewNumber,
    pub(super) misses: Vec<MsId>,
}

/// What to do with a hello.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The link is the BS's; this older one of it, if any, is to be closed.
    Take(Option<LinkId>),
    /// A newer link of the same start is there.
    Refuse,
}

/// All links of this MS.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_link: BTreeMap<LinkId, Link>,
    by_server: HashMap<ServerId, LinkId, ahash::RandomState>,
}

impl Links {
    pub(super) fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, 1, 2, 3);
        Self { by_link: BTreeMap::new(), by_server: HashMap::with_hasher(hasher) }
    }

    pub(super) fn open(&mut self, link: LinkId, plain: Option<ServerId>, now: Millis) {
        let hello = plain.map(|server| Greeted {
            server,
            start: StartId(server.0),
            number: 0,
            synced: ViewNumber(u64::MAX),
            misses: Vec::new(),
        });
        if let Some(server) = plain {
            self.by_server.insert(server, link);
        }
        let plain = hello.is_some();
        let fresh = Link {
            hello,
            plain,
            opened: now,
            heard: now,
            open: 0,
            open_bytes: 0,
            ends: 0,
            parked: BTreeMap::new(),
            parked_items: 0,
            parked_bytes: 0,
        };
        self.by_link.insert(link, fresh);
    }

    /// Of one start the higher number closes the lower; another start closes what was before.
    pub(super) fn greet(&mut self, link: LinkId, hello: &Hello) -> Verdict {
        let older = self.by_server.get(&hello.server_id).copied().filter(|old| *old != link);
        if let Some(old) =
            older.and_then(|old| self.by_link.get(&old)).and_then(|old| old.hello.as_ref())
            && old.start == hello.start
            && old.number > hello.link
        {
            return Verdict::Refuse;
        }
        if let Some(entry) = self.by_link.get_mut(&link) {
            entry.hello = Some(Greeted {
                server: hello.server_id,
                start: hello.start,
                number: hello.link,
                synced: ViewNumber(0),
                misses: hello.misses.clone(),
            });
            self.by_server.insert(hello.server_id, link);
        }
        Verdict::Take(older)
    }

    pub(super) fn remove(&mut self, link: LinkId) -> Option<Link> {
        let gone = self.by_link.remove(&link)?;
        if let Some(hello) = &gone.hello
            && self.by_server.get(&hello.server) == Some(&link)
        {
            self.by_server.remove(&hello.server);
        }
        Some(gone)
    }

    pub(super) fn get_mut(&mut self, link: LinkId) -> Option<&mut Link> {
        self.by_link.get_mut(&link)
    }

    pub(super) fn get(&self, link: LinkId) -> Option<&Link> {
        self.by_link.get(&link)
    }

    /// The server behind a greeted link.
    pub(super) fn server(&self, link: LinkId) -> Option<ServerId> {
        self.by_link.get(&link)?.hello.as_ref().map(|hello| hello.server)
    }

    pub(super) fn of_server(&self, server: ServerId) -> Option<LinkId> {
        self.by_server.get(&server).copied()
    }

    pub(super) fn is_plain(&self, link: LinkId) -> bool {
        self.by_link.get(&link).is_some_and(|link| link.plain)
    }

    /// A send of `bytes` of this link is not open any more. False where the link is gone or plain:
    /// nobody is to be told.
    pub(super) fn settle(&mut self, link: LinkId, bytes: usize) -> bool {
        match self.by_link.get_mut(&link) {
            Some(link) => {
                link.open = link.open.saturating_sub(1);
                link.open_bytes = link.open_bytes.saturating_sub(bytes);
                !link.plain
            }
            None => false,
        }
    }

    /// Greeted links, with what they said.
    pub(super) fn greeted(&self) -> impl Iterator<Item = (LinkId, &Link, &Greeted)> {
        self.by_link.iter().filter_map(|(id, link)| Some((*id, link, link.hello.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (LinkId, &mut Link)> {
        self.by_link.iter_mut().map(|(id, link)| (*id, link))
    }

    /// Routes and claims were counted anew.
    pub(super) fn counted(&mut self, ends: &FxHashMap<LinkId, usize>) {
        for (id, link) in &mut self.by_link {
            link.ends = ends.get(id).copied().unwrap_or(0);
        }
    }

    /// Sends that are open on all links, and items that wait for a view.
    pub(super) fn depths(&self) -> (usize, usize) {
        self.by_link
            .values()
            .fold((0, 0), |(open, parked), link| (open + link.open, parked + link.parked_items))
    }

    /// How many of the BSs linked here miss `ms`.
    pub(super) fn missing(&self, ms: MsId) -> u32 {
        self.greeted().filter(|(_, _, hello)| hello.misses.contains(&ms)).count() as u32
    }

    /// How many BSs are linked here.
    pub(super) fn count(&self) -> u32 {
        self.greeted().count() as u32
    }

    pub(super) fn measure(&self, number: ViewNumber, held: &mut Held) {
        for link in self.by_link.values() {
            held.open_sends += link.open;
            held.open_bytes += link.open_bytes;
            held.ends_largest = held.ends_largest.max(link.ends);
            held.open_sends_largest = held.open_sends_largest.max(link.open);
            held.parked += link.parked_items;
            match &link.hello {
                None => held.unknown_links += 1,
                Some(_) if link.plain => held.plain_links += 1,
                Some(hello) => {
                    held.links += 1;
                    held.unsynced_links += usize::from(hello.synced < number);
                }
            }
        }
    }

    /// Whether each BS has said that it follows the view `number`.
    pub(super) fn all_synced(&self, number: ViewNumber) -> bool {
        self.greeted().all(|(_, _, hello)| hello.synced >= number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn hello(server: u128, start: u128, link: u64) -> Hello {
        Hello {
            server_id: ServerId(Uuid::from_u128(server)),
            start: StartId(Uuid::from_u128(start)),
            link,
            version: 1,
            view: ViewNumber(0),
            misses: vec![],
        }
    }

    #[test]
    fn what_a_link_may_have_here_is_bounded_in_number_and_in_bytes() {
        let mut links = Links::default();
        links.open(LinkId(1), None, 0);
        let link = links.get_mut(LinkId(1)).unwrap();
        assert_eq!((0..).take_while(|_| link.take_send(1, 10)).count(), 20, "twice the credit");
        links.settle(LinkId(1), 1);
        let link = links.get_mut(LinkId(1)).unwrap();
        assert!(!link.take_send(OPEN_BYTES - 18, 10));
        assert!(link.take_send(OPEN_BYTES - 19, 10));
        let send = |bytes: usize| {
            ToMs::Send(wardlink_wire::link::Send {
                epoch: wardlink_wire::Epoch(1),
                end: "H-A-b".parse().unwrap(),
                body: vec![b'1'; bytes].into(),
                from: None,
                id: "m".parse().unwrap(),
                seq: 1,
                deadline_ms: 1,
                ttl_s: None,
                again: false,
            })
        };
        let big = send(1 << 20);
        let fits = (0..).take_while(|_| link.park(Partition(1), big.clone())).count();
        assert_eq!(fits, PARKED_BYTES >> 20);
        link.unpark();
        let fits = (0..).take_while(|_| link.park(Partition(1), send(0))).count();
        assert_eq!(fits, PARKED_MAX);
        assert_eq!((0..).take_while(|_| link.claim(7)).count(), 7);
        links.counted(&FxHashMap::default());
        assert!(links.get_mut(LinkId(1)).unwrap().claim(7), "counted anew");
    }

    #[test]
    fn of_one_start_the_higher_link_stays_and_another_start_takes_over() {
        let mut links = Links::default();
        for n in 1..=4 {
            links.open(LinkId(n), None, 0);
        }
        assert_eq!(links.greet(LinkId(1), &hello(7, 1, 5)), Verdict::Take(None));
        assert_eq!(links.greet(LinkId(2), &hello(7, 1, 4)), Verdict::Refuse);
        assert_eq!(links.greet(LinkId(3), &hello(7, 1, 6)), Verdict::Take(Some(LinkId(1))));
        assert_eq!(links.greet(LinkId(4), &hello(7, 2, 1)), Verdict::Take(Some(LinkId(3))));
        links.remove(LinkId(3));
        assert_eq!(links.of_server(ServerId(Uuid::from_u128(7))), Some(LinkId(4)));
    }
}
