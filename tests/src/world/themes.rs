//! Which faults each theme turns on, and how often they come.

use super::profile::{Profile, WHENS, What, When};
use super::rng::Rng;

impl Profile {
    pub(super) fn calm_moves(&mut self, rng: &mut Rng) {
        self.ms = rng.pick(&[2, 2, 3]);
        self.deadline = 10_000;
        self.move_every = rng.pick(&[500, 800, 2_000]);
        self.aba = rng.pick(&[0, 300, 800]);
        self.queue_spill = rng.range(4, 8) as usize;
        if rng.percent(50) {
            self.cut_every = rng.pick(&[800, 2_000]);
        }
        if rng.percent(30) {
            self.stall_every = 2_000;
            self.stall_max = 400;
        }
        if rng.percent(30) {
            self.ms_stop_every = 4_000;
        }
        self.ack_max = rng.pick(&[0, 100, 600]);
        self.paths_apart(rng);
        for path in self.paths.iter_mut().flatten() {
            *path = (*path).min(100);
        }
        self.place(rng, 150);
        if matches!(self.hook, Some((_, What::KillMs, _))) {
            self.hook = None;
        }
    }

    pub(super) fn race(&mut self, rng: &mut Rng) {
        self.ms = rng.pick(&[2, 2, 2, 3]);
        self.bs = rng.pick(&[2, 2, 3]);
        self.ends = rng.pick(&[2, 2, 3]);
        self.paths_apart(rng);
        self.leave = rng.pick(&[20, 80, 200]);
        self.slow = rng.pick(&[0, 50, 200]);
        self.slow_max = rng.pick(&[100, 500]);
        self.lag = rng.pick(&[0, 300]);
        self.ack_max = rng.pick(&[0, 100, 600]);
        if rng.percent(60) {
            self.lopsided(rng);
        }
        if rng.percent(50) {
            self.move_every = rng.pick(&[400, 1_500]);
        }
        self.slow_reply = rng.pick(&[0, 100, 300]);
        self.slow_max = self.slow_max.max(300);
        let when = rng.pick(&[When::AppendBegun, When::AppendBegun, When::AppendApplied]);
        let what =
            rng.pick(&[What::SlowOpAndMove, What::SlowOpAndMove, What::SlowOpAndAba, What::Aba]);
        self.hook = Some((when, what, rng.pick(&[100, 300, 600])));
        if rng.percent(40) {
            self.hook = Some((When::RenewApplied, What::SlowReplyAndMove, 200));
        }
    }

    pub(super) fn store(&mut self, rng: &mut Rng) {
        self.store_faults(rng);
        self.leave = rng.pick(&[40, 120]);
        if rng.percent(40) {
            self.move_every = rng.pick(&[600, 2_000]);
        }
        if rng.percent(30) {
            self.cut_every = 2_000;
        }
        if rng.percent(30) {
            self.mailbox_max = rng.range(1, 6) as usize;
        }
        if rng.percent(40) {
            self.place(rng, 150);
        }
    }

    pub(super) fn overflow(&mut self, rng: &mut Rng) {
        self.queue_spill = rng.range(2, 4) as usize;
        self.window_max = rng.range(1, 4) as usize;
        self.page_max = rng.range(1, 2) as usize;
        self.burst = rng.range(3, 9);
        self.act_every = rng.pick(&[60, 150]);
        self.ack_max = rng.pick(&[50, 300, 1_500]);
        self.ack_never = rng.pick(&[0, 0, 30]);
        self.deadline = rng.pick(&[2_000, 4_000, 10_000]);
        self.leave = rng.pick(&[10, 60]);
        if rng.percent(30) {
            self.mailbox_max = rng.range(1, 8) as usize;
        }
        if rng.percent(40) {
            self.slow = 200;
            self.slow_max = 300;
        }
        if rng.percent(40) {
            self.move_every = rng.pick(&[600, 2_000]);
        }
        if rng.percent(25) {
            self.ms_crash_every = 4_000;
        }
    }

    pub(super) fn expiry(&mut self, rng: &mut Rng) {
        self.ttl_s = rng.pick(&[2, 3, 5, 30]);
        self.short_ttl = rng.pick(&[300, 600]);
        self.leave = rng.pick(&[80, 200]);
        self.away_max = rng.pick(&[1_500, 4_000]);
        self.page_max = rng.range(1, 2) as usize;
        self.ack_max = rng.pick(&[0, 200, 1_000]);
        self.deadline = rng.pick(&[3_000, 10_000]);
        if rng.percent(50) {
            self.stall_every = 900;
            self.stall_max = 2_500;
        }
        if rng.percent(40) {
            self.bs_pause_every = 3_000;
            self.pause_max = 4_000;
        }
        if rng.percent(40) {
            self.move_every = 1_500;
        }
        if rng.percent(20) {
            self.store_faults(rng);
        }
    }

    pub(super) fn crash(&mut self, rng: &mut Rng) {
        self.ms = rng.pick(&[1, 2, 3]);
        match rng.below(3) {
            0 => self.ms_crash_every = rng.pick(&[1_500, 4_000]),
            1 => self.bs_crash_every = rng.pick(&[1_500, 4_000]),
            _ => {
                self.ms_crash_every = 3_000;
                self.bs_crash_every = 3_000;
            }
        }
        self.leave = rng.pick(&[40, 120]);
        self.ack_max = rng.pick(&[20, 400]);
        self.place(rng, 60);
        if rng.percent(30) {
            self.store_faults(rng);
        }
    }

    pub(super) fn pause(&mut self, rng: &mut Rng) {
        self.ms_pause_every = rng.pick(&[0, 1_500, 3_000]);
        self.bs_pause_every = rng.pick(&[0, 1_500, 3_000]);
        self.pause_max = rng.pick(&[800, 3_000, 7_000]);
        self.ttl_s = rng.pick(&[2, 5, 300]);
        self.leave = 80;
        if rng.percent(30) {
            self.move_every = 1_500;
        }
    }

    pub(super) fn sessions(&mut self, rng: &mut Rng) {
        self.bs = rng.pick(&[1, 2, 3]);
        self.ends = rng.pick(&[1, 1, 2]);
        self.leave = rng.pick(&[150, 300]);
        self.half_open = rng.pick(&[50, 200]);
        self.half_open_max = rng.pick(&[1_000, 5_000]);
        self.away_max = rng.pick(&[20, 100, 600]);
        self.two_programs = rng.pick(&[0, 300, 700]);
        self.returns = rng.pick(&[0, 500, 1_000]);
        self.no_client = rng.pick(&[0, 150]);
        self.ack_max = rng.pick(&[20, 400]);
        self.paths_apart(rng);
        if rng.percent(50) {
            self.store_faults(rng);
            self.focus = rng.pick(&[0, 2, 2, 2, 4]);
            if rng.percent(40) {
                self.not_done = 300;
            }
        }
        if rng.percent(40) {
            self.move_every = rng.pick(&[500, 1_500]);
        }
        if rng.percent(40) {
            self.cut_every = rng.pick(&[700, 2_000]);
        }
        if rng.percent(30) {
            self.wipe_every = 1_500;
        }
        if rng.percent(25) {
            self.bs_crash_every = 3_000;
        }
        if rng.percent(25) {
            // Programs of one end that come and go while rows are written late.
            (self.two_programs, self.returns) = (1_000, 1_000);
            (self.focus, self.held) = (2, 400);
            self.cut_every = 700;
            self.ack_max = 20;
        }
    }

    pub(super) fn view_loss(&mut self, rng: &mut Rng) {
        self.ms = rng.pick(&[1, 2, 2, 3]);
        self.view_loss_every = rng.pick(&[700, 2_000]);
        self.paths_apart(rng);
        if rng.percent(50) {
            self.move_every = 800;
        }
        if rng.percent(40) {
            self.slow = 200;
            self.slow_max = 500;
        }
        if rng.percent(30) {
            self.ms_crash_every = 2_500;
        }
    }

    pub(super) fn db_stop(&mut self, rng: &mut Rng) {
        self.db_stop_every = rng.pick(&[2_000, 4_000]);
        self.db_stop_max = rng.pick(&[1_500, 7_000, 14_000]);
        self.active = rng.range(6_000, 16_000);
        self.leave = rng.pick(&[30, 100]);
        if rng.percent(30) {
            self.cut_every = 3_000;
        }
    }

    pub(super) fn members(&mut self, rng: &mut Rng) {
        self.ms = rng.pick(&[2, 3, 3]);
        self.bs = rng.pick(&[2, 3, 3]);
        self.active = rng.range(8_000, 16_000);
        self.late_ms = 400;
        if rng.percent(70) {
            self.block_every = 3_000;
            self.block_max = 7_000;
        }
        if rng.percent(40) {
            self.ms_stop_every = 4_000;
        }
        if rng.percent(40) {
            self.ms_crash_every = 5_000;
        }
        if rng.percent(30) {
            self.ms_pause_every = 5_000;
            self.pause_max = 8_000;
        }
    }

    pub(super) fn mixed(&mut self, rng: &mut Rng) {
        self.paths_apart(rng);
        self.store_faults(rng);
        for every in [
            &mut self.stall_every,
            &mut self.cut_every,
            &mut self.block_every,
            &mut self.ms_crash_every,
            &mut self.bs_crash_every,
            &mut self.ms_pause_every,
            &mut self.bs_pause_every,
            &mut self.ms_stop_every,
            &mut self.move_every,
            &mut self.db_stop_every,
            &mut self.wipe_every,
        ] {
            if rng.percent(30) {
                *every = rng.pick(&[1_500, 4_000]);
            }
        }
        if rng.percent(15) {
            self.view_loss_every = 3_000;
        }
        (self.stall_max, self.block_max, self.pause_max) = (1_500, 3_000, 3_000);
        self.db_stop_max = 4_000;
        self.ttl_s = rng.pick(&[3, 10, 300]);
        self.short_ttl = rng.pick(&[0, 300]);
        self.mailbox_max = rng.pick(&[4, 1_000]);
        self.leave = rng.pick(&[40, 150]);
        self.half_open = 40;
        self.ack_max = rng.pick(&[20, 300, 1_500]);
        self.ack_never = 20;
        self.place(rng, 50);
    }

    pub(super) fn torn(&mut self, rng: &mut Rng) {
        self.ms = rng.pick(&[2, 2, 3]);
        self.bs = 2;
        self.ends = rng.pick(&[1, 2, 2]);
        self.deadline = rng.pick(&[2_000, 4_000]);
        self.window_max = rng.range(1, 4) as usize;
        self.queue_spill = rng.range(2, 4) as usize;
        self.burst = rng.range(2, 6);
        self.act_every = rng.pick(&[100, 300]);
        self.leave = rng.pick(&[10, 60]);
        self.half_open = rng.pick(&[60, 200]);
        self.half_open_max = rng.pick(&[2_000, 5_000]);
        self.away_max = rng.pick(&[100, 2_000]);
        self.ack_max = rng.pick(&[100, 1_500]);
        self.put_fails = rng.pick(&[0, 200, 500]);
        self.focus = 1;
        if rng.percent(50) {
            self.lost = 200;
            self.late = rng.pick(&[0, 100]);
            self.late_max = 2_000;
        }
        let when = rng.pick(&[When::AppendBegun, When::AppendApplied, When::AppendApplied]);
        let what = rng.pick(&[What::Move, What::Move, What::KillMs, What::Aba]);
        self.hook = Some((when, what, rng.pick(&[100, 300])));
        self.hooks = 8;
        if rng.percent(50) {
            self.hook = Some((When::NearApplied, what, 400));
        }
    }

    pub(super) fn prompt(&mut self, rng: &mut Rng) {
        self.ms = rng.pick(&[1, 2, 2]);
        self.bs = rng.pick(&[2, 3]);
        self.ends = rng.pick(&[2, 3]);
        self.deadline = 10_000;
        self.credit = 64;
        self.window_max = rng.range(2, 4) as usize;
        self.queue_spill = 8;
        self.act_every = rng.pick(&[200, 1_000]);
        self.burst = rng.range(1, 2);
        self.active = rng.range(8_000, 14_000);
        self.leave = rng.pick(&[40, 100]);
        self.away_max = rng.pick(&[3_000, 9_000]);
        self.ack_max = rng.pick(&[0, 50]);
        self.half_open = 0;
        self.two_programs = 0;
        match rng.below(3) {
            0 => self.bs_crash_every = 3_000,
            1 => self.cut_every = 4_000,
            _ => {
                self.bs_crash_every = 5_000;
                self.move_every = 4_000;
            }
        }
    }

    /// Each BS is near some MSs and far from the others, so that news comes at different times.
    pub(super) fn lopsided(&mut self, rng: &mut Rng) {
        let far = rng.pick(&[100, 300, 500]);
        for (b, paths) in self.paths.iter_mut().enumerate() {
            for (m, path) in paths.iter_mut().enumerate() {
                *path = if (b + m) % 2 == 0 { 1 } else { far };
            }
        }
        self.jitter = 1;
        self.sticky = true;
    }

    pub(super) fn paths_apart(&mut self, rng: &mut Rng) {
        for path in self.paths.iter_mut().flatten() {
            *path = rng.pick(&[1, 1, 5, 20, 100, 300]);
        }
    }

    pub(super) fn place(&mut self, rng: &mut Rng, p: u32) {
        const WHATS: &[What] = &[
            What::KillMs,
            What::Move,
            What::Aba,
            What::SlowOp,
            What::SlowOpAndMove,
            What::Cut,
            What::Leave,
            What::HalfOpen,
        ];
        self.hook = Some((rng.pick(WHENS), rng.pick(WHATS), p));
    }

    pub(super) fn store_faults(&mut self, rng: &mut Rng) {
        self.slow = rng.pick(&[0, 100, 300]);
        self.slow_max = rng.pick(&[200, 1_000]);
        self.not_done = rng.pick(&[0, 50, 200]);
        self.lost = rng.pick(&[0, 50, 200]);
        self.late = rng.pick(&[0, 50, 200]);
        self.late_max = rng.pick(&[500, 4_000, 10_000]);
        self.never = rng.pick(&[0, 50, 100]);
        self.put_fails = rng.pick(&[0, 100, 300]);
        self.refused = rng.pick(&[0, 0, 50]);
        self.lag = rng.pick(&[0, 300]);
        self.slow_reply = rng.pick(&[0, 0, 100]);
        self.held = rng.pick(&[0, 0, 100, 300]);
        self.focus = rng.pick(&[0, 0, 1, 1, 2, 3, 4, 5]);
    }
}
