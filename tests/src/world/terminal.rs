//! Terminals, as the client library plays them: connect, send, send again what has no result,
//! acknowledge, leave, fall silent, come back elsewhere.

use bytes::Bytes;
use wardlink_bs::core::api::Event as BsEvent;
use wardlink_wire::terminal::{Down, Up, UpSend};
use wardlink_wire::{ClientId, CloseCode, MessageId, Outcome, Reason, SessionId};

use super::cover::Reached;
use super::faults::Fault;
use super::model::{Acks, FromTerminal, Message, Pipe, Program, Sent, Session, ToTerminal};
use super::{Ev, World, trace};

impl World {
    pub(super) fn session_of(&self, id: SessionId) -> Option<usize> {
        usize::try_from(id.0.as_u128().checked_sub(trace::SESSIONS << 64)?).ok()
    }

    pub(super) fn terminal_delay(&mut self) -> u64 {
        if self.quiet { 1 } else { 1 + self.rng.below(self.profile.terminal_delay) }
    }

    pub(super) fn begin_terminals(&mut self) {
        for end in 0..self.profile.ends {
            let count = if self.rng.permille(self.profile.two_programs) { 2 } else { 1 };
            for _ in 0..count {
                let client = (!self.rng.permille(self.profile.no_client))
                    .then(|| ClientId::from_uuid(self.fresh_id()));
                let no_acks = self.rng.permille(self.profile.no_acks);
                let p = self.programs.len();
                self.programs.push(Program {
                    end,
                    client,
                    n: 0,
                    session: None,
                    stopped: false,
                    pending: Vec::new(),
                    no_acks,
                    probe: None,
                });
                let first = self.rng.pick(&[1, 50, 50, 1_500]);
                self.after(first, Ev::Connect(p));
                let act = self.rng.about(300);
                self.after(act, Ev::Act(p));
            }
        }
    }

    pub(super) fn connect(&mut self, p: usize) {
        let program = &self.programs[p];
        if program.stopped || program.session.is_some() {
            return;
        }
        let alive: Vec<usize> =
            (0..self.bs.len()).filter(|b| self.bs[*b].process.core.is_some()).collect();
        if alive.is_empty() {
            return self.after(100, Ev::Connect(p));
        }
        let own = self.programs[p].end % self.bs.len();
        let stays = self.profile.sticky && alive.contains(&own) && self.rng.percent(90);
        let bs = if stays { own } else { self.rng.pick(&alive) };
        let s = self.sessions.len();
        let id = SessionId(uuid::Uuid::from_u128((trace::SESSIONS << 64) + s as u128));
        let never = self.rng.permille(self.profile.ack_never);
        let acks = match (self.programs[p].no_acks, never) {
            (true, _) => Acks::None,
            (_, true) => Acks::Never,
            _ => Acks::Within(self.rng.below(self.profile.ack_max + 1)),
        };
        let program = &mut self.programs[p];
        program.n += 1;
        program.session = Some(s);
        let (end, n, pending) = (program.end, program.n, program.pending.clone());
        self.sessions.push(Session {
            id,
            program: p,
            end,
            n,
            bs,
            bs_inc: self.bs[bs].process.inc,
            bs_open: false,
            known: false,
            term_open: true,
            acks,
            up: Pipe::default(),
            down: Pipe::default(),
            shown: Vec::new(),
            shown_at: 0,
            received: 0,
            acked: 0,
            ack_planned: false,
            sent: Vec::new(),
        });
        self.hit(Reached::Sessions);
        say!(self, format!("p{p}"), {
            format!("connects to bs{bs} as session {}, n {n}, acks {acks:?}", trace::short(id.0))
        },);
        self.send_to_bs(s, FromTerminal::Opened);
        for msg in pending {
            self.hit(Reached::Resent);
            self.transmit(s, msg);
        }
    }

    /// A program that was replaced is started again by its user.
    pub(super) fn come_again(&mut self, p: usize) {
        if !self.quiet {
            self.programs[p].stopped = false;
            self.connect(p);
        }
    }

    fn send_to_bs(&mut self, s: usize, what: FromTerminal) {
        let delay = self.terminal_delay();
        let at = self.sessions[s].up.arrival(self.now, delay);
        self.at(at, Ev::FromTerminal(s, what));
    }

    pub(super) fn bs_hears(&mut self, s: usize, what: FromTerminal) {
        let Session { bs, bs_inc, id, n, program, acks, .. } = self.sessions[s];
        if self.bs[bs].process.inc != bs_inc || self.bs[bs].process.core.is_none() {
            if self.sessions[s].term_open {
                self.after(200, Ev::ToTerminal(s, ToTerminal::Closed(None)));
            }
            return;
        }
        let event = match what {
            FromTerminal::Opened => BsEvent::SessionOpened {
                session: id,
                end: self.ends[self.sessions[s].end].clone(),
                client: self.programs[program].client.clone(),
                n,
                acks: acks != Acks::None,
            },
            FromTerminal::Frame(up) => BsEvent::Up(id, up),
            FromTerminal::Closed => BsEvent::SessionClosed(id),
        };
        self.bs_event(bs, event);
    }

    /// One message: to the neighbour mostly, so that streams are long.
    pub(super) fn new_message(&mut self, p: usize, probe: bool) -> usize {
        let ends = self.ends.len();
        let own = self.programs[p].end;
        let to =
            if probe || self.rng.percent(85) { (own + 1) % ends } else { self.rng.index(ends) };
        let msg = self.messages.len();
        let ttl_s = (!probe && self.rng.permille(self.profile.short_ttl))
            .then(|| self.rng.range(1, 3) as u32);
        self.messages.push(Message {
            id: format!("m{msg}").parse::<MessageId>().expect("well formed"),
            to,
            ttl_s,
            sent: self.now,
            attempts: 0,
            places: Vec::new(),
            shows: Vec::new(),
            received: false,
            acked: false,
            refused: false,
            due: u64::MAX,
            again: false,
            settled: None,
            rejected: false,
            promised: false,
            promised_under: wardlink_wire::Epoch(0),
            resent_under: None,
            unclean: false,
            delivers: Vec::new(),
            probe,
        });
        self.hit(Reached::Sent);
        self.programs[p].pending.push(msg);
        if let Some(s) = self.programs[p].session {
            self.transmit(s, msg);
        }
        msg
    }

    fn transmit(&mut self, s: usize, msg: usize) {
        let message = &mut self.messages[msg];
        message.attempts += 1;
        let (id, ttl_s, to) = (message.id.clone(), message.ttl_s, message.to);
        let session = &mut self.sessions[s];
        match session.sent.iter_mut().find(|sent| sent.msg == msg) {
            Some(sent) => sent.times += 1,
            None => {
                message.places.push((s, session.sent.len()));
                session.sent.push(Sent { msg, times: 1, results: 0 });
            }
        }
        say!(
            self,
            format!("p{}", self.sessions[s].program),
            format!("sends m{msg} to {}", self.ends[to]),
        );
        let body = Bytes::from(format!("\"{msg}\""));
        let send = UpSend { id, to: self.ends[to].clone(), body, ttl_s };
        self.send_to_bs(s, FromTerminal::Frame(Up::Send(send)));
    }

    pub(super) fn act(&mut self, p: usize) {
        if self.quiet {
            return;
        }
        let next = self.rng.about(self.profile.act_every);
        self.after(next, Ev::Act(p));
        let Some(s) = self.programs[p].session else { return };
        if self.rng.permille(self.profile.leave) {
            return self.leave(s);
        }
        if self.rng.permille(self.profile.half_open) {
            return self.fall_silent(s);
        }
        if self.programs[p].pending.len() > 40 {
            return;
        }
        for _ in 0..self.rng.range(0, self.profile.burst) {
            self.new_message(p, false);
        }
    }

    fn come_back(&mut self, p: usize) {
        let away = if self.quiet { 50 } else { self.rng.skewed(5, self.profile.away_max) };
        self.after(away, Ev::Connect(p));
    }

    fn forget(&mut self, s: usize) {
        self.sessions[s].term_open = false;
        let p = self.sessions[s].program;
        if self.programs[p].session == Some(s) {
            self.programs[p].session = None;
            self.come_back(p);
        }
    }

    /// The terminal closes its connection.
    pub(super) fn leave(&mut self, s: usize) {
        say!(
            self,
            format!("p{}", self.sessions[s].program),
            format!("leaves session {}", trace::short(self.sessions[s].id.0)),
        );
        self.forget(s);
        self.send_to_bs(s, FromTerminal::Closed);
    }

    /// The terminal is gone, and its BS will find out later.
    pub(super) fn fall_silent(&mut self, s: usize) {
        say!(
            self,
            format!("p{}", self.sessions[s].program),
            format!("falls silent, session {}", trace::short(self.sessions[s].id.0)),
        );
        self.hit(Reached::HalfOpen);
        self.forget(s);
        let found = self.now + self.rng.range(100, self.profile.half_open_max);
        let at = self.sessions[s].up.arrival(found, 0);
        self.at(at, Ev::FromTerminal(s, FromTerminal::Closed));
    }

    pub(super) fn terminal_hears(&mut self, s: usize, what: ToTerminal) {
        if !self.sessions[s].term_open {
            return;
        }
        match what {
            ToTerminal::Frame(Down::Message(message)) => {
                self.received(s, &message);
                self.plan_ack(s);
            }
            ToTerminal::Frame(Down::Result { id, outcome, reason }) => {
                self.result(s, &id, outcome, reason);
            }
            ToTerminal::Frame(Down::Reconnect { after_ms }) => {
                self.after(u64::from(after_ms), Ev::Fault(Fault::LeaveThis(s)));
            }
            ToTerminal::Frame(_) => {}
            ToTerminal::Closed(code) => {
                say!(
                    self,
                    format!("p{}", self.sessions[s].program),
                    format!("session {} closed: {code:?}", trace::short(self.sessions[s].id.0)),
                );
                if code == Some(CloseCode::Replaced) {
                    let p = self.sessions[s].program;
                    if self.programs[p].session == Some(s) {
                        self.programs[p].stopped = true;
                        if self.rng.permille(self.profile.returns) {
                            let away = self.rng.range(50, 2_000);
                            self.after(away, Ev::Return(p));
                        }
                    }
                }
                self.forget(s);
            }
        }
    }

    fn result(&mut self, s: usize, id: &MessageId, outcome: Outcome, reason: Option<Reason>) {
        let msg = super::oracle::number_of(id);
        let p = self.sessions[s].program;
        let refused = matches!(outcome, Outcome::Rejected | Outcome::Unknown);
        let again = refused && reason.is_none_or(Reason::retry) && !self.messages[msg].probe;
        if again && !self.quiet && self.rng.permille(self.profile.retry) {
            // It stays pending: sent again now, or with the next session.
            if self.messages[msg].attempts < 4 && self.rng.percent(50) {
                self.transmit(s, msg);
            }
            return;
        }
        self.programs[p].pending.retain(|m| *m != msg);
    }

    pub(super) fn plan_ack(&mut self, s: usize) {
        let session = &self.sessions[s];
        let delay = match session.acks {
            Acks::None => return,
            _ if self.quiet => 1,
            Acks::Never => return,
            Acks::Within(max) => self.rng.below(max + 1),
        };
        if !std::mem::replace(&mut self.sessions[s].ack_planned, true) {
            self.after(delay, Ev::Ack(s));
        }
    }

    pub(super) fn ack(&mut self, s: usize) {
        self.sessions[s].ack_planned = false;
        let Session { term_open, received, acked, .. } = self.sessions[s];
        if !term_open || received <= acked {
            return;
        }
        let some = !self.quiet && self.rng.percent(30);
        let upto =
            if some { self.rng.range(acked as u64 + 1, received as u64) } else { received as u64 };
        self.sessions[s].acked = upto as usize;
        for at in acked..upto as usize {
            let msg = self.sessions[s].shown[at];
            self.messages[msg].acked = true;
        }
        say!(self, format!("p{}", self.sessions[s].program), format!("acks up to {upto}"));
        self.send_to_bs(s, FromTerminal::Frame(Up::Ack { seq: upto }));
        if (upto as usize) < received {
            self.plan_ack(s);
        }
    }

    /// A frame was written to a terminal that does not acknowledge.
    pub(super) fn written(&mut self, s: usize, seq: u64) {
        let Session { bs, bs_inc, bs_open, id, .. } = self.sessions[s];
        if !bs_open || self.bs[bs].process.inc != bs_inc {
            return;
        }
        let msg = self.sessions[s].shown[seq as usize - 1];
        self.messages[msg].acked = true;
        self.sessions[s].acked = self.sessions[s].acked.max(seq as usize);
        self.bs_event(bs, BsEvent::Written(id, seq));
    }
}
