//! Trouble: at random times, and exactly at steps where it has hurt other protocols.

use wardlink_ms::core::api::Event as MsEvent;
use wardlink_wire::{EndId, Partition};

use super::cover::Reached;
use super::profile::{What, When};
use super::{Ev, World};

/// One kind of trouble.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Cut,
    Stall,
    Block,
    MsKill,
    BsKill,
    MsPause,
    BsPause,
    MsStop,
    Move,
    ViewLoss,
    DbStop,
    Wipe,
    /// Exactly this one.
    KillThis(usize, u32),
    MoveThis(Partition, bool),
    CutAny,
    LeaveThis(usize),
    SilenceThis(usize),
    LoseViewAgain,
}

const RECURRING: &[Fault] = &[
    Fault::Cut,
    Fault::Stall,
    Fault::Block,
    Fault::MsKill,
    Fault::BsKill,
    Fault::MsPause,
    Fault::BsPause,
    Fault::MsStop,
    Fault::Move,
    Fault::ViewLoss,
    Fault::DbStop,
    Fault::Wipe,
];

impl World {
    fn every(&self, fault: Fault) -> u64 {
        let p = &self.profile;
        match fault {
            Fault::Cut => p.cut_every,
            Fault::Stall => p.stall_every,
            Fault::Block => p.block_every,
            Fault::MsKill => p.ms_crash_every,
            Fault::BsKill => p.bs_crash_every,
            Fault::MsPause => p.ms_pause_every,
            Fault::BsPause => p.bs_pause_every,
            Fault::MsStop => p.ms_stop_every,
            Fault::Move => p.move_every,
            Fault::ViewLoss => p.view_loss_every,
            Fault::DbStop => p.db_stop_every,
            Fault::Wipe => p.wipe_every,
            _ => 0,
        }
    }

    pub(super) fn begin_faults(&mut self) {
        for fault in RECURRING {
            let every = self.every(*fault);
            if every > 0 {
                let first = 300 + self.rng.about(every);
                self.after(first, Ev::Fault(*fault));
            }
        }
        if self.profile.ttl_pass > 0 {
            let pass = self.profile.ttl_pass;
            self.after(pass, Ev::TtlPass);
        }
    }

    pub(super) fn ttl_pass(&mut self) {
        let removed = self.db.expire(self.now);
        self.cover.add(Reached::TtlPass, removed);
        let pass = self.profile.ttl_pass;
        self.after(pass, Ev::TtlPass);
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        if self.quiet {
            return;
        }
        let every = self.every(fault);
        if every > 0 {
            let next = self.rng.about(every);
            self.after(next, Ev::Fault(fault));
        }
        self.broken = [self.now, self.broken[0]];
        match fault {
            Fault::Cut | Fault::CutAny => self.cut_any(),
            Fault::Stall => self.stall(),
            Fault::Block => self.block(),
            Fault::MsKill => {
                let m = self.rng.index(self.ms.len());
                self.ms_kill(m);
            }
            Fault::BsKill => {
                let b = self.rng.index(self.bs.len());
                if self.rng.percent(30) { self.bs_stop(b) } else { self.bs_kill(b) }
            }
            Fault::MsPause => self.pause_ms(),
            Fault::BsPause => self.pause_bs(),
            Fault::MsStop => {
                let m = self.rng.index(self.ms.len());
                if self.ms[m].core.is_some() {
                    say!(self, format!("ms{m}"), "is asked to stop".to_owned());
                    self.hit(Reached::MsStop);
                    self.ms[m].troubled = self.now;
                    self.ms_event(m, MsEvent::Stop);
                }
            }
            Fault::Move => self.move_some(),
            Fault::ViewLoss | Fault::LoseViewAgain => {
                self.lose_view(matches!(fault, Fault::ViewLoss))
            }
            Fault::DbStop => {
                let max = self.profile.db_stop_max;
                let long = self.rng.percent(35);
                let length = if long {
                    self.rng.range(max / 10 * 8, max)
                } else {
                    self.rng.skewed(300, max)
                };
                self.db_down_until = self.now + length;
                say!(self, "db".to_owned(), format!("stops for {length} ms"));
                self.hit(Reached::DbStop);
            }
            Fault::Wipe => {
                let end = self.rng.index(self.ends.len());
                say!(self, "db".to_owned(), format!("row of {} deleted by hand", self.ends[end]),);
                self.hit(Reached::RowWiped);
                self.db.wipe_row(end, self.now);
            }
            Fault::KillThis(m, inc) => {
                if self.ms[m].inc == inc {
                    self.ms_kill(m);
                }
            }
            Fault::MoveThis(partition, back) => self.give_away(&[partition], back),
            Fault::LeaveThis(s) if self.sessions[s].term_open => self.leave(s),
            Fault::SilenceThis(s) if self.sessions[s].term_open => self.fall_silent(s),
            Fault::LeaveThis(_) | Fault::SilenceThis(_) => {}
        }
    }

    fn open_links(&self) -> Vec<usize> {
        let all = self.paths.iter().flatten().filter_map(|path| path.link);
        all.filter(|link| !self.links[*link].cut && self.links[*link].bs_open).collect()
    }

    fn cut_any(&mut self) {
        let open = self.open_links();
        if !open.is_empty() {
            let link = self.rng.pick(&open);
            self.hit(Reached::LinkCut);
            let within = if self.profile.calm() {
                self.rng.pick(&[5, 50, 300])
            } else {
                self.rng.pick(&[5, 50, 500, 4_000])
            };
            self.cut(link, within);
        }
    }

    fn stall(&mut self) {
        let open = self.open_links();
        if !open.is_empty() {
            let link = self.rng.pick(&open);
            self.hit(Reached::LinkStall);
            let max = self.profile.stall_max;
            let long = self.rng.percent(40);
            let until = self.now
                + if long { self.rng.range(max / 2, max) } else { self.rng.skewed(50, max) };
            let which = self.rng.below(3);
            if which != 0 {
                self.links[link].up.stalled = until;
            }
            if which != 1 {
                self.links[link].down.stalled = until;
            }
            say!(self, "net".to_owned(), format!("link {link} stalls until {until}"));
        }
    }

    /// A BS and an MS do not reach each other for a while.
    fn block(&mut self) {
        let (b, m) = (self.rng.index(self.bs.len()), self.rng.index(self.ms.len()));
        let until = self.now + self.rng.skewed(300, self.profile.block_max);
        self.paths[b][m].blocked = until;
        say!(self, "net".to_owned(), format!("bs{b} and ms{m} are apart until {until}"));
        self.hit(Reached::LinkBlock);
        if let Some(link) = self.paths[b][m].link {
            // Neither side is told; each finds out by silence.
            self.cut(link, 5_000);
        }
    }

    fn pause_ms(&mut self) {
        let m = self.rng.index(self.ms.len());
        if self.ms[m].core.is_some() && !self.ms[m].paused {
            let length = self.rng.skewed(100, self.profile.pause_max);
            say!(self, format!("ms{m}"), format!("stands still for {length} ms"));
            self.hit(Reached::MsPause);
            self.ms[m].paused = true;
            self.ms[m].troubled = self.now;
            let inc = self.ms[m].inc;
            self.after(length, Ev::MsResume(m, inc));
        }
    }

    fn pause_bs(&mut self) {
        let b = self.rng.index(self.bs.len());
        let process = &mut self.bs[b].process;
        if process.core.is_some() && !process.paused {
            process.paused = true;
            process.troubled = self.now;
            let inc = process.inc;
            let length = self.rng.skewed(100, self.profile.pause_max);
            say!(self, format!("bs{b}"), format!("stands still for {length} ms"));
            self.hit(Reached::BsPause);
            self.after(length, Ev::BsResume(b, inc));
        }
    }

    fn move_some(&mut self) {
        let partitions: Vec<Partition> = if self.rng.percent(20) {
            self.ends.iter().map(EndId::partition).collect()
        } else {
            vec![self.ends[self.rng.index(self.ends.len())].partition()]
        };
        let back = self.rng.permille(self.profile.aba);
        self.give_away(&partitions, back);
    }

    /// Another MS gives these partitions to another member; perhaps they come back soon.
    fn give_away(&mut self, partitions: &[Partition], back: bool) {
        if self.db_down_until > self.now {
            return;
        }
        let Some(doc) = self.db.view() else { return };
        let Some(first) = partitions.first() else { return };
        let owner = doc.view.slot(*first).owner;
        let others: Vec<_> =
            doc.view.members.iter().copied().filter(|ms| Some(*ms) != owner).collect();
        if others.is_empty() {
            return;
        }
        let to = self.rng.pick(&others);
        let id = self.fresh_id();
        self.db.give(partitions, to, id, self.now);
        self.hit(Reached::Moved);
        if self.trace.on {
            let text = self.db.view().map(|doc| super::trace::view(&doc.view, &self.ends));
            self.trace.line(self.now, "other", &format!("moves: {}", text.unwrap_or_default()));
        }
        if back {
            self.hit(Reached::Aba);
            let soon = self.rng.pick(&[0, 5, 60, 400]);
            let soon = self.rng.below(soon + 1);
            self.after(soon, Ev::Fault(Fault::MoveThis(*first, false)));
        }
    }

    fn lose_view(&mut self, first: bool) {
        if self.db.view().is_none() {
            return;
        }
        let older = self.db.backups.len().saturating_sub(1);
        let doc = if older == 0 || self.rng.percent(50) {
            self.hit(Reached::ViewLost);
            None
        } else {
            self.hit(Reached::ViewRestored);
            let at = older - 1 - self.rng.skewed(0, older as u64 - 1) as usize;
            Some(self.db.backups[at].clone())
        };
        if self.trace.on {
            let text = doc
                .as_ref()
                .map_or("lost".to_owned(), |doc| super::trace::view(&doc.view, &self.ends));
            self.trace.line(self.now, "db", &format!("view document set back: {text}"));
        }
        self.db.restore_view(doc);
        if first && self.rng.percent(60) {
            let soon = self.rng.pick(&[3, 12, 60, 400]);
            let soon = self.rng.below(soon);
            self.after(soon, Ev::Fault(Fault::LoseViewAgain));
        }
    }

    /// A step that this seed may place a fault at. How long the operation then takes, if it is one.
    pub(super) fn hook(
        &mut self,
        when: When,
        m: Option<usize>,
        end: Option<&EndId>,
        not: Option<What>,
    ) -> Option<u64> {
        let (at, what, p) = self.profile.hook?;
        if at != when || self.quiet || self.hooks_left == 0 || not == Some(what) {
            return None;
        }
        if !self.rng.permille(p) {
            return None;
        }
        self.hooks_left -= 1;
        self.hit(Reached::Hook);
        say!(self, "hook".to_owned(), format!("{what:?} at {when:?}"));
        let partition = end.map(EndId::partition);
        let slow = self.rng.range(100, 900);
        match what {
            What::KillMs => {
                if let Some(m) = m {
                    let inc = self.ms[m].inc;
                    self.after(0, Ev::Fault(Fault::KillThis(m, inc)));
                }
                None
            }
            What::Cut => {
                self.after(0, Ev::Fault(Fault::CutAny));
                None
            }
            What::Leave | What::HalfOpen => {
                let end = end.map(|end| self.db.index(end))?;
                let s = self.sessions.iter().rposition(|s| s.end == end && s.term_open)?;
                let fault = match what {
                    What::Leave => Fault::LeaveThis(s),
                    _ => Fault::SilenceThis(s),
                };
                self.after(0, Ev::Fault(fault));
                None
            }
            What::SlowOp => Some(slow),
            What::Move | What::Aba => {
                let soon = self.rng.pick(&[0, 0, 3]);
                let fault = Fault::MoveThis(partition?, what == What::Aba);
                self.after(soon, Ev::Fault(fault));
                None
            }
            What::SlowOpAndMove | What::SlowOpAndAba | What::SlowReplyAndMove => {
                let soon = self.rng.pick(&[0, 0, 3]);
                let fault = Fault::MoveThis(partition?, what == What::SlowOpAndAba);
                self.after(soon, Ev::Fault(fault));
                Some(slow)
            }
        }
    }
}
