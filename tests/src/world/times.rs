//! The judge of times and bounds: deadlines, what must be on its way at once, expiry, windows.

use wardlink_wire::Epoch;

use super::db::BASE_MS;
use super::{Ev, World};

/// How much later than its deadline a result may come, in milliseconds: two ticks.
pub(super) const SLACK_MS: u64 = 150;
/// Where nothing but BSs fails, a result comes long before its deadline, in milliseconds.
pub(super) const PROMPT_MS: u64 = 5_000;
/// There a message to a connected end is shown within so long, in milliseconds: less than a
/// register is repeated after, more than a new link takes.
const WAY_MS: u64 = 2_800;

impl World {
    pub(super) fn check_deadline(&mut self, s: usize, place: usize) {
        let session = &self.sessions[s];
        let sent = session.sent[place];
        if !session.bs_open || sent.results > 0 {
            return;
        }
        let process = &self.bs[session.bs].process;
        if process.paused {
            return self.after(300, Ev::Deadline(s, place));
        }
        if process.resumed + SLACK_MS > self.now {
            return self.after(SLACK_MS, Ev::Deadline(s, place));
        }
        let text = format!("m{} has no result in time", sent.msg);
        self.violate("P1", text);
    }

    fn the_session_of(&self, end: usize) -> Option<usize> {
        let mut open = (0..self.sessions.len())
            .filter(|s| self.sessions[*s].end == end && self.sessions[*s].bs_open);
        let session = open.next().filter(|s| self.sessions[*s].term_open);
        if open.next().is_none() { session } else { None }
    }

    pub(super) fn expect_on_its_way(&mut self, msg: usize, from: usize) {
        if let Some(to) = self.the_session_of(self.messages[msg].to) {
            self.after(WAY_MS, Ev::OnItsWay { msg, from, to });
        }
    }

    /// It was sent a while ago, its end was connected all the time, and at most one thing broke.
    pub(super) fn check_on_its_way(&mut self, msg: usize, from: usize, to: usize) {
        let message = &self.messages[msg];
        let shown = message.refused || !message.shows.is_empty();
        let stays = self.the_session_of(message.to) == Some(to) && self.sessions[from].bs_open;
        let calm = self.broken[1] + WAY_MS + 1_000 < self.now;
        // Where others are shown meanwhile, it waits its turn.
        let stands = self.sessions[to].shown_at + WAY_MS < self.now;
        if !shown && stays && stands && calm && !self.quiet {
            self.violate("P2", format!("m{msg} is not on its way though its end is connected"));
        }
    }

    /// A BS knows the database's clock by what an MS told it some time ago.
    pub(super) fn check_expiry(&mut self, msg: usize, at_ms: u64) {
        let slowest = self.profile.paths.iter().flatten().max().copied().unwrap_or(0);
        let slack = slowest + self.profile.jitter + self.profile.stall_max + 20;
        let ttl = self.messages[msg].ttl_s.unwrap_or(u32::MAX).min(self.profile.ttl_s);
        let expires = at_ms + u64::from(ttl) * 1000;
        if BASE_MS + self.now > expires + slack {
            let late = BASE_MS + self.now - expires;
            self.violate("P6", format!("m{msg} was shown {late} ms after its expiry"));
        }
    }

    /// What one owner has handed out to one session and is not acked is bounded.
    pub(super) fn check_window(&mut self, s: usize, epoch: Epoch) {
        let session = &self.sessions[s];
        let waits = session.shown[session.acked..].iter().filter(|msg| {
            self.messages[**msg].shows.iter().any(|show| show.session == s && show.epoch == epoch)
        });
        let bound = 2 * self.profile.window_max + 1;
        // The terminal's acks are on their way for a while.
        let on_the_way = session.received - session.acked.min(session.received);
        if waits.count() > bound + on_the_way {
            self.violate("P7", format!("more than {bound} messages of one window are out"));
        }
    }
}
