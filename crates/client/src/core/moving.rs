//! Moving to another server while the present one still serves: the next connection is opened
//! first, and the present one closed when the next is welcomed. So nothing that is sent or shown
//! has to wait. Of one program the connection with the higher number wins.

use std::time::Duration;

use wardlink_wire::CloseCode;
use wardlink_wire::terminal::Down;

use super::event::{Action, Held};
use super::retry::Cause;
use super::session::{Session, WELCOME_WAIT};
use super::{Core, FIRST_CREDIT, State};

/// The next connection.
#[derive(Debug)]
pub(super) struct Moving {
    n: u64,
    /// Since when it is open, and what there is of its session.
    open: Option<(Duration, Session)>,
}

impl Moving {
    pub(super) fn close<H>(&self) -> Action<H> {
        Action::Close { n: self.n }
    }

    /// When it is given up. Reaching the server has a time limit of its own.
    pub(super) fn due(&self) -> Option<Duration> {
        self.open.as_ref().map(|(since, _)| *since + WELCOME_WAIT)
    }
}

impl<H> Core<H> {
    pub(super) fn is_next(&self, n: u64) -> bool {
        self.moving.as_ref().is_some_and(|moving| moving.n == n)
    }

    /// Begins to move, where the server's time has come and the session holds.
    pub(super) fn tick_move(&mut self, now: Duration) {
        if self.moving.as_ref().and_then(Moving::due).is_some_and(|due| due <= now)
            && let Some(moving) = self.moving.take()
        {
            self.actions.push_back(moving.close());
            self.move_later(Cause::Other, now);
        }
        if self.moving.is_none()
            && let State::Open(session) = &mut self.state
            && session.welcomed
            && session.leave_at.is_some_and(|at| at <= now)
        {
            session.leave_at = None;
            let (n, server) = self.number();
            self.moving = Some(Moving { n, open: None });
            self.actions.push_back(Action::Connect { n, server });
        }
    }

    pub(super) fn next_connected(&mut self, held: Option<&Held>, now: Duration) {
        if let Some(moving) = &mut self.moving {
            let session = Session::new(held, self.config.credential, now);
            moving.open.get_or_insert((now, session));
        }
    }

    /// The next connection did not come about, or has ended.
    pub(super) fn next_failed(&mut self, cause: Cause, now: Duration) {
        self.moving = None;
        self.move_later(cause, now);
    }

    /// What is refused for good is left to the end of the present session.
    fn move_later(&mut self, cause: Cause, now: Duration) {
        if let State::Open(session) = &mut self.state {
            session.leave_at = self.retry.after(cause).ok().map(|delay| now + delay);
        }
    }

    pub(super) fn next_down(&mut self, down: Down, now: Duration) {
        let Some((_, session)) = self.moving.as_mut().and_then(|moving| moving.open.as_mut())
        else {
            return;
        };
        match down {
            Down::Welcome { .. } => {
                let old = self.n;
                if self.take_next(false) {
                    self.actions.push_back(Action::Close { n: old });
                    self.down(down, now);
                }
            }
            Down::Reconnect { after_ms } => {
                let after = Duration::from_millis(after_ms.into()).min(super::RECONNECT_AFTER_MAX);
                session.leave_at = Some(now + after);
            }
            // Nothing is shown or told before the welcome.
            Down::Message(_) | Down::Result { .. } | Down::Error { .. } => {}
        }
    }

    /// The present connection has ended while the next was on its way: it is the present one now.
    /// It may be why the other was replaced, if it does open. False where the end is for good.
    pub(super) fn go_on_with_next(&mut self, cause: Cause) -> bool {
        let replaced = cause == Cause::Code(CloseCode::Replaced.code());
        if self.moving.is_none() || !(replaced || self.retry.allows(cause)) {
            return false;
        }
        self.actions.push_back(Action::Lost);
        self.take_next(replaced)
    }

    fn take_next(&mut self, replaced: bool) -> bool {
        let Some(moving) = self.moving.take() else { return false };
        self.n = moving.n;
        self.state = match moving.open {
            None => State::Connecting { replaced },
            Some((_, session)) => {
                self.begin_session();
                State::Open(session)
            }
        };
        true
    }

    /// What every session begins with.
    pub(super) fn begin_session(&mut self) {
        self.sends.rewind();
        self.seen.new_session();
        self.credit = FIRST_CREDIT;
    }

    /// The number of a new connection, and its server: each in turn.
    pub(super) fn number(&mut self) -> (u64, usize) {
        let server = (self.last % self.config.servers.max(1) as u64) as usize;
        self.last += 1;
        (self.last, server)
    }
}
