//! The far ends of the links: what the BSs of the rig say, and what has come to them.

use bytes::Bytes;
use uuid::Uuid;
use wardlink_ms::core::api::{Event, LinkId};
use wardlink_wire::link::{
    Ack, Deliver, Hello, Known, LINK_VERSION, Register, Send, ToBs, ToMs, Unregister,
};
use wardlink_wire::{CloseCode, Epoch, Outcome, Reason, ServerId, Stamp, StartId, ViewNumber};

use super::{Link, Ms, Rig, Session, Wire, a, b};

/// The server id of a BS.
pub(crate) fn server(bs: u128) -> ServerId {
    ServerId(Uuid::from_u128(0xb5 << 64 | bs))
}

impl Rig {
    /// The BS `bs` opens a link (with the next number) and says hello.
    pub(crate) fn link(&mut self, ms: Ms, bs: u128) -> Link {
        let number = self.links + 1;
        let link = self.open(ms, bs, 1, number);
        assert!(self.wires[&link].closed.is_none(), "hello was refused");
        link
    }

    /// A link with a hello of this `start` and `number`.
    pub(crate) fn open(&mut self, ms: Ms, bs: u128, start: u128, number: u64) -> Link {
        self.links += 1;
        let link = Link(ms.0, LinkId(self.links));
        self.wires.insert(link, Wire::default());
        self.event(ms, Event::LinkOpened { link: link.1, plain: None });
        let hello = Hello {
            server_id: server(bs),
            start: StartId(Uuid::from_u128(start)),
            link: number,
            version: LINK_VERSION,
            view: ViewNumber(0),
            misses: vec![],
        };
        self.items(link, vec![ToMs::Hello(hello)]);
        link
    }

    /// A link is gone, at both ends.
    pub(crate) fn cut(&mut self, link: Link) {
        self.wire(link).cut = true;
        self.event(Ms(link.0), Event::LinkClosed(link.1));
    }

    /// Items arrive at the MS, also out of a buffer of a link that is gone.
    pub(crate) fn items(&mut self, link: Link, items: Vec<ToMs>) {
        self.event(Ms(link.0), Event::Items(link.1, items));
    }

    /// The BS names the newest view.
    pub(crate) fn tell(&mut self, link: Link) {
        let number = self.db.view.as_ref().map(|view| view.number);
        self.items(
            link,
            vec![ToMs::Known(Known { view: number, synced: number, ..Known::default() })],
        );
    }

    /// The BS says which members it has no link to.
    pub(crate) fn miss(&mut self, link: Link, missed: &[Ms]) {
        let misses = Some(missed.iter().map(|ms| self.id(*ms)).collect());
        self.items(link, vec![ToMs::Known(Known { misses, ..Known::default() })]);
    }

    /// A register of B arrives.
    pub(crate) fn register(&mut self, link: Link, epoch: Epoch, session: &Session) {
        let Session { id, stamp, client, n } = session.clone();
        self.items(
            link,
            vec![ToMs::Register(Register { epoch, end: b(), session: id, stamp, client, n })],
        );
    }

    /// An unregister of B arrives.
    pub(crate) fn unregister(&mut self, link: Link, epoch: Epoch, session: &Session) {
        self.items(
            link,
            vec![ToMs::Unregister(Unregister { epoch, end: b(), session: session.id })],
        );
    }

    /// A message from A to B, as it travels.
    pub(crate) fn message(&mut self, link: Link, epoch: Epoch, id: &str) -> Send {
        let wire = self.wire(link);
        let seq = wire.seqs.len() as u64 + 1;
        wire.seqs.insert(seq, id.to_owned());
        Send {
            epoch,
            end: b(),
            body: Bytes::from(format!("\"{id}\"")),
            from: Some(a()),
            id: id.parse().unwrap(),
            seq,
            deadline_ms: 9_000,
            ttl_s: None,
            again: false,
        }
    }

    /// A message from A to B arrives.
    pub(crate) fn send(&mut self, link: Link, epoch: Epoch, id: &str) {
        let send = self.message(link, epoch, id);
        self.items(link, vec![ToMs::Send(send)]);
    }

    /// A message that an earlier owner or link may have had arrives.
    pub(crate) fn send_again(&mut self, link: Link, epoch: Epoch, id: &str) {
        let send = Send { again: true, ..self.message(link, epoch, id) };
        self.items(link, vec![ToMs::Send(send)]);
    }

    /// The terminal of `session` has acked the message that came last under this id.
    pub(crate) fn ack(&mut self, link: Link, session: &Session, id: &str) {
        let deliver = self.delivers(link).into_iter().rev().find(|d| d.id.as_str() == id);
        let Deliver { epoch, stamp, .. } = deliver.unwrap_or_else(|| panic!("{id} never came"));
        let ack = Ack { epoch, end: b(), session: session.id, stamp, expired: false };
        self.items(link, vec![ToMs::Ack(ack)]);
    }

    fn wire(&mut self, link: Link) -> &mut Wire {
        self.wires.get_mut(&link).expect("the rig made this link")
    }

    /// All that came on a link.
    pub(crate) fn came(&self, link: Link) -> &[ToBs] {
        &self.wires[&link].came
    }

    /// All delivers on a link.
    pub(crate) fn delivers(&self, link: Link) -> Vec<Deliver> {
        let deliver = |item: &ToBs| match item {
            ToBs::Deliver(deliver) => Some(deliver.clone()),
            _ => None,
        };
        self.came(link).iter().filter_map(deliver).collect()
    }

    /// Ids of all delivers on a link to a session, in order.
    pub(crate) fn shown(&self, link: Link, session: &Session) -> Vec<String> {
        let of = |d: &Deliver| d.session == session.id;
        self.delivers(link).iter().filter(|d| of(d)).map(|d| d.id.as_str().to_owned()).collect()
    }

    /// What the sender was told of a message on a link, and why.
    pub(crate) fn told(&self, link: Link, id: &str) -> Option<(Outcome, Option<Reason>)> {
        self.came(link).iter().find_map(|item| match item {
            ToBs::Result(r) if self.wires[&link].seqs.get(&r.seq).is_some_and(|i| i == id) => {
                Some((r.outcome, r.reason))
            }
            _ => None,
        })
    }

    /// All outcomes that were told on a link, in order.
    pub(crate) fn results(&self, link: Link) -> Vec<Outcome> {
        let outcome = |item: &ToBs| match item {
            ToBs::Result(result) => Some(result.outcome),
            _ => None,
        };
        self.came(link).iter().filter_map(outcome).collect()
    }

    /// What became of a message, as the sender was told on a link.
    pub(crate) fn result(&self, link: Link, id: &str) -> Option<Outcome> {
        self.told(link, id).map(|(outcome, _)| outcome)
    }

    /// Stamp of the last `registered` of a session on a link.
    pub(crate) fn registered(&self, link: Link, session: &Session) -> Option<Stamp> {
        self.came(link).iter().rev().find_map(|item| match item {
            ToBs::Registered(r) if r.session == session.id => Some(r.stamp),
            _ => None,
        })
    }

    /// Whether a session was told on a link that it is superseded.
    pub(crate) fn superseded(&self, link: Link, session: &Session) -> bool {
        self.came(link).iter().any(|i| matches!(i, ToBs::Superseded(r) if r.session == session.id))
    }

    /// How an MS closed a link.
    pub(crate) fn closed(&self, link: Link) -> Option<CloseCode> {
        self.wires[&link].closed
    }
}
