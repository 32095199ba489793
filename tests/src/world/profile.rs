//! What one seed's world is like: its size, its bounds, which faults it has and how often.
//!
//! Faults that come all at once hide each other. Each seed draws a theme that turns some on, so
//! that interesting combinations come often.

use super::rng::Rng;

/// What kind of trouble a history is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    /// Nothing fails: every message must be delivered or stored.
    Healthy,
    /// Links break for moments and partitions move; every message must be delivered or stored.
    CalmMoves,
    /// Paths of different lengths, a slow database, partitions that move exactly at appends.
    Race,
    /// Operations fail, get lost, come late.
    Store,
    /// Small bounds, slow acks.
    Overflow,
    /// Short lives.
    Expiry,
    /// Servers are killed.
    Crash,
    /// Servers stand still.
    Pause,
    /// Terminals come, go, and come twice.
    Sessions,
    /// The view document is lost or restored.
    ViewLoss,
    /// The database stops.
    DbStop,
    /// Members come and go, paths are blocked; judgement is checked.
    Members,
    /// Appends that are torn, and owners that change just then, while terminals are half-open.
    Torn,
    /// BSs die and ends stay away; results must come long before their deadline.
    Prompt,
    /// A little of everything.
    Mixed,
}

const THEMES: &[Theme] = &[
    Theme::Healthy,
    Theme::CalmMoves,
    Theme::CalmMoves,
    Theme::Race,
    Theme::Race,
    Theme::Race,
    Theme::Race,
    Theme::Store,
    Theme::Store,
    Theme::Store,
    Theme::Overflow,
    Theme::Overflow,
    Theme::Overflow,
    Theme::Expiry,
    Theme::Expiry,
    Theme::Crash,
    Theme::Crash,
    Theme::Pause,
    Theme::Sessions,
    Theme::Sessions,
    Theme::ViewLoss,
    Theme::DbStop,
    Theme::Members,
    Theme::Torn,
    Theme::Torn,
    Theme::Torn,
    Theme::Prompt,
    Theme::Prompt,
    Theme::Mixed,
    Theme::Mixed,
];

/// A step at which a fault is placed exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    AppendBegun,
    AppendApplied,
    RenewBegun,
    RenewApplied,
    /// An append of something that was handed out.
    NearApplied,
    MailRead,
    RowApplied,
    DeleteBegun,
    DeliverSent,
    SendArrived,
    AckArrived,
}

/// The fault that is placed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    KillMs,
    Move,
    Aba,
    SlowOp,
    SlowOpAndMove,
    SlowOpAndAba,
    SlowReplyAndMove,
    Cut,
    Leave,
    HalfOpen,
}

pub(super) const WHENS: &[When] = &[
    When::AppendBegun,
    When::AppendBegun,
    When::AppendApplied,
    When::AppendApplied,
    When::RenewBegun,
    When::MailRead,
    When::RowApplied,
    When::DeleteBegun,
    When::DeliverSent,
    When::SendArrived,
    When::AckArrived,
];

/// Everything that a seed decides before its history begins. Times in milliseconds of the world,
/// probabilities in thousandths; an interval of 0 turns its fault off.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    pub(super) theme: Theme,
    pub(super) ms: usize,
    pub(super) bs: usize,
    pub(super) ends: usize,
    pub(super) active: u64,
    pub(super) tick: u64,
    pub(super) ttl_s: u32,
    pub(super) credit: u32,
    pub(super) mailbox_max: usize,
    pub(super) queue_spill: usize,
    pub(super) window_max: usize,
    pub(super) page_max: usize,
    pub(super) sweep: u64,
    pub(super) deadline: u32,
    /// Delay of the path of each BS and MS.
    pub(super) paths: [[u64; 3]; 3],
    pub(super) jitter: u64,
    pub(super) stall_every: u64,
    pub(super) stall_max: u64,
    pub(super) cut_every: u64,
    pub(super) block_every: u64,
    pub(super) block_max: u64,
    pub(super) ms_crash_every: u64,
    pub(super) bs_crash_every: u64,
    pub(super) ms_pause_every: u64,
    pub(super) bs_pause_every: u64,
    pub(super) pause_max: u64,
    pub(super) ms_stop_every: u64,
    pub(super) move_every: u64,
    pub(super) aba: u32,
    pub(super) view_loss_every: u64,
    pub(super) db_stop_every: u64,
    pub(super) db_stop_max: u64,
    pub(super) wipe_every: u64,
    pub(super) ttl_pass: u64,
    pub(super) latency: u64,
    pub(super) slow: u32,
    pub(super) slow_max: u64,
    pub(super) not_done: u32,
    pub(super) lost: u32,
    pub(super) late: u32,
    pub(super) late_max: u64,
    pub(super) never: u32,
    pub(super) put_fails: u32,
    pub(super) refused: u32,
    pub(super) lag: u32,
    /// Answers that come late though the operation was applied at once.
    pub(super) slow_reply: u32,
    /// Writes without an answer that wait for the next operation on their end, and come before it.
    pub(super) held: u32,
    /// Which operations fail: 0 all, 1 appends, 2 rows, 3 view, 4 reads, 5 deletes.
    pub(super) focus: u64,
    pub(super) op_timeout: u64,
    pub(super) act_every: u64,
    pub(super) burst: u64,
    pub(super) leave: u32,
    pub(super) half_open: u32,
    pub(super) away_max: u64,
    pub(super) half_open_max: u64,
    pub(super) ack_max: u64,
    pub(super) ack_never: u32,
    pub(super) no_acks: u32,
    pub(super) two_programs: u32,
    pub(super) no_client: u32,
    pub(super) retry: u32,
    pub(super) short_ttl: u32,
    pub(super) terminal_delay: u64,
    pub(super) hook: Option<(When, What, u32)>,
    pub(super) hooks: u32,
    pub(super) late_ms: u32,
    /// Terminals stay with one BS each.
    pub(super) sticky: bool,
    /// A program that was replaced comes back.
    pub(super) returns: u32,
}

impl Profile {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let mut p = Self::healthy(rng);
        match p.theme {
            Theme::Healthy => {}
            Theme::CalmMoves => p.calm_moves(rng),
            Theme::Race => p.race(rng),
            Theme::Store => p.store(rng),
            Theme::Overflow => p.overflow(rng),
            Theme::Expiry => p.expiry(rng),
            Theme::Crash => p.crash(rng),
            Theme::Pause => p.pause(rng),
            Theme::Sessions => p.sessions(rng),
            Theme::ViewLoss => p.view_loss(rng),
            Theme::DbStop => p.db_stop(rng),
            Theme::Members => p.members(rng),
            Theme::Torn => p.torn(rng),
            Theme::Prompt => p.prompt(rng),
            Theme::Mixed => p.mixed(rng),
        }
        if p.calm() {
            p.credit = p.credit.max(8);
        }
        p
    }

    /// Whether every message must be delivered or stored.
    pub(super) fn calm(&self) -> bool {
        matches!(self.theme, Theme::Healthy | Theme::CalmMoves | Theme::Prompt)
    }

    /// Whether only who really stood still may be taken out, and only who is really missed may
    /// lose its partitions.
    pub(super) fn fair(&self) -> bool {
        matches!(
            self.theme,
            Theme::Healthy | Theme::CalmMoves | Theme::DbStop | Theme::Members | Theme::Overflow
        )
    }

    fn healthy(rng: &mut Rng) -> Self {
        let theme = rng.pick(THEMES);
        let base = rng.pick(&[1, 2, 5, 20]);
        let mut paths = [[0; 3]; 3];
        for path in paths.iter_mut().flatten() {
            *path = rng.range(1, base);
        }
        Self {
            theme,
            ms: rng.pick(&[1, 2, 2, 2, 3]),
            bs: rng.pick(&[1, 2, 2, 3]),
            ends: rng.pick(&[1, 2, 2, 3, 4]),
            active: rng.range(4_000, 10_000),
            tick: 50,
            ttl_s: rng.pick(&[120, 300, 600]),
            credit: rng.pick(&[2, 8, 64, 64]),
            mailbox_max: 1_000,
            queue_spill: rng.range(2, 8) as usize,
            window_max: rng.range(1, 4) as usize,
            page_max: rng.range(1, 3) as usize,
            sweep: rng.range(2_000, 6_000),
            deadline: rng.pick(&[6_000, 10_000]),
            paths,
            jitter: rng.pick(&[0, 1, 5, 20]),
            stall_every: 0,
            stall_max: 0,
            cut_every: 0,
            block_every: 0,
            block_max: 0,
            ms_crash_every: 0,
            bs_crash_every: 0,
            ms_pause_every: 0,
            bs_pause_every: 0,
            pause_max: 0,
            ms_stop_every: 0,
            move_every: 0,
            aba: 300,
            view_loss_every: 0,
            db_stop_every: 0,
            db_stop_max: 0,
            wipe_every: 0,
            ttl_pass: rng.pick(&[0, 500, 5_000, 60_000]),
            latency: rng.pick(&[2, 5, 20]),
            slow: 0,
            slow_max: 0,
            not_done: 0,
            lost: 0,
            late: 0,
            late_max: 0,
            never: 0,
            put_fails: 0,
            refused: 0,
            lag: 0,
            slow_reply: 0,
            held: 0,
            focus: 0,
            op_timeout: rng.pick(&[600, 1_500, 3_000]),
            act_every: rng.pick(&[100, 200, 400]),
            burst: rng.range(1, 4),
            leave: 40,
            half_open: 10,
            away_max: rng.pick(&[200, 1_500, 4_000]),
            half_open_max: rng.pick(&[1_000, 4_000]),
            ack_max: rng.pick(&[0, 20, 200]),
            ack_never: 0,
            no_acks: 30,
            two_programs: 50,
            no_client: 50,
            retry: 500,
            short_ttl: 0,
            terminal_delay: rng.pick(&[1, 10, 40]),
            hook: None,
            hooks: 4,
            late_ms: 100,
            sticky: false,
            returns: 300,
        }
    }
}
