//! The one task that owns the core: inputs in, actions out, in batches.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;
use wardlink_link::{Out, Queue};
use wardlink_service::readiness::Readiness;
use wardlink_service::stop::Stop;
use wardlink_wire::link::{ToBs, ToMs, Token};
use wardlink_wire::terminal::Up;
use wardlink_wire::{CloseCode, Outcome, Reason, SessionId};

use super::front::Query;
use super::input::Input;
use super::metrics::Metrics;
use super::outbox::Outbox;
use crate::core::api::{Action, Event, LinkId, Millis, RequestId};
use crate::core::{Config, Core, TICK_MS};

/// Inputs taken at a time: one look at the clock, one flush of each link.
const TAKE: usize = 256;

/// What a post becomes.
type Posted = (Outcome, Option<Reason>);

/// The core and all that it acts on.
#[derive(Debug)]
pub(super) struct Engine {
    core: Core,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    inputs: mpsc::Receiver<Input>,
    queues: BTreeMap<LinkId, Queue<ToMs, ()>>,
    outbox: BTreeMap<LinkId, Vec<Out<ToMs, ()>>>,
    terminals: HashMap<SessionId, Outbox, ahash::RandomState>,
    /// Sessions whose outbox is full: told to the core after its actions.
    slow: Vec<SessionId>,
    /// Who waits for which post. As many as the core lets wait.
    posts: HashMap<RequestId, oneshot::Sender<Posted>, ahash::RandomState>,
    next_post: u64,
    next_link: u64,
    begun: Instant,
    /// Since when the engine works; `None` while it waits.
    woken: Option<Instant>,
    actions: Vec<Action>,
    ended: bool,
    /// Views that were logged.
    views: u64,
}

impl Engine {
    pub(super) fn new(
        mut config: Config,
        readiness: Readiness,
        metrics: Arc<Metrics>,
        inputs: mpsc::Receiver<Input>,
    ) -> Self {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        config.seed = high ^ low.rotate_left(32);
        let seeds = ahash::RandomState::with_seeds(config.seed, 10, 11, 12);
        Self {
            core: Core::new(config, 0),
            readiness,
            metrics,
            inputs,
            queues: BTreeMap::new(),
            outbox: BTreeMap::new(),
            terminals: HashMap::with_hasher(seeds.clone()),
            posts: HashMap::with_hasher(seeds),
            next_post: 0,
            slow: Vec::new(),
            next_link: 0,
            begun: Instant::now(),
            woken: None,
            actions: Vec::new(),
            ended: false,
            views: 0,
        }
    }

    /// Runs until no session is left after the stop signal.
    pub(super) async fn run(mut self, stop: Stop) -> anyhow::Result<()> {
        let mut tick = interval(Duration::from_millis(TICK_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(TAKE);
        let mut stopping = false;
        while !self.ended {
            self.rested();
            tokio::select! {
                () = stop.stopped(), if !stopping => {
                    stopping = true;
                    tracing::info!(sessions = self.core.sessions(), "sending terminals elsewhere");
                    self.event(Event::Stop);
                }
                due = tick.tick() => {
                    self.wake();
                    self.metrics.ticked(due.elapsed());
                    self.look_at_posts();
                    self.event(Event::Tick);
                }
                () = self.metrics.publish.asked() => self.publish(),
                taken = self.inputs.recv_many(&mut batch, TAKE) => {
                    anyhow::ensure!(taken > 0, "nobody is left to send inputs");
                    self.wake();
                    self.metrics.inputs_taken.inc_by(taken as u64);
                    for input in batch.drain(..) {
                        self.input(input);
                    }
                }
            }
            self.flush();
            self.tell();
        }
        Ok(())
    }

    /// Notes that the engine works from now on.
    fn wake(&mut self) {
        self.woken = Some(Instant::now());
    }

    /// Notes that the engine is about to wait.
    fn rested(&mut self) {
        if let Some(woken) = self.woken.take() {
            self.metrics.worked(woken.elapsed());
        }
    }

    fn event(&mut self, event: Event) {
        let elapsed = self.begun.elapsed();
        let now = elapsed.as_millis() as Millis;
        self.core.watch(elapsed.as_micros() as u64);
        self.core.on(event, now, &mut self.actions);
        self.act();
        while let Some(session) = self.slow.pop() {
            self.metrics.session_closed(CloseCode::TooSlow);
            self.terminals.remove(&session);
            self.core.on(Event::SessionClosed(session), now, &mut self.actions);
            self.act();
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::LinkOpened { queue, id } => {
                self.next_link += 1;
                let link = LinkId(self.next_link);
                if id.send(link).is_ok() {
                    self.queues.insert(link, queue);
                    self.event(Event::LinkOpened(link));
                }
            }
            Input::Items(link, items) => {
                if let Some(ToBs::Welcome(welcome)) = items.first() {
                    tracing::info!(link = link.0, ms = %welcome.ms_id, "linked to a message server");
                }
                self.event(Event::Items(link, items));
            }
            Input::Heard(link, clock) => self.event(Event::Heard(link, clock)),
            Input::Unusable(link, errors) => {
                let answers = errors.into_iter().map(|error| Out::Item(ToMs::Error(error)));
                self.outbox.entry(link).or_default().extend(answers);
            }
            Input::Fresh(link, token) => {
                let item = Out::Item(ToMs::Token(Token { token }));
                self.outbox.entry(link).or_default().push(item);
            }
            Input::BadFrame(link) => {
                self.metrics.link_closed(CloseCode::ProtocolError);
                self.outbox.entry(link).or_default().push(Out::Close(CloseCode::ProtocolError));
                self.event(Event::LinkClosed(link));
            }
            Input::LinkClosed(link) => {
                // What is collected for it, a close frame perhaps, still goes out.
                if let (Some(queue), Some(out)) =
                    (self.queues.remove(&link), self.outbox.remove(&link))
                {
                    queue.push(out);
                }
                self.event(Event::LinkClosed(link));
            }
            Input::SessionOpened { end, query, outbox, id } => {
                let session = SessionId(Uuid::new_v4());
                if id.send(session).is_ok() {
                    self.terminals.insert(session, outbox);
                    let Query { client, n, acks } = query;
                    self.event(Event::SessionOpened { session, end, client, n, acks });
                }
            }
            Input::Up(session, up) => {
                let sends = matches!(up, Up::Send(_));
                self.event(Event::Up(session, up));
                // Twice what the terminal was told: one that keeps to it is always read, for its
                // acks come on the same socket.
                if sends
                    && self.core.open_sends_of(session) >= self.core.session_sends() * 2
                    && let Some(outbox) = self.terminals.get(&session)
                {
                    self.metrics.held.inc();
                    outbox.hold();
                }
            }
            Input::Written(session, seq) => self.event(Event::Written(session, seq)),
            Input::Post { caller, from, send, answer } => {
                self.next_post += 1;
                let request = RequestId(self.next_post);
                self.posts.insert(request, answer);
                self.event(Event::Post { request, caller, from, send });
            }
            Input::Snapshot(reply) => {
                // Who asked may have gone.
                let _ = reply.send(self.core.snapshot(self.begun.elapsed().as_millis() as Millis));
            }
            Input::SessionClosed(session) => {
                if self.terminals.remove(&session).is_some() {
                    self.event(Event::SessionClosed(session));
                }
            }
        }
    }

    /// Tells the core of posts that nobody waits for any more.
    fn look_at_posts(&mut self) {
        let gone = self.posts.extract_if(|_, answer| answer.is_closed()).map(|(post, _)| post);
        for post in gone.collect::<Vec<_>>() {
            self.event(Event::PostGone(post));
        }
    }

    fn act(&mut self) {
        for action in self.actions.drain(..) {
            match action {
                Action::Send(link, item) => {
                    self.outbox.entry(link).or_default().push(Out::Item(item))
                }
                Action::Ping(link) => {
                    self.outbox.entry(link).or_default().push(Out::Ping(Bytes::new()))
                }
                Action::Close(link, code) => {
                    tracing::info!(
                        link = link.0,
                        reason = code.label(),
                        "link closed by this server"
                    );
                    self.metrics.link_closed(code);
                    self.outbox.entry(link).or_default().push(Out::Close(code));
                }
                Action::Down(session, down) => {
                    if let Some(outbox) = self.terminals.get(&session)
                        && !outbox.push(down)
                    {
                        self.slow.push(session);
                    }
                }
                Action::CloseSession(session, code) => {
                    if let Some(outbox) = self.terminals.remove(&session) {
                        self.metrics.session_closed(code);
                        outbox.close(code);
                    }
                }
                Action::Posted(request, outcome, reason) => {
                    if let Some(answer) = self.posts.remove(&request) {
                        // Who has gone meanwhile is not told.
                        let _ = answer.send((outcome, reason));
                    }
                }
                Action::Ready(ready) => self.readiness.set("links", ready),
                Action::Exit => self.ended = true,
            }
        }
    }

    /// Shows a scrape what only the engine knows.
    fn publish(&mut self) {
        self.metrics.core.show(&self.core);
        self.metrics.inputs.set(self.inputs.len() as i64);
        let largest = |(sum, most): (usize, usize), n: usize| (sum + n, most.max(n));
        let (sum, most) = self.terminals.values().map(Outbox::bytes).fold((0, 0), largest);
        self.metrics.outbox_bytes.set(sum as i64);
        self.metrics.outbox_largest_bytes.set(most as i64);
        let (sum, most) = self.queues.values().map(Queue::bytes).fold((0, 0), largest);
        self.metrics.queue_bytes.set(sum as i64);
        self.metrics.queue_largest_bytes.set(most as i64);
        self.metrics.publish.done();
    }

    /// Logs a view that is new since it was logged last.
    fn tell(&mut self) {
        let views = self.core.counters().views;
        if std::mem::replace(&mut self.views, views) != views
            && let Some(view) = self.core.view()
        {
            let (view_number, members) = (view.number, view.members.len());
            tracing::info!(%view_number, members, "view adopted");
        }
    }

    /// Hands what was collected to the links' writers.
    fn flush(&mut self) {
        let mut slow = Vec::new();
        while let Some((link, out)) = self.outbox.pop_first() {
            let closes = matches!(out.last(), Some(Out::Close(_)));
            let Some(queue) = self.queues.get(&link) else { continue };
            if !queue.push(out) {
                slow.push(link);
            } else if closes {
                self.queues.remove(&link);
            }
        }
        for link in slow {
            tracing::warn!(
                link = link.0,
                "link does not read as fast as it is written to, closing it"
            );
            self.metrics.link_closed(CloseCode::TooSlow);
            self.queues.remove(&link);
            self.event(Event::LinkClosed(link));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for outbox in self.terminals.values() {
            outbox.close(CloseCode::GoingAway);
        }
    }
}
