//! Sending terminals elsewhere: all of them, spread over a while, because this BS stops or is cut off.
//!
//! A stopping BS serves each session until it leaves: its sends get their results, its messages
//! come. The core is done when no session is left and no post waits for its result.

use wardlink_wire::terminal::Down;
use wardlink_wire::{CloseCode, SessionId};

use super::Core;
use super::api::{Action, Millis};

/// Sessions that have open sends at the end of the window are kept so long for the results, in
/// milliseconds. With the second that last frames may take it stays below the 5 s that a BS has
/// beyond its window.
const RESULTS_MS: Millis = 3_000;

/// How far a planned stop is.
#[derive(Debug)]
pub(super) struct Drain {
    /// Who is still here then, with nothing open, is closed.
    end: Millis,
    /// Who is still here then is closed.
    last: Millis,
    exited: bool,
}

/// The `i`th of `all` moments that are spread evenly over `window`, each somewhere in its share of
/// it, so that two servers that stop together do not keep step.
fn moment(i: u64, all: u64, window: Millis, seed: u64) -> u32 {
    // A share is cut into 1,024 places, by the fractional parts of a golden sequence.
    let place =
        (seed ^ i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 54;
    let at = (u128::from(i) * 1_024 + u128::from(place)) * u128::from(window);
    u32::try_from(at / (u128::from(all.max(1)) * 1_024)).unwrap_or(u32::MAX)
}

impl Core {
    /// Whether this BS was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.drain.is_some()
    }

    pub(super) fn stop(&mut self, now: Millis, actions: &mut Vec<Action>) {
        if self.drain.is_some() {
            return;
        }
        self.ready = false;
        actions.push(Action::Ready(false));
        let window = self.config.drain_ms;
        let end = now + window;
        self.drain = Some(Drain { end, last: end + RESULTS_MS.min(window), exited: false });
        // The last tenth is for who was told last.
        self.send_away(window - window / 10, actions);
        self.look_at_drain(now, actions);
    }

    /// Asks all terminals to connect elsewhere, spread over `window` milliseconds. They are told in
    /// the order of the table, which is that of random ids under a random seed.
    pub(super) fn send_away(&mut self, window: Millis, actions: &mut Vec<Action>) {
        let all = self.sessions.len() as u64;
        for (i, session) in self.sessions.keys().enumerate() {
            let after_ms = moment(i as u64, all, window, self.config.seed);
            actions.push(Action::Down(*session, Down::Reconnect { after_ms }));
        }
        self.counters.sent_away += all;
    }

    /// At the end of the window closes who is left; without sessions, the core is done.
    pub(super) fn look_at_drain(&mut self, now: Millis, actions: &mut Vec<Action>) {
        let Some(drain) = &mut self.drain else { return };
        let (over, last) = (drain.end <= now, drain.last <= now);
        if over {
            let done = |session: &super::Session| last || session.open_sends() == 0;
            let left: Vec<SessionId> =
                self.sessions.iter().filter(|(_, s)| done(s)).map(|(id, _)| *id).collect();
            for session in left {
                self.counters.left_late += 1;
                self.session_closed(session, actions);
                actions.push(Action::CloseSession(session, CloseCode::GoingAway));
            }
        }
        let empty = self.sessions.is_empty() && (last || self.posts.waiting() == 0);
        if let Some(drain) = &mut self.drain
            && empty
            && !std::mem::replace(&mut drain.exited, true)
        {
            self.stop_posts(actions);
            actions.push(Action::Exit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_spread_evenly_over_the_window_and_none_is_later() {
        let moments: Vec<u32> = (0..1_000).map(|i| moment(i, 1_000, 10_000, 7)).collect();
        assert!(moments.iter().enumerate().all(|(i, at)| at / 10 == i as u32), "{moments:?}");
        assert!(moments.iter().any(|at| at % 10 > 6) && moments.iter().any(|at| at % 10 < 3));
        assert_eq!(moment(0, 1, 0, 7), 0);
        assert!((0..5).all(|seed| moment(0, 1, 1_000, seed << 40) < 1_000));
    }
}
