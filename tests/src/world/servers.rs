//! Starts, pauses, resumes and kills the processes.

use wardlink_bs::core as bs;
use wardlink_bs::core::api::Event as BsEvent;
use wardlink_ms::core as ms;
use wardlink_ms::core::api::Event as MsEvent;
use wardlink_wire::{ServerId, StartId};

use super::cover::Reached;
use super::model::{Bs, Process, ToTerminal};
use super::{Ev, World, trace};

impl World {
    pub(super) fn begin_servers(&mut self) {
        for m in 0..self.profile.ms {
            let (offset, ppm) = self.odd_clock();
            self.ms.push(Process::new(offset, ppm));
            let late = if m > 0 && self.rng.permille(self.profile.late_ms) {
                self.rng.range(500, 5_000)
            } else {
                self.rng.below(40)
            };
            self.after(late, Ev::MsStart(m));
        }
        for b in 0..self.profile.bs {
            let (offset, ppm) = self.odd_clock();
            let server = ServerId(self.fresh_id());
            self.bs.push(Bs { process: Process::new(offset, ppm), server, knows_the_time: false });
            let late = self.rng.below(40);
            self.after(late, Ev::BsStart(b));
        }
    }

    fn odd_clock(&mut self) -> (u64, i64) {
        (self.rng.below(1_000_000_000), self.rng.range(0, 200) as i64 - 100)
    }

    pub(super) fn ms_start(&mut self, m: usize) {
        if self.ms[m].core.is_some() {
            return;
        }
        let config = ms::Config {
            message_ttl_s: self.profile.ttl_s,
            credit: self.profile.credit,
            mailbox_max: self.profile.mailbox_max,
            queue_spill: self.profile.queue_spill,
            window_max: self.profile.window_max,
            page_max: self.profile.page_max,
            sweep_ms: self.profile.sweep,
            exclusive: false,
            seed: self.rng.next(),
            ..ms::Config::default()
        };
        let now = self.now;
        let process = &mut self.ms[m];
        process.inc += 1;
        process.paused = false;
        process.troubled = now;
        let core = ms::Core::new(config, process.clock(now));
        let (inc, me) = (process.inc, core.snapshot().me);
        process.core = Some(core);
        say!(self, format!("ms{m}"), format!("starts as {}", trace::short(me.0)));
        self.after(0, Ev::MsTick(m, inc));
    }

    pub(super) fn bs_start(&mut self, b: usize) {
        if self.bs[b].process.core.is_some() {
            return;
        }
        let start = StartId(self.fresh_id());
        let mut config = bs::Config::new(self.bs[b].server, start);
        config.deadline_ms = self.profile.deadline;
        config.session_sends = 64;
        config.open_sends = 1_000;
        config.drain_ms = self.rng.pick(&[0, 500, 3_000]);
        config.seed = self.rng.next();
        let now = self.now;
        self.bs[b].knows_the_time = false;
        let process = &mut self.bs[b].process;
        process.inc += 1;
        process.paused = false;
        process.troubled = now;
        process.core = Some(bs::Core::new(config, process.clock(now)));
        let inc = process.inc;
        say!(self, format!("bs{b}"), "starts".to_owned());
        self.after(0, Ev::BsTick(b, inc));
        for m in 0..self.profile.ms {
            self.paths[b][m].link = None;
            self.after(1, Ev::Dial(b, inc, m));
        }
    }

    pub(super) fn ms_tick(&mut self, m: usize, inc: u32) {
        if self.ms[m].inc == inc && self.ms[m].core.is_some() && !self.ms[m].paused {
            let tick = self.profile.tick;
            self.after(tick, Ev::MsTick(m, inc));
            self.ms_event(m, MsEvent::Tick);
        }
    }

    pub(super) fn bs_tick(&mut self, b: usize, inc: u32) {
        let process = &self.bs[b].process;
        if process.inc == inc && process.core.is_some() && !process.paused {
            let tick = self.profile.tick;
            self.after(tick, Ev::BsTick(b, inc));
            self.bs_event(b, BsEvent::Tick);
        }
    }

    /// A paused process goes on: a late tick, before or after what waited in its buffers.
    pub(super) fn ms_resume(&mut self, m: usize, inc: u32) {
        if self.ms[m].inc != inc || !std::mem::replace(&mut self.ms[m].paused, false) {
            return;
        }
        self.ms[m].resumed = self.now;
        self.ms[m].troubled = self.now;
        say!(self, format!("ms{m}"), "goes on".to_owned());
        let first = self.rng.percent(60);
        if first {
            self.ms_event(m, MsEvent::Tick);
        }
        for event in std::mem::take(&mut self.ms[m].inbox) {
            self.ms_event(m, event);
        }
        self.ms_tick(m, inc);
    }

    pub(super) fn bs_resume(&mut self, b: usize, inc: u32) {
        let now = self.now;
        let process = &mut self.bs[b].process;
        if process.inc != inc || !std::mem::replace(&mut process.paused, false) {
            return;
        }
        (process.resumed, process.troubled) = (now, now);
        say!(self, format!("bs{b}"), "goes on".to_owned());
        let first = self.rng.percent(60);
        if first {
            self.bs_event(b, BsEvent::Tick);
        }
        for event in std::mem::take(&mut self.bs[b].process.inbox) {
            self.bs_event(b, event);
        }
        self.bs_tick(b, inc);
    }

    /// All links of an MS that is gone break; the BSs see it soon, or only by its silence.
    pub(super) fn ms_links_end(&mut self, m: usize, within: u64) {
        for link in 0..self.links.len() {
            let it = &mut self.links[link];
            if it.ms == m && it.ms_inc == self.ms[m].inc && (it.ms_open || it.bs_open) {
                it.ms_open = false;
                let (bs_open, was_cut) = (it.bs_open, std::mem::replace(&mut it.cut, true));
                if bs_open && !was_cut {
                    let delay = self.rng.skewed(0, within);
                    self.after(delay, Ev::Gone(link, false));
                }
            }
        }
    }

    pub(super) fn ms_kill(&mut self, m: usize) {
        let Some(core) = self.ms[m].core.take() else { return };
        self.note_ms_counters(&core);
        say!(self, format!("ms{m}"), "is killed".to_owned());
        self.hit(Reached::MsCrash);
        self.ms[m].paused = false;
        self.ms[m].inbox.clear();
        self.ms[m].troubled = self.now;
        let within = self.rng.pick(&[20, 3_000]);
        self.ms_links_end(m, within);
        let pause = self.rng.pick(&[50, 500, 3_000, 8_000]);
        let pause = self.rng.about(pause);
        self.after(pause, Ev::MsStart(m));
    }

    pub(super) fn note_ms_counters(&mut self, core: &ms::Core) {
        let counters = core.counters();
        self.cover.add(Reached::Fenced, counters.fenced);
        self.cover.add(Reached::RenewalRefused, counters.renewals_refused);
        self.cover.add(Reached::RenewalUnknown, counters.renewals_unknown);
        self.cover.add(Reached::LateFound, counters.late_writes);
        self.cover.add(Reached::Healed, counters.healed);
    }

    pub(super) fn note_bs_counters(&mut self, core: &bs::Core) {
        let counters = core.counters();
        self.cover.add(Reached::Fenced, counters.fenced);
        self.cover.add(Reached::SentAgain, counters.sent_again);
        self.cover.add(Reached::RepeatDeliver, counters.repeats);
        self.cover.add(Reached::ExpiredAck, counters.expired);
    }

    /// A BS is asked to stop: it sends its terminals elsewhere, and ends.
    pub(super) fn bs_stop(&mut self, b: usize) {
        if self.bs[b].process.core.is_some() {
            say!(self, format!("bs{b}"), "is asked to stop".to_owned());
            self.hit(Reached::BsStop);
            self.bs[b].process.troubled = self.now;
            self.bs_event(b, BsEvent::Stop);
        }
    }

    pub(super) fn bs_kill(&mut self, b: usize) {
        if self.bs[b].process.core.is_some() {
            say!(self, format!("bs{b}"), "is killed".to_owned());
            self.hit(Reached::BsCrash);
            self.bs_gone(b);
        }
    }

    /// The process of a BS is gone, and starts again later.
    pub(super) fn bs_gone(&mut self, b: usize) {
        let Some(core) = self.bs[b].process.core.take() else { return };
        self.note_bs_counters(&core);
        let inc = self.bs[b].process.inc;
        self.bs[b].process.paused = false;
        self.bs[b].process.inbox.clear();
        self.bs[b].process.troubled = self.now;
        let within = self.rng.pick(&[20, if self.profile.calm() { 1_000 } else { 3_000 }]);
        for link in 0..self.links.len() {
            let it = &mut self.links[link];
            if it.bs == b && it.bs_inc == inc && (it.ms_open || it.bs_open) {
                it.bs_open = false;
                let (ms_open, was_cut) = (it.ms_open, std::mem::replace(&mut it.cut, true));
                if ms_open && !was_cut {
                    let delay = self.rng.skewed(0, within);
                    self.after(delay, Ev::Gone(link, true));
                }
            }
        }
        self.paths[b] = Default::default();
        for s in 0..self.sessions.len() {
            let session = &mut self.sessions[s];
            if session.bs == b && session.bs_inc == inc {
                session.bs_open = false;
                if session.term_open {
                    let delay = self.rng.range(1, 1_000);
                    self.after(delay, Ev::ToTerminal(s, ToTerminal::Closed(None)));
                }
            }
        }
        if self.rng.percent(30) {
            self.bs[b].server = ServerId(self.fresh_id());
        }
        let pause = self.rng.pick(&[50, 500, 3_000]);
        let pause = self.rng.about(pause);
        self.after(pause, Ev::BsStart(b));
    }
}
