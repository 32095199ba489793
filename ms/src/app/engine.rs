//! The one task that owns the core: inputs in, actions out, in batches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;
use wardlink_link::{Out, Queue};
use wardlink_service::readiness::Readiness;
use wardlink_service::stop::Stop;
use wardlink_wire::link::{ToBs, ToMs, json};
use wardlink_wire::{CloseCode, ServerId};

use super::Config;
use super::database::Database;
use super::input::{Input, Written};
use super::metrics::Metrics;
use crate::core::api::{Action, Counters, Event, LinkId, Millis, Snapshot};
use crate::core::{Config as CoreConfig, Core, TICK_MS};
use crate::store::Store;

/// Inputs taken at a time: one look at the clock, one flush of each link.
const TAKE: usize = 256;

/// The core and all that it acts on.
#[derive(Debug)]
pub(super) struct Engine {
    core: Core,
    database: Database,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    inputs: mpsc::Receiver<Input>,
    queues: BTreeMap<LinkId, Queue<ToBs, Written>>,
    outbox: BTreeMap<LinkId, Vec<Out<ToBs, Written>>>,
    next_link: u64,
    begun: Instant,
    /// Since when the engine works; `None` while it waits.
    woken: Option<Instant>,
    /// Between two looks at the mailbox as a whole.
    sweep: Duration,
    actions: Vec<Action>,
    ended: bool,
    /// What was logged last.
    told: Counters,
    degraded: bool,
}

impl Engine {
    pub(super) fn new(
        config: &Config,
        store: Arc<dyn Store>,
        readiness: Readiness,
        metrics: Arc<Metrics>,
        back: mpsc::Sender<Input>,
        inputs: mpsc::Receiver<Input>,
    ) -> Self {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        let core = CoreConfig {
            message_ttl_s: config.message_ttl_s,
            mailbox_max: config.mailbox_max,
            sweep_ms: config.sweep.as_millis() as Millis,
            exclusive: store.exclusive(),
            seed: high ^ low.rotate_left(32),
            ..CoreConfig::default()
        };
        Self {
            core: Core::new(core, 0),
            database: Database::new(store, metrics.clone(), back),
            readiness,
            metrics,
            inputs,
            queues: BTreeMap::new(),
            outbox: BTreeMap::new(),
            next_link: 0,
            begun: Instant::now(),
            woken: None,
            sweep: config.sweep,
            actions: Vec::new(),
            ended: false,
            told: Counters::default(),
            degraded: false,
        }
    }

    /// Runs until the core has left the view after the stop signal.
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
                    self.event(Event::Stop);
                }
                due = tick.tick() => {
                    self.wake();
                    self.metrics.ticked(due.elapsed());
                    self.database.sample(self.sweep, self.core.clock_ms(self.now()));
                    for (id, reply) in self.database.overdue() {
                        self.event(Event::Reply(id, reply));
                    }
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

    fn now(&self) -> Millis {
        self.begun.elapsed().as_millis() as Millis
    }

    fn event(&mut self, event: Event) {
        let elapsed = self.begun.elapsed();
        let now = elapsed.as_millis() as Millis;
        self.core.watch(elapsed.as_micros() as u64);
        self.core.on(event, now, &mut self.actions);
        self.act();
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::LinkOpened { queue, plain, id } => {
                self.next_link += 1;
                let link = LinkId(self.next_link);
                if id.send(link).is_ok() {
                    self.queues.insert(link, queue);
                    let plain = plain.then(|| ServerId(Uuid::new_v4()));
                    self.event(Event::LinkOpened { link, plain });
                }
            }
            Input::Items(link, items, _turn) => {
                if let Some(ToMs::Hello(hello)) = items.first() {
                    tracing::info!(link = link.0, server = %hello.server_id, "business server linked");
                }
                self.event(Event::Items(link, items));
            }
            Input::Plain(link, items, _turn) => self.event(Event::Plain(link, items)),
            Input::PlainWritten(link, written) => {
                for (end, stamp) in written {
                    self.event(Event::PlainWritten(link, end, stamp));
                }
            }
            Input::Heard(link, _turn) => self.event(Event::Heard(link)),
            Input::Unusable(link, errors) => {
                let answers = errors.into_iter().map(|error| Out::Item(ToBs::Error(error)));
                self.outbox.entry(link).or_default().extend(answers);
            }
            Input::Close(link, code) => {
                let reason = code.label();
                tracing::info!(link = link.0, reason, "link closed by this server");
                self.metrics.closed(code);
                self.outbox.entry(link).or_default().push(Out::Close(code));
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
            Input::Replies(replies) => {
                for (id, reply) in replies {
                    self.event(Event::Reply(id, reply));
                }
            }
            Input::Snapshot(reply) => {
                // Who asked may have gone meanwhile.
                let _ = reply.send(self.core.snapshot());
            }
        }
    }

    fn act(&mut self) {
        for action in self.actions.drain(..) {
            match action {
                Action::Send(link, item) => {
                    self.outbox.entry(link).or_default().push(Out::Item(item))
                }
                Action::SendPlain { link, end, body, stamp } => {
                    let frame = json::encode_plain_deliver(&end, &body);
                    self.outbox.entry(link).or_default().push(Out::Plain(frame, (end, stamp)));
                }
                Action::Ping(link, clock) => {
                    let payload = clock.to_string().into();
                    self.outbox.entry(link).or_default().push(Out::Ping(payload));
                }
                Action::Close(link, code) => {
                    tracing::info!(
                        link = link.0,
                        reason = code.label(),
                        "link closed by this server"
                    );
                    self.metrics.closed(code);
                    self.outbox.entry(link).or_default().push(Out::Close(code));
                }
                Action::Store(id, op) => self.database.push(id, op),
                Action::Ready(ready) => self.readiness.set("view", ready),
                Action::Exit => self.ended = true,
            }
        }
    }

    /// Shows a scrape what only the engine knows.
    fn publish(&mut self) {
        let held = self.core.held();
        self.metrics.core.show(&self.core, &held);
        self.metrics.inputs.set(self.inputs.len() as i64);
        let queues = self.queues.values().map(Queue::bytes);
        let (sum, most) = queues.fold((0, 0), |(sum, most), n| (sum + n, most.max(n)));
        self.metrics.queue_bytes.set(sum as i64);
        self.metrics.queue_largest_bytes.set(most as i64);
        self.database.publish();
        self.metrics.publish.done();
    }

    /// Logs what changed since it was logged last: states, never messages.
    fn tell(&mut self) {
        let now = self.core.counters();
        if now.healed > self.told.healed {
            tracing::warn!("view document was lost or went back, writing it anew");
        }
        if now.expelled > self.told.expelled {
            tracing::warn!("taken out of the view by another member, entering again");
        }
        if now.late_writes > self.told.late_writes {
            let found = now.late_writes - self.told.late_writes;
            tracing::warn!(found, "sweep found messages that were written late");
        }
        if now.views > self.told.views {
            let snapshot = self.core.snapshot();
            if let Some(view) = snapshot.view {
                let (view_number, members) = (view.number, view.members.len());
                let owned = view.owned_by(snapshot.me);
                tracing::info!(ms = %snapshot.me, %view_number, members, owned, "view adopted");
            }
        }
        self.told = now;
        let degraded = self.core.is_degraded();
        if degraded && !self.degraded {
            tracing::warn!("degraded: database does not answer, only live traffic flows");
        } else if !degraded && self.degraded {
            tracing::info!("database answers again");
        }
        self.degraded = degraded;
    }

    /// Hands what was collected to the links' writers, and begins what the database can take.
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
            self.metrics.closed(CloseCode::TooSlow);
            self.queues.remove(&link);
            self.event(Event::LinkClosed(link));
        }
        self.database.start();
    }
}

/// The view as JSON for people and for `wardlink view`.
pub(super) fn view_json(snapshot: &Snapshot) -> String {
    let Some(view) = &snapshot.view else { return r#"{"members":[]}"#.to_owned() };
    let members: Vec<_> = view
        .members
        .iter()
        .map(|ms| {
            let beat = snapshot.beats.iter().find(|beat| beat.ms == *ms);
            serde_json::json!({
                "id": ms,
                "partitions": view.owned_by(*ms),
                "links": beat.map_or(0, |beat| beat.links),
                "renewals": beat.map_or(0, |beat| beat.renewals).to_string(),
            })
        })
        .collect();
    let partitions: Vec<_> = view
        .slots
        .iter()
        .enumerate()
        .map(|(i, slot)| serde_json::json!({"partition": i, "owner": slot.owner, "epoch": slot.epoch}))
        .collect();
    serde_json::json!({
        "number": view.number,
        "id": view.id,
        "me": snapshot.me,
        "links": snapshot.links,
        "lanes": snapshot.lanes,
        "members": members,
        "partitions": partitions,
    })
    .to_string()
}
