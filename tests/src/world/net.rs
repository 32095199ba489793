//! Connections between BSs and MSs: in order each way, delayed, stalled, cut, dialled again.

use wardlink_bs::core::api as bs;
use wardlink_ms::core::api as ms;

use super::cover::Reached;
use super::model::{DownMail, Link, Pipe, UpMail};
use super::{Ev, World};

impl World {
    fn delay(&mut self, link: usize) -> u64 {
        let Link { bs, ms, .. } = self.links[link];
        let base = if self.quiet { 1 } else { self.profile.paths[bs][ms] };
        let jitter = if self.quiet { 0 } else { self.profile.jitter };
        base + self.rng.below(jitter + 1)
    }

    /// A BS tries to reach an MS.
    pub(super) fn dial(&mut self, b: usize, inc: u32, m: usize) {
        if self.bs[b].process.inc != inc || self.bs[b].process.core.is_none() {
            return;
        }
        if self.paths[b][m].link.is_some() {
            return;
        }
        let reachable = self.ms[m].core.is_some() && self.paths[b][m].blocked <= self.now;
        if !reachable || self.bs[b].process.paused {
            let pause = if self.quiet { 50 } else { self.rng.range(50, 700) };
            return self.after(pause, Ev::Dial(b, inc, m));
        }
        let link = self.links.len();
        self.links.push(Link {
            bs: b,
            bs_inc: inc,
            ms: m,
            ms_inc: self.ms[m].inc,
            bs_open: false,
            ms_open: false,
            cut: false,
            up: Pipe::default(),
            down: Pipe::default(),
            seqs: Vec::new(),
        });
        self.paths[b][m].link = Some(link);
        let there = self.delay(link);
        self.after(there, Ev::LinkAtMs(link));
    }

    pub(super) fn link_at_ms(&mut self, link: usize) {
        let Link { ms, ms_inc, bs, cut, .. } = self.links[link];
        if cut || self.ms[ms].inc != ms_inc || self.ms[ms].core.is_none() {
            return self.redial(link);
        }
        self.links[link].ms_open = true;
        say!(self, format!("ms{ms}"), format!("link {link} from bs{bs} opened"));
        let opened = ms::Event::LinkOpened { link: ms::LinkId(link as u64), plain: None };
        self.ms_event(ms, opened);
        let back = self.delay(link);
        let at = self.now + back;
        let at = self.links[link].down.arrival(at, 0);
        self.at(at, Ev::LinkAtBs(link));
    }

    pub(super) fn link_at_bs(&mut self, link: usize) {
        let Link { bs, bs_inc, cut, .. } = self.links[link];
        if cut || self.bs[bs].process.inc != bs_inc || self.bs[bs].process.core.is_none() {
            self.cut(link, 0);
            return self.redial(link);
        }
        self.links[link].bs_open = true;
        self.bs_event(bs, bs::Event::LinkOpened(bs::LinkId(link as u64)));
    }

    /// The path is free again: the BS dials anew after a while.
    fn redial(&mut self, link: usize) {
        let Link { bs, bs_inc, ms, .. } = self.links[link];
        if self.paths[bs][ms].link == Some(link) {
            self.paths[bs][ms].link = None;
            if self.bs[bs].process.inc == bs_inc {
                let pause = self.rng.range(50, 400);
                self.after(pause, Ev::Dial(bs, bs_inc, ms));
            }
        }
    }

    pub(super) fn send_up(&mut self, link: usize, mail: UpMail) {
        if self.links[link].cut {
            return;
        }
        let delay = self.delay(link);
        let at = self.links[link].up.arrival(self.now, delay);
        self.at(at, Ev::Up(link, mail));
    }

    pub(super) fn send_down(&mut self, link: usize, mail: DownMail) {
        if self.links[link].cut {
            return;
        }
        let delay = self.delay(link);
        let at = self.links[link].down.arrival(self.now, delay);
        self.at(at, Ev::Down(link, mail));
    }

    pub(super) fn up(&mut self, link: usize, mail: UpMail) {
        let Link { ms, ms_inc, ms_open, up, .. } = self.links[link];
        if up.lost || self.ms[ms].inc != ms_inc || self.ms[ms].core.is_none() {
            return;
        }
        if !ms_open {
            // What lay in a buffer when the link was seen to be gone.
            if !self.rng.percent(50) {
                return;
            }
            self.hit(Reached::DeadBuffer);
        }
        let id = ms::LinkId(link as u64);
        match mail {
            UpMail::Items(items) => self.ms_event(ms, ms::Event::Items(id, items)),
            UpMail::Ping => self.ms_event(ms, ms::Event::Heard(id)),
        }
    }

    pub(super) fn down(&mut self, link: usize, mail: DownMail) {
        let Link { bs, bs_inc, bs_open, down, .. } = self.links[link];
        if down.lost || self.bs[bs].process.inc != bs_inc || self.bs[bs].process.core.is_none() {
            return;
        }
        if !bs_open {
            if !self.rng.percent(50) {
                return;
            }
            self.hit(Reached::DeadBuffer);
        }
        let id = bs::LinkId(link as u64);
        match mail {
            DownMail::Items(items) => self.bs_event(bs, bs::Event::Items(id, items)),
            DownMail::Ping(clock) => self.bs_event(bs, bs::Event::Heard(id, Some(clock))),
        }
    }

    /// The connection breaks. What is on its way may still arrive; each side sees it when it
    /// does, within `within`.
    pub(super) fn cut(&mut self, link: usize, within: u64) {
        if std::mem::replace(&mut self.links[link].cut, true) {
            return;
        }
        say!(self, "net".to_owned(), format!("link {link} is cut"));
        self.links[link].up.lost = self.rng.percent(40);
        self.links[link].down.lost = self.rng.percent(40);
        for at_ms in [false, true] {
            let delay = self.rng.skewed(0, within);
            self.after(delay, Ev::Gone(link, at_ms));
        }
    }

    pub(super) fn gone(&mut self, link: usize, at_ms: bool) {
        let Link { bs, bs_inc, bs_open, ms, ms_inc, ms_open, .. } = self.links[link];
        if at_ms {
            self.links[link].ms_open = false;
            if ms_open && self.ms[ms].inc == ms_inc {
                say!(self, format!("ms{ms}"), format!("link {link} is gone"));
                self.ms_event(ms, ms::Event::LinkClosed(ms::LinkId(link as u64)));
            }
        } else {
            self.links[link].bs_open = false;
            if bs_open && self.bs[bs].process.inc == bs_inc {
                say!(self, format!("bs{bs}"), format!("link {link} is gone"));
                self.bs_event(bs, bs::Event::LinkClosed(bs::LinkId(link as u64)));
            }
            self.redial(link);
        }
        self.look_at_links();
    }

    /// One side's core closed the link; the other side sees it after a while.
    pub(super) fn closed_by(&mut self, link: usize, by_ms: bool) {
        if by_ms {
            self.links[link].ms_open = false;
        } else {
            self.links[link].bs_open = false;
            self.redial(link);
        }
        self.links[link].cut = true;
        let delay = self.delay(link);
        let pipe = if by_ms { &mut self.links[link].down } else { &mut self.links[link].up };
        let at = pipe.arrival(self.now, delay);
        self.at(at, Ev::Gone(link, !by_ms));
    }
}
