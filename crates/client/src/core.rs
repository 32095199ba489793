//! The state of one terminal program: events and the time go in, actions come out.
//!
//! Decides when to connect, what to write in which order, what to show and to acknowledge, and
//! what each send ends as. It performs no I/O and has no clock: time is a [`Duration`] since any
//! moment that its caller chooses, and its jitter comes from a seed.

mod backoff;
mod event;
mod moving;
mod renewal;
mod retry;
mod seen;
mod sends;
mod session;

use std::collections::VecDeque;
use std::time::Duration;

use wardlink_wire::terminal::{BODY_MAX_BYTES, Down, DownMessage, Up, UpSend};
use wardlink_wire::{CloseCode, Outcome, Reason};

pub use event::{Action, CoreConfig, Credential, Ended, Event, Held, SendOutcome, Ticket, Welcome};

use moving::Moving;
use retry::{Cause, Retry};
use seen::{Arrival, Seen};
use sends::{Left, Sends};
use session::Session;

/// Sends that may be open on a session before its `welcome` has told the server's limit.
const FIRST_CREDIT: usize = 16;
/// Longest wait that a server's `reconnect` may ask for.
const RECONNECT_AFTER_MAX: Duration = Duration::from_secs(600);
/// How long shown messages are remembered until a `welcome` tells the message TTL.
const REMEMBER: Duration = Duration::from_secs(600);

#[derive(Debug)]
enum State {
    Waiting {
        until: Duration,
    },
    Connecting {
        /// Whether the session before was replaced by a newer one. That was this connection, or
        /// another client where this one does not open. Which of two connections is heard first
        /// tells nothing.
        replaced: bool,
    },
    Open(Session),
    Ended,
}

/// The state of one terminal program.
///
/// # Expected flow
///
/// After each [`Core::handle`]: do what [`Core::next_action`] gives until it gives nothing, write
/// what [`Core::next_write`] gives while a connection is open and has room, and call again at
/// [`Core::timeout`] with [`Event::Tick`], if nothing happens before.
///
/// # Guarantees
///
/// Each send is resolved exactly once, at its deadline at the latest. What has no result is written
/// on each new session in the original order under the same id; `rejected` there is `unknown`
/// here, for the earlier copy may have arrived. Nothing is sent before a first `welcome` has named
/// the end that [`CoreConfig::end`] demands. A message is shown once while it
/// is remembered: for the message TTL, the last 65,536. An acknowledgement names only what
/// [`Event::Processed`] has named, on any session. A server that asks to be left is left only when
/// another has welcomed this program, or when it ends the session.
#[derive(Debug)]
pub struct Core<H> {
    config: CoreConfig,
    state: State,
    n: u64,
    /// The highest number of a connection.
    last: u64,
    /// The connection that is to follow the present one.
    moving: Option<Moving>,
    retry: Retry,
    sends: Sends<H>,
    seen: Seen,
    deaf: bool,
    credit: usize,
    body_max: usize,
    remember: Duration,
    /// Whether the identity may still turn out to be another end's: nothing is sent until then,
    /// for it would be in that end's name.
    doubted: bool,
    actions: VecDeque<Action<H>>,
}

impl<H> Core<H> {
    /// A terminal that connects as soon as it is asked for its actions.
    pub fn new(config: CoreConfig, now: Duration) -> Self {
        let mut core = Self {
            retry: Retry::new(&config),
            doubted: config.end.is_some(),
            config,
            state: State::Waiting { until: now },
            n: 0,
            last: 0,
            moving: None,
            sends: Sends::new(),
            seen: Seen::default(),
            deaf: false,
            credit: FIRST_CREDIT,
            body_max: BODY_MAX_BYTES,
            remember: REMEMBER,
            actions: VecDeque::new(),
        };
        core.tick(now);
        core
    }

    /// Takes an event in. What concerns another connection than the present one is ignored.
    pub fn handle(&mut self, now: Duration, event: Event<H>) {
        match event {
            Event::Tick => {}
            Event::Connected { n, held } if self.is_next(n) => {
                self.next_connected(held.as_ref(), now);
            }
            Event::Connected { n, held } => self.connected(n, held.as_ref(), now),
            Event::NoToken { n } if self.is_next(n) => self.next_failed(Cause::NoToken, now),
            Event::NoToken { n } => self.failed(n, Cause::NoToken, now),
            Event::ConnectFailed { n, status } if self.is_next(n) => {
                self.next_failed(status.map_or(Cause::Other, Cause::Status), now);
            }
            Event::ConnectFailed { n, status } => {
                self.failed(n, status.map_or(Cause::Other, Cause::Status), now);
            }
            Event::Renewed { n, held } => self.renewed(n, held, now),
            Event::Down { n, down } if self.is_open(n) => self.down(down, now),
            Event::Down { n, down } if self.is_next(n) => self.next_down(down, now),
            Event::Down { .. } => {}
            Event::Closed { n, code } if self.is_open(n) => {
                self.over(code.map_or(Cause::Other, Cause::Code), now);
            }
            Event::Closed { n, code } if self.is_next(n) => {
                self.next_failed(code.map_or(Cause::Other, Cause::Code), now);
            }
            Event::Closed { .. } => {}
            Event::Send { send, handle } => self.send(send, handle, now),
            Event::Processed(ticket) => self.seen.processed(ticket),
            Event::Deaf => self.deaf = true,
            Event::Stop => self.stop(),
        }
        self.tick(now);
    }

    /// The next thing to do.
    pub fn next_action(&mut self) -> Option<Action<H>> {
        self.actions.pop_front()
    }

    /// The next frame to write on the open connection: a new token first, then the
    /// acknowledgement, then sends in order, as many as the server lets be open. What is taken
    /// here counts as sent.
    pub fn next_write(&mut self) -> Option<Up> {
        let State::Open(session) = &mut self.state else { return None };
        if let Some(token) = session.take_token() {
            return Some(Up::Token(token));
        }
        if self.doubted {
            return None;
        }
        if let Some(seq) = self.seen.take_ack() {
            return Some(Up::Ack { seq });
        }
        self.sends.next_write(self.credit).map(Up::Send)
    }

    /// When [`Core::handle`] is to be called at the latest.
    pub fn timeout(&self) -> Option<Duration> {
        let state = match &self.state {
            State::Waiting { until } => Some(*until),
            State::Open(session) => session.due(),
            State::Connecting { .. } | State::Ended => None,
        };
        let moving = self.moving.as_ref().and_then(Moving::due);
        [state, moving, self.sends.deadline()].into_iter().flatten().min()
    }

    /// Sends without a result.
    pub fn open_sends(&self) -> usize {
        self.sends.len()
    }

    fn is_open(&self, n: u64) -> bool {
        n == self.n && matches!(self.state, State::Open(_))
    }

    fn connected(&mut self, n: u64, held: Option<&Held>, now: Duration) {
        if n == self.n && matches!(self.state, State::Connecting { .. }) {
            self.begin_session();
            self.state = State::Open(Session::new(held, self.config.credential, now));
        }
    }

    fn renewed(&mut self, n: u64, held: Option<Held>, now: Duration) {
        if n == self.n
            && let State::Open(session) = &mut self.state
        {
            session.renewed(held, now);
        }
    }

    /// Connection `n` could not be made.
    fn failed(&mut self, n: u64, cause: Cause, now: Duration) {
        match self.state {
            State::Connecting { replaced: true } if n == self.n => {
                self.end(Ended::Closed(CloseCode::Replaced.code()));
            }
            State::Connecting { replaced: false } if n == self.n => self.over(cause, now),
            _ => {}
        }
    }

    /// Leaves the connection by the client's own will.
    fn abandon(&mut self, now: Duration) {
        self.actions.push_back(Action::Close { n: self.n });
        self.over(Cause::Other, now);
    }

    /// There is no connection any more, or none came about.
    fn over(&mut self, cause: Cause, now: Duration) {
        if let State::Open(session) = &self.state {
            if session.is_steady(now) {
                self.retry.steady();
            }
            // Only a server that still waits for a token says so, and it takes nothing before.
            // (4506 also ends a session that has not had its `welcome` and may have taken sends.)
            if !session.welcomed && cause == Cause::Code(CloseCode::BadIdentity.code()) {
                self.sends.not_taken();
            }
        }
        if self.go_on_with_next(cause) {
            return;
        }
        match self.retry.after(cause) {
            Ok(delay) => {
                self.state = State::Waiting { until: now + delay };
                self.actions.push_back(Action::Lost);
            }
            Err(why) => self.end(why),
        }
    }

    fn down(&mut self, down: Down, now: Duration) {
        match down {
            Down::Welcome { end, .. }
                if self.config.end.as_ref().is_some_and(|own| *own != end) =>
            {
                self.actions.push_back(Action::Close { n: self.n });
                self.end(Ended::OtherEnd);
            }
            Down::Welcome { end, session, server, limits } => {
                self.credit = usize::try_from(limits.open_sends).unwrap_or(usize::MAX).max(1);
                self.body_max = usize::try_from(limits.body_bytes).unwrap_or(usize::MAX);
                self.remember = Duration::from_secs(limits.ttl_s.into());
                self.doubted = false;
                if let State::Open(open) = &mut self.state {
                    open.welcomed = true;
                }
                let welcome = Welcome { end, session, server, limits };
                self.actions.push_back(Action::Welcomed(welcome));
            }
            Down::Message(message) => self.message(message, now),
            Down::Result { id, outcome, reason } => {
                if let Some(Left { handle, written_before, .. }) = self.sends.take(&id) {
                    // This session's server knows nothing of a copy that went by an earlier one.
                    let outcome = match outcome {
                        Outcome::Rejected if written_before => Outcome::Unknown,
                        other => other,
                    };
                    self.resolve(handle, outcome, reason);
                }
            }
            Down::Error { id: Some(id), .. } => {
                if let Some(Left { handle, .. }) = self.sends.take(&id) {
                    self.resolve(handle, Outcome::Rejected, Some(Reason::Invalid));
                }
            }
            Down::Error { id: None, .. } => {}
            // The move is under way already. Should it fail, it is tried again by itself.
            Down::Reconnect { .. } if self.moving.is_some() => {}
            Down::Reconnect { after_ms } => {
                let after = Duration::from_millis(after_ms.into()).min(RECONNECT_AFTER_MAX);
                if let State::Open(open) = &mut self.state {
                    open.leave_at = Some(now + after);
                }
            }
        }
    }

    fn message(&mut self, message: DownMessage, now: Duration) {
        if self.deaf {
            return;
        }
        if let Some(until) = now.checked_sub(self.remember) {
            self.seen.forget(until);
        }
        if self.seen.unprocessed() >= self.config.unprocessed_max {
            self.abandon(now);
            return;
        }
        match self.seen.arrive(message.seq, message.from.clone(), message.id.clone(), now) {
            Arrival::New(ticket) => self.actions.push_back(Action::Show { ticket, message }),
            Arrival::Repeat => {}
            Arrival::Gap => self.abandon(now),
        }
    }

    fn send(&mut self, send: UpSend, handle: H, now: Duration) {
        let refused = if matches!(self.state, State::Ended) {
            Some(Reason::Unavailable)
        } else if self.sends.contains(&send.id) {
            Some(Reason::IdReused)
        } else if send.body.len() > self.body_max {
            Some(Reason::TooLarge)
        } else if self.sends.len() >= self.config.open_sends_max {
            Some(Reason::Overloaded)
        } else {
            None
        };
        match refused {
            Some(reason) => self.resolve(handle, Outcome::Rejected, Some(reason)),
            None => self.sends.push(send, handle, now + self.config.send_deadline),
        }
    }

    fn stop(&mut self) {
        if matches!(self.state, State::Connecting { .. } | State::Open(_)) {
            self.actions.push_back(Action::Close { n: self.n });
        }
        self.end(Ended::Stopped);
    }

    fn end(&mut self, why: Ended) {
        if matches!(self.state, State::Ended) {
            return;
        }
        self.state = State::Ended;
        if let Some(moving) = self.moving.take() {
            self.actions.push_back(moving.close());
        }
        while let Some(left) = self.sends.pop() {
            self.give_up(left, Reason::Unavailable);
        }
        self.actions.push_back(Action::Ended(why));
    }

    /// A send without a result: it cannot arrive if it was never written.
    fn give_up(&mut self, left: Left<H>, reason: Reason) {
        let outcome = if left.written { Outcome::Unknown } else { Outcome::Rejected };
        self.resolve(left.handle, outcome, Some(reason));
    }

    fn resolve(&mut self, handle: H, outcome: Outcome, reason: Option<Reason>) {
        let outcome = SendOutcome::new(outcome, reason);
        self.actions.push_back(Action::Resolve { handle, outcome });
    }

    fn tick(&mut self, now: Duration) {
        while let Some(left) = self.sends.expire(now) {
            self.give_up(left, Reason::Deadline);
        }
        if let State::Open(session) = &mut self.state
            && session.asks(now)
        {
            self.actions.push_back(Action::Renew { n: self.n });
        }
        self.tick_move(now);
        if let State::Open(session) = &self.state
            && session.is_over(now)
        {
            let asked = session.leave_at.is_some_and(|at| at <= now);
            let unwelcome = !session.welcomed && !asked;
            self.abandon(now);
            if unwelcome && matches!(self.state, State::Waiting { .. }) {
                self.actions.push_back(Action::Unwelcome);
            }
            if asked && matches!(self.state, State::Waiting { .. }) {
                // The server has spread its terminals already.
                self.state = State::Waiting { until: now };
            }
        }
        if matches!(self.state, State::Waiting { until } if until <= now) {
            let (n, server) = self.number();
            self.n = n;
            self.state = State::Connecting { replaced: false };
            self.actions.push_back(Action::Connect { n: self.n, server });
        }
    }
}

#[cfg(test)]
mod tests;
