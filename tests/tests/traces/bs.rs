//! The core of a BS, with links, terminals and time played by the test.

use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;
use wardlink_bs::core::api::{Action, Counters, Event, LinkId, Millis, RequestId};
use wardlink_bs::core::{Config, Core, TICK_MS};
use wardlink_view::View;
use wardlink_view::change::{Next, enter, found};
use wardlink_wire::link::{Deliver, Known, Registered, Send, SendResult, ToBs, ToMs, Welcome};
use wardlink_wire::terminal::{Down, DownMessage, Limits, Up, UpSend};
use wardlink_wire::{
    CloseCode, Epoch, MsId, Outcome, Partition, Reason, SessionId, Stamp, StartId, ViewNumber,
};

use crate::rig::{Session, a, b, server};

/// The database's clock at the first welcome, in Unix milliseconds.
pub(crate) const CLOCK_MS: u64 = 1_800_000_000_000;

/// One BS.
#[derive(Debug)]
pub(crate) struct Bs {
    core: Core,
    now: Millis,
    links: u64,
    sent: BTreeMap<LinkId, Vec<ToMs>>,
    down: BTreeMap<SessionId, Vec<Down>>,
    posted: Vec<(RequestId, Outcome, Option<Reason>)>,
    /// Links that the BS closed.
    pub(crate) closed: Vec<(LinkId, CloseCode)>,
    /// Sessions that the BS closed.
    pub(crate) ended: Vec<(SessionId, CloseCode)>,
    /// What the BS said of its readiness last.
    pub(crate) ready: bool,
    /// Whether the BS is done.
    pub(crate) exited: bool,
}

/// The id of the `n`th MS.
pub(crate) fn ms(n: u128) -> MsId {
    MsId(Uuid::from_u128(n))
}

/// A view of this number: `members` MSs, the `owner`th owns all since then.
pub(crate) fn view(number: u64, members: u128, owner: u128) -> View {
    let next = |n| Next { number: ViewNumber(n), id: Uuid::from_u128(u128::from(number)) };
    let first = found(ms(1), next(number));
    let mut view = (2..=members).fold(first, |view, n| enter(&view, ms(n), next(number)));
    view.slots.iter_mut().for_each(|slot| slot.owner = Some(ms(owner)));
    view
}

/// The view with only B's partition given to the `owner`th MS.
pub(crate) fn given(view: &View, number: u64, owner: u128) -> View {
    let mut view = View { number: ViewNumber(number), ..view.clone() };
    let slot = &mut view.slots[b().partition().index()];
    (slot.owner, slot.epoch) = (Some(ms(owner)), Epoch(number));
    view
}

/// A message from A to B under this epoch and count, for a session.
pub(crate) fn deliver(epoch: u64, count: u64, id: &str, session: &Session) -> Deliver {
    Deliver {
        epoch: Epoch(epoch),
        end: b(),
        body: Bytes::from(format!("\"{id}\"")),
        from: Some(a()),
        id: id.parse().unwrap(),
        create_at_ms: CLOCK_MS,
        expire_at_ms: CLOCK_MS + 600_000,
        session: session.id,
        stamp: Stamp { epoch: Epoch(epoch), count },
        redelivered: false,
    }
}

impl Bs {
    /// A BS that knows nobody.
    pub(crate) fn new() -> Self {
        let config = Config::new(server(1), StartId(Uuid::from_u128(1)));
        Self {
            core: Core::new(config, 1_000),
            now: 1_000,
            links: 0,
            sent: BTreeMap::new(),
            down: BTreeMap::new(),
            posted: vec![],
            closed: vec![],
            ended: vec![],
            ready: false,
            exited: false,
        }
    }

    /// A BS that knows nobody and is told this.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(server(1), StartId(Uuid::from_u128(1)));
        change(&mut config);
        Self { core: Core::new(config, 1_000), ..Self::new() }
    }

    /// A link to the `n`th MS, welcomed, with the view that this MS knows.
    pub(crate) fn link(&mut self, n: u128, view: &View) -> LinkId {
        self.link_to(ms(n), view)
    }

    /// A link to an MS, welcomed, with the view that this MS knows.
    pub(crate) fn link_to(&mut self, ms_id: MsId, view: &View) -> LinkId {
        self.links += 1;
        let link = LinkId(self.links);
        self.event(Event::LinkOpened(link));
        let clock = CLOCK_MS + self.now - 1_000;
        let welcome = Welcome { ms_id, version: 1, credit: 1_000, message_ttl: 600, clock };
        self.items(link, vec![ToBs::Welcome(welcome), ToBs::View(view.to_item())]);
        link
    }

    /// Items arrive on a link.
    pub(crate) fn items(&mut self, link: LinkId, items: Vec<ToBs>) {
        self.event(Event::Items(link, items));
    }

    /// A deliver arrives on a link.
    pub(crate) fn deliver(&mut self, link: LinkId, deliver: Deliver) {
        self.items(link, vec![ToBs::Deliver(deliver)]);
    }

    /// A result arrives on a link.
    pub(crate) fn result(&mut self, link: LinkId, epoch: u64, seq: u64, outcome: Outcome) {
        let result = SendResult { epoch: Epoch(epoch), seq, outcome, reason: None };
        self.items(link, vec![ToBs::Result(result)]);
    }

    /// A register of B is answered on a link.
    pub(crate) fn registered(&mut self, link: LinkId, epoch: u64, session: &Session) {
        let stamp = Stamp { epoch: Epoch(epoch), count: 1 };
        let item = Registered { epoch: Epoch(epoch), end: b(), session: session.id, stamp };
        self.items(link, vec![ToBs::Registered(item)]);
    }

    /// A terminal of A (or of B) connects.
    pub(crate) fn connect(&mut self, session: &Session, is_a: bool) {
        let end = if is_a { a() } else { b() };
        let id = session.id;
        self.event(Event::SessionOpened { session: id, end, client: None, n: 0, acks: true });
    }

    /// A terminal sends a message to B.
    pub(crate) fn send(&mut self, session: &Session, id: &str) {
        let body = Bytes::from(format!("\"{id}\""));
        let send = UpSend { id: id.parse().unwrap(), to: b(), body, ttl_s: None };
        self.event(Event::Up(session.id, Up::Send(send)));
    }

    /// A terminal has processed all up to `seq`.
    pub(crate) fn ack(&mut self, session: &Session, seq: u64) {
        self.event(Event::Up(session.id, Up::Ack { seq }));
    }

    /// One event.
    pub(crate) fn event(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.core.on(event, self.now, &mut actions);
        for action in actions {
            match action {
                Action::Send(link, item) => self.sent.entry(link).or_default().push(item),
                Action::Down(session, down) => self.down.entry(session).or_default().push(down),
                Action::Close(link, code) => self.closed.push((link, code)),
                Action::CloseSession(session, code) => self.ended.push((session, code)),
                Action::Posted(post, outcome, reason) => self.posted.push((post, outcome, reason)),
                Action::Ready(ready) => self.ready = ready,
                Action::Exit => self.exited = true,
                Action::Ping(_) => {}
            }
        }
    }

    /// Time passes, tick by tick, with pings (and the clock) on these links.
    pub(crate) fn pass(&mut self, ms: Millis, links: &[LinkId]) {
        for _ in 0..ms / TICK_MS {
            self.sleep(TICK_MS);
            for link in links {
                let clock = CLOCK_MS + self.now - 1_000;
                self.event(Event::Heard(*link, Some(clock)));
            }
            self.event(Event::Tick);
        }
    }

    /// Time passes and the BS does not run.
    pub(crate) fn sleep(&mut self, ms: Millis) {
        self.now += ms;
    }

    /// Number of the view that the BS uses.
    pub(crate) fn view(&self) -> u64 {
        self.core.view().map_or(0, |view| view.number.0)
    }

    /// The epoch of a partition that the BS goes by.
    pub(crate) fn epoch(&self, partition: Partition) -> Epoch {
        self.core.view().expect("the BS has a view").slot(partition).epoch
    }

    /// All that was sent on a link.
    pub(crate) fn sent(&self, link: LinkId) -> &[ToMs] {
        self.sent.get(&link).map_or(&[], |sent| sent)
    }

    /// The sends on a link.
    pub(crate) fn sends(&self, link: LinkId) -> Vec<Send> {
        let send = |item: &ToMs| match item {
            ToMs::Send(send) => Some(send.clone()),
            _ => None,
        };
        self.sent(link).iter().filter_map(send).collect()
    }

    /// Ids of the sends on a link, those `again` with a mark.
    pub(crate) fn send_ids(&self, link: LinkId) -> Vec<String> {
        let name = |s: &Send| format!("{}{}", s.id.as_str(), if s.again { " again" } else { "" });
        self.sends(link).iter().map(name).collect()
    }

    /// Epochs of the registers of a session on a link.
    pub(crate) fn registers(&self, link: LinkId, session: &Session) -> Vec<u64> {
        let epoch = |item: &ToMs| match item {
            ToMs::Register(r) if r.session == session.id => Some(r.epoch.0),
            _ => None,
        };
        self.sent(link).iter().filter_map(epoch).collect()
    }

    /// Stamps of the acks on a link, and whether each says `expired`.
    pub(crate) fn acks(&self, link: LinkId) -> Vec<(Stamp, bool)> {
        let ack = |item: &ToMs| match item {
            ToMs::Ack(ack) => Some((ack.stamp, ack.expired)),
            _ => None,
        };
        self.sent(link).iter().filter_map(ack).collect()
    }

    /// What was said about the view on a link.
    pub(crate) fn known(&self, link: LinkId) -> Vec<Known> {
        let known = |item: &ToMs| match item {
            ToMs::Known(known) => Some(known.clone()),
            _ => None,
        };
        self.sent(link).iter().filter_map(known).collect()
    }

    /// Messages that a terminal was shown.
    pub(crate) fn messages(&self, session: &Session) -> Vec<DownMessage> {
        let message = |down: &Down| match down {
            Down::Message(message) => Some(message.clone()),
            _ => None,
        };
        self.down.get(&session.id).into_iter().flatten().filter_map(message).collect()
    }

    /// Ids of the messages that a terminal was shown.
    pub(crate) fn shown(&self, session: &Session) -> Vec<String> {
        self.messages(session).iter().map(|m| m.id.as_str().to_owned()).collect()
    }

    /// What a sender was told of a message.
    pub(crate) fn told(&self, session: &Session, id: &str) -> Option<Outcome> {
        self.down.get(&session.id).into_iter().flatten().find_map(|down| match down {
            Down::Result { id: of, outcome, .. } if of.as_str() == id => Some(*outcome),
            _ => None,
        })
    }

    /// When a terminal was asked to connect elsewhere.
    pub(crate) fn sent_away(&self, session: &Session) -> Vec<u32> {
        let after = |down: &Down| match down {
            Down::Reconnect { after_ms } => Some(*after_ms),
            _ => None,
        };
        self.down.get(&session.id).into_iter().flatten().filter_map(after).collect()
    }

    /// Counters of the BS.
    pub(crate) fn counters(&self) -> Counters {
        self.core.counters()
    }

    /// Answers to a post.
    pub(crate) fn answers(&self, request: u64) -> Vec<(Outcome, Option<Reason>)> {
        let of = self.posted.iter().filter(|(post, ..)| post.0 == request);
        of.map(|(_, outcome, reason)| (*outcome, *reason)).collect()
    }

    /// Calls that wait.
    pub(crate) fn posts(&self) -> usize {
        self.core.posts()
    }

    /// Sends without a result.
    pub(crate) fn open_sends(&self) -> usize {
        self.core.open_sends()
    }

    /// What a session was told of its limits.
    pub(crate) fn limits(&self, session: &Session) -> Option<Limits> {
        let down = self.down.get(&session.id)?;
        down.iter().find_map(|down| match down {
            Down::Welcome { limits, .. } => Some(*limits),
            _ => None,
        })
    }

    /// Whether a terminal was welcomed.
    pub(crate) fn welcomed(&self, session: &Session) -> bool {
        let is_it = |down: &Down| matches!(down, Down::Welcome { .. });
        self.down.get(&session.id).into_iter().flatten().any(is_it)
    }
}
