//! The fault-free end of every history: everything works again, and must come to rest.

use super::cover::Reached;
use super::db::BASE_MS;
use super::{Ev, World};

/// The world must come to rest within so long, in milliseconds: who died is taken out after 5 s,
/// sweeps come every 6 s at most, evening out needs 10 s of quiet.
const REST_MS: u64 = 60_000;
/// A probe must be answered and acked within so long, in milliseconds.
const PROBE_MS: u64 = 15_000;
/// By so much a server may call a message expired too early, in milliseconds: the longest renewal.
pub(super) const UNSURE_MS: u64 = 3_500;
/// Between two looks, in milliseconds.
const POLL_MS: u64 = 250;

impl World {
    pub(super) fn begin_quiet(&mut self) {
        say!(self, "world".to_owned(), "faults end".to_owned());
        self.quiet = true;
        self.quiet_since = self.now;
        self.db_down_until = 0;
        for link in &mut self.links {
            link.up.stalled = 0;
            link.down.stalled = 0;
        }
        for path in self.paths.iter_mut().flatten() {
            path.blocked = 0;
        }
        for slot in std::mem::take(&mut self.held) {
            self.after(100, Ev::Apply(slot));
        }
        for m in 0..self.ms.len() {
            let inc = self.ms[m].inc;
            self.ms_resume(m, inc);
            self.after(20, Ev::MsStart(m));
        }
        for b in 0..self.bs.len() {
            let inc = self.bs[b].process.inc;
            self.bs_resume(b, inc);
            self.after(20, Ev::BsStart(b));
        }
        for s in 0..self.sessions.len() {
            if self.sessions[s].term_open {
                self.sessions[s].ack_planned = false;
                self.plan_ack(s);
            }
        }
        self.after(500, Ev::Poll);
    }

    /// Every end is connected, by one program at least.
    fn connect_all(&mut self) {
        for end in 0..self.ends.len() {
            let of_end: Vec<usize> =
                (0..self.programs.len()).filter(|p| self.programs[*p].end == end).collect();
            for &p in &of_end {
                let program = &self.programs[p];
                if !program.stopped && program.session.is_none() {
                    self.after(1, Ev::Connect(p));
                }
            }
            if of_end.iter().all(|p| self.programs[*p].stopped)
                && !self.sessions.iter().any(|s| s.end == end && s.bs_open)
            {
                self.programs[of_end[0]].stopped = false;
                self.after(1, Ev::Connect(of_end[0]));
            }
        }
    }

    /// What is not yet as it must be.
    fn unrest(&self) -> Option<(&'static str, String)> {
        let live = |text: String| Some(("live", text));
        let Some(doc) = self.db.view() else { return live("there is no view".to_owned()) };
        let mut members: Vec<_> = Vec::new();
        for (m, ms) in self.ms.iter().enumerate() {
            let Some(core) = &ms.core else { return live(format!("ms{m} is down")) };
            members.push(core.snapshot().me);
        }
        members.sort_unstable();
        if members != doc.view.members {
            return live("the members of the view are not those that live".to_owned());
        }
        if doc.view.slots.iter().any(|slot| slot.owner.is_none_or(|ms| !members.contains(&ms))) {
            return live("a partition has no living owner".to_owned());
        }
        for (b, bs) in self.bs.iter().enumerate() {
            let Some(core) = &bs.process.core else { return live(format!("bs{b} is down")) };
            if core.view().is_none_or(|view| view.id != doc.view.id) {
                return live(format!("bs{b} does not follow the view"));
            }
            if core.open_sends() > 0 {
                return live(format!("bs{b} has sends without a result"));
            }
        }
        for end in 0..self.ends.len() {
            if let Some(unrest) = self.unrest_of(end) {
                return Some(unrest);
            }
        }
        None
    }

    fn unrest_of(&self, end: usize) -> Option<(&'static str, String)> {
        let name = &self.ends[end];
        let open: Vec<_> = self.sessions.iter().filter(|s| s.end == end && s.bs_open).collect();
        let [session] = open[..] else {
            return Some(("P5", format!("{name} has {} sessions", open.len())));
        };
        let newest = self
            .sessions
            .iter()
            .filter(|s| s.program == session.program && s.known)
            .map(|s| s.n)
            .max();
        let ordered = self.programs[session.program].client.is_some();
        if ordered && newest > Some(session.n) {
            return Some(("P5", format!("an older session of {name} has stayed")));
        }
        if session.acked < session.shown.len() {
            return Some(("live", format!("{name} has not acked all that it was shown")));
        }
        let waits = self.db.mailbox(end).iter().find(|doc| {
            let ttl = doc.ttl_s.unwrap_or(u32::MAX).min(self.profile.ttl_s);
            doc.create_at_ms + u64::from(ttl) * 1000 > BASE_MS + self.now
        });
        if let Some(doc) = waits {
            return Some(("P2", format!("{} stays in the mailbox of {name}", doc.key.id)));
        }
        let server = self.bs[session.bs].server;
        let row = self.db.row(end).filter(|r| r.session == session.id && r.server == server);
        if row.is_none() {
            return Some(("live", format!("the row of {name} does not name its session")));
        }
        None
    }

    pub(super) fn poll(&mut self) {
        self.after(POLL_MS, Ev::Poll);
        self.look_at_links();
        self.connect_all();
        let unrest = self.unrest();
        let probed = self.messages.iter().any(|m| m.probe);
        if let Some((promise, text)) = unrest {
            let waiting = (0..self.ends.len()).map(|end| self.db.mailbox(end).len()).sum();
            if waiting != std::mem::replace(&mut self.waiting, waiting) {
                self.moved = self.now;
            }
            let bound = if probed { REST_MS + PROBE_MS } else { REST_MS };
            // Late writes leave with each sweep as the window has room.
            let stuck = self.moved + 3 * self.profile.sweep < self.now;
            if self.now > self.quiet_since + bound && stuck {
                self.violate(promise, format!("long after the faults: {text}"));
            }
            return;
        }
        if !probed {
            return self.probe();
        }
        let mut waits = None;
        for p in 0..self.programs.len() {
            let Some(msg) = self.programs[p].probe else { continue };
            let probe = &self.messages[msg];
            if self.programs[p].session.is_none_or(|s| !self.sessions[s].bs_open) {
                // Its session was just replaced.
                self.programs[p].probe = None;
                continue;
            }
            if probe.refused && self.now < self.quiet_since + REST_MS {
                // A queue within a server was still full.
                self.programs[p].probe = Some(self.new_message(p, true));
                return;
            }
            if !(probe.acked && probe.promised) {
                waits = Some(msg);
            }
        }
        match waits {
            Some(msg) if self.messages[msg].sent + PROBE_MS < self.now => {
                self.violate("live", format!("the probe m{msg} did not arrive"));
            }
            Some(_) => {}
            None => self.judge(),
        }
    }

    fn probe(&mut self) {
        say!(self, "world".to_owned(), "all is at rest: probes".to_owned());
        self.settled = self.now as u32;
        for p in 0..self.programs.len() {
            if self.programs[p].session.is_some_and(|s| self.sessions[s].bs_open) {
                self.hit(Reached::Probes);
                self.programs[p].probe = Some(self.new_message(p, true));
            }
        }
    }

    /// The end: what was promised must have been kept.
    fn judge(&mut self) {
        self.over = true;
        for msg in 0..self.messages.len() {
            let message = &self.messages[msg];
            // Servers know the database's clock as well as a renewal was fast.
            let lives = self.expires(msg) > u64::from(self.settled) + UNSURE_MS;
            if message.promised && !message.acked && lives {
                return self.violate("P2", format!("m{msg} was accepted, and is lost"));
            }
        }
    }

    /// Takes the counters of the cores that live.
    pub(super) fn close(&mut self) {
        for m in 0..self.ms.len() {
            if let Some(core) = self.ms[m].core.take() {
                self.note_ms_counters(&core);
            }
        }
        for b in 0..self.bs.len() {
            if let Some(core) = self.bs[b].process.core.take() {
                self.note_bs_counters(&core);
            }
        }
    }
}
