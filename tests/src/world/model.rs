//! What is in the world: processes, links, sessions, terminal programs, messages.

use std::collections::VecDeque;

use wardlink_bs::core as bs;
use wardlink_ms::core as ms;
use wardlink_wire::link::{ToBs, ToMs};
use wardlink_wire::terminal::{Down, Up};
use wardlink_wire::{ClientId, CloseCode, EndId, Epoch, MessageId, ServerId, SessionId};

/// A process: its clock, and what waits while it stands still.
#[derive(Debug)]
pub(super) struct Process<C, E> {
    pub(super) core: Option<C>,
    /// Counts the starts.
    pub(super) inc: u32,
    pub(super) offset: u64,
    /// How much its clock is fast, in millionths.
    pub(super) ppm: i64,
    pub(super) paused: bool,
    pub(super) resumed: u64,
    pub(super) inbox: VecDeque<E>,
    /// Last time at which it was started, stopped or stood still.
    pub(super) troubled: u64,
}

impl<C, E> Process<C, E> {
    pub(super) fn new(offset: u64, ppm: i64) -> Self {
        Self {
            core: None,
            inc: 0,
            offset,
            ppm,
            paused: false,
            resumed: 0,
            inbox: VecDeque::new(),
            troubled: 0,
        }
    }

    /// This process's monotonic clock.
    pub(super) fn clock(&self, now: u64) -> u64 {
        let drift = (now as i64 * self.ppm / 1_000_000) + 1_000;
        self.offset + now + drift as u64
    }
}

pub(super) type Ms = Process<ms::Core, ms::api::Event>;

/// A BS, with its identity.
#[derive(Debug)]
pub(super) struct Bs {
    pub(super) process: Process<bs::Core, bs::api::Event>,
    pub(super) server: ServerId,
    /// It has heard the database's clock while it was awake.
    pub(super) knows_the_time: bool,
}

/// One direction of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pipe {
    /// Arrival of what was sent last.
    pub(super) last: u64,
    /// Nothing arrives before.
    pub(super) stalled: u64,
    /// What is on its way is lost.
    pub(super) lost: bool,
}

impl Pipe {
    /// When something that is sent now arrives.
    pub(super) fn arrival(&mut self, now: u64, delay: u64) -> u64 {
        self.last = (now + delay).max(self.last).max(self.stalled);
        self.last
    }
}

/// One connection between a BS and an MS.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) bs: usize,
    pub(super) bs_inc: u32,
    pub(super) ms: usize,
    pub(super) ms_inc: u32,
    pub(super) bs_open: bool,
    pub(super) ms_open: bool,
    /// Nothing sent from now on arrives.
    pub(super) cut: bool,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    /// Which message each `seq` stands for, from 1 on.
    pub(super) seqs: Vec<usize>,
}

/// What travels to an MS.
#[derive(Debug)]
pub(super) enum UpMail {
    Items(Vec<ToMs>),
    Ping,
}

/// What travels to a BS.
#[derive(Debug)]
pub(super) enum DownMail {
    Items(Vec<ToBs>),
    Ping(u64),
}

/// A frame, or the end of the connection.
#[derive(Debug)]
pub(super) enum ToTerminal {
    Frame(Down),
    Closed(Option<CloseCode>),
}

/// What a terminal does to its connection.
#[derive(Debug)]
pub(super) enum FromTerminal {
    Opened,
    Frame(Up),
    Closed,
}

/// How a terminal acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acks {
    Within(u64),
    /// Not before the fault-free end.
    Never,
    /// It declared that it does not.
    None,
}

/// A terminal program, over its connections.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) end: usize,
    pub(super) client: Option<ClientId>,
    pub(super) n: u64,
    pub(super) session: Option<usize>,
    /// Replaced by another program.
    pub(super) stopped: bool,
    /// Messages without a result, oldest first.
    pub(super) pending: Vec<usize>,
    pub(super) no_acks: bool,
    /// What it sent last at the fault-free end.
    pub(super) probe: Option<usize>,
}

/// One connection of a terminal to a BS.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) program: usize,
    pub(super) end: usize,
    pub(super) n: u64,
    pub(super) bs: usize,
    pub(super) bs_inc: u32,
    /// The BS has it.
    pub(super) bs_open: bool,
    /// The BS was told of it at least once.
    pub(super) known: bool,
    /// The terminal has it.
    pub(super) term_open: bool,
    pub(super) acks: Acks,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    /// Messages in the order of their `seq`, as the BS sent them.
    pub(super) shown: Vec<usize>,
    /// When the BS sent the last of them.
    pub(super) shown_at: u64,
    pub(super) received: usize,
    pub(super) acked: usize,
    pub(super) ack_planned: bool,
    /// Messages in the order in which the terminal sent them: how often, and how many results.
    pub(super) sent: Vec<Sent>,
}

/// One message that a session sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) msg: usize,
    pub(super) times: u32,
    pub(super) results: u32,
}

/// One showing of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Show {
    pub(super) session: usize,
    pub(super) epoch: Epoch,
    /// When the owner handed it out, as a place in time.
    pub(super) order: u64,
}

/// One message, and all that is known of it from outside.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: MessageId,
    pub(super) to: usize,
    pub(super) ttl_s: Option<u32>,
    /// When the terminal sent it first.
    pub(super) sent: u64,
    /// How often the terminal sent it.
    pub(super) attempts: u32,
    /// The session and place of each attempt.
    pub(super) places: Vec<(usize, usize)>,
    pub(super) shows: Vec<Show>,
    /// A terminal got it.
    pub(super) received: bool,
    /// A terminal acknowledged it, or its frame was written to one that does not.
    pub(super) acked: bool,
    /// Some server refused it: it has lost its place.
    pub(super) refused: bool,
    /// From when on an owner may have given it up without anybody to tell.
    pub(super) due: u64,
    /// A BS sent it again.
    pub(super) again: bool,
    /// Epoch and place in time of an ack that reached the owner over the end's route.
    pub(super) settled: Option<(Epoch, u64)>,
    /// Told `rejected` while there was one attempt only.
    pub(super) rejected: bool,
    /// An MS said `stored` or `delivered`.
    pub(super) promised: bool,
    /// The highest epoch under which that was said.
    pub(super) promised_under: Epoch,
    /// The lowest epoch under which it was sent after the terminal had sent it again.
    pub(super) resent_under: Option<Epoch>,
    /// Some write about it had no clean answer.
    pub(super) unclean: bool,
    /// Epoch and place in time of the deliver that was sent to each session last.
    pub(super) delivers: Vec<(SessionId, Epoch, u64)>,
    pub(super) probe: bool,
}

/// Names of ends that the world uses; some share a partition, some do not.
pub(super) fn end_id(i: usize) -> EndId {
    const UIDS: [&str; 4] = ["a", "b", "c", "d"];
    EndId::new("H", "A", UIDS[i % 4]).expect("well formed")
}
