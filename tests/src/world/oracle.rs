//! The judge: what servers and terminals said, held against the promises.

use wardlink_bs::core::api::Event as BsEvent;
use wardlink_wire::link::{ToBs, ToMs};
use wardlink_wire::terminal::{Down, DownMessage, Up};
use wardlink_wire::{CloseCode, Epoch, MessageId, Outcome, Reason, SessionId};

use super::cover::Reached;
use super::db::BASE_MS;
use super::model::{FromTerminal, Show, ToTerminal};
use super::profile::Theme;
use super::quiet::UNSURE_MS;
use super::times::{PROMPT_MS, SLACK_MS};
use super::{Ev, World, trace};

/// Clocks of processes are rounded, and differ, in milliseconds.
const ROUNDING_MS: u64 = 5;

/// Who has the route of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    link: usize,
    session: SessionId,
    /// Since when, as a place in time.
    since: u64,
}

/// Place of a message by its id.
pub(super) fn number_of(id: &MessageId) -> usize {
    id.as_str()[1..].parse().expect("ids of the world are m and a number")
}

impl World {
    pub(super) fn expires(&self, msg: usize) -> u64 {
        let message = &self.messages[msg];
        let ttl = message.ttl_s.unwrap_or(u32::MAX).min(self.profile.ttl_s);
        message.sent + u64::from(ttl) * 1000
    }

    /// An MS sent an item.
    pub(super) fn ms_said(&mut self, m: usize, link: usize, item: &ToBs) {
        match item {
            ToBs::Result(result) => {
                let (epoch, outcome) = (result.epoch, result.outcome);
                let Some(&msg) = self.links[link].seqs.get(result.seq as usize - 1) else {
                    return self.violate("P1", format!("ms{m} answers an unknown seq"));
                };
                self.ms_told(m, msg, outcome);
                if matches!(outcome, Outcome::Stored | Outcome::Delivered) {
                    self.messages[msg].promised_under =
                        self.messages[msg].promised_under.max(epoch);
                }
            }
            ToBs::Deliver(deliver) => {
                let msg = number_of(&deliver.id);
                let delivers = &mut self.messages[msg].delivers;
                delivers.retain(|(session, _, _)| *session != deliver.session);
                delivers.push((deliver.session, deliver.epoch, self.sequence));
                let end = self.messages[msg].to;
                self.stamps.insert((end, deliver.stamp), msg);
                if deliver.create_at_ms > BASE_MS + self.now + ROUNDING_MS {
                    self.violate("P6", format!("m{msg} was accepted in the future"));
                }
            }
            ToBs::Registered(r) => {
                let end = self.db.index(&r.end);
                let same = self.routes[end]
                    .is_some_and(|route| route.link == link && route.session == r.session);
                if !same {
                    let since = self.sequence;
                    self.routes[end] = Some(Route { link, session: r.session, since });
                }
            }
            // Its route is left, though the winner's link may be gone and nobody registered.
            ToBs::Superseded(r) => {
                let end = self.db.index(&r.end);
                if self.routes[end].is_some_and(|route| route.session == r.session) {
                    self.routes[end] = None;
                }
            }
            _ => {}
        }
    }

    /// What reaches an MS: acks over the route of their end settle their messages.
    pub(super) fn look_at_acks(&mut self, m: usize, link: usize, items: &[ToMs]) {
        for item in items {
            match item {
                ToMs::Unregister(u) => {
                    let end = self.db.index(&u.end);
                    if self.routes[end].is_some_and(|route| route.session == u.session) {
                        self.routes[end] = None;
                    }
                }
                ToMs::Ack(a) if !a.expired && self.links[link].ms_open => {
                    let end = self.db.index(&a.end);
                    let Some(route) = self.routes[end] else { continue };
                    let Some(&msg) = self.stamps.get(&(end, a.stamp)) else { continue };
                    let handed = self.messages[msg].delivers.iter().any(|(session, epoch, at)| {
                        *session == a.session && *epoch == a.epoch && *at >= route.since
                    });
                    let over_it = route.link == link && route.session == a.session;
                    if handed && over_it && self.links[link].ms == m {
                        self.messages[msg].settled = Some((a.epoch, self.sequence));
                    }
                }
                _ => {}
            }
        }
    }

    /// An owner gave up messages, perhaps without anybody to tell, for their links are gone. Which,
    /// is its own knowledge; those that it may be have lost their places.
    pub(super) fn given_up_silently(&mut self) {
        let full = self.profile.mailbox_max < 50;
        for message in self.messages.iter_mut().filter(|m| !m.received) {
            message.refused |= full || message.due <= self.now;
        }
    }

    fn ms_told(&mut self, m: usize, msg: usize, outcome: Outcome) {
        let message = &mut self.messages[msg];
        match outcome {
            Outcome::Rejected | Outcome::Unknown => message.refused = true,
            Outcome::Delivered => {
                message.promised = true;
                if !message.acked {
                    self.violate("P1", format!("ms{m} called m{msg} delivered, nobody acked it"));
                }
            }
            Outcome::Stored => {
                message.promised = true;
                let (acked, to) = (message.acked, message.to);
                let id = message.id.clone();
                let kept = self.db.mailbox(to).iter().any(|doc| doc.key.id == id);
                if !kept && !acked && self.expires(msg) > self.now + UNSURE_MS {
                    self.violate("P1", format!("ms{m} called m{msg} stored, and it is not there"));
                }
            }
        }
    }

    /// A BS sent an item.
    pub(super) fn bs_said(&mut self, link: usize, item: &ToMs) {
        if let ToMs::Send(send) = item {
            let msg = number_of(&send.id);
            self.links[link].seqs.push(msg);
            self.messages[msg].again |= send.again;
            if self.messages[msg].attempts > 1 {
                let lowest = self.messages[msg].resent_under.get_or_insert(send.epoch);
                *lowest = send.epoch.min(*lowest);
            }
            let due = self.now + u64::from(send.deadline_ms);
            self.messages[msg].due = self.messages[msg].due.min(due);
            if self.links[link].seqs.len() as u64 != send.seq {
                self.violate("link", format!("seq {} of link {link} is out of order", send.seq));
            }
        }
    }

    /// What a BS is about to be told.
    pub(super) fn before_bs(&mut self, b: usize, event: &BsEvent) {
        // What it hears first out of its buffers after it stood still tells it nothing.
        if self.bs[b].process.resumed < self.now {
            self.bs[b].knows_the_time |= match event {
                BsEvent::Heard(_, clock) => clock.is_some_and(|clock| clock > 0),
                BsEvent::Items(_, items) => {
                    items.iter().any(|item| matches!(item, ToBs::Welcome(w) if w.clock > 0))
                }
                _ => false,
            };
        }
        match event {
            BsEvent::SessionOpened { session, .. } => {
                if let Some(s) = self.session_of(*session) {
                    self.sessions[s].bs_open = true;
                    self.sessions[s].known = true;
                }
            }
            BsEvent::SessionClosed(session) => {
                if let Some(s) = self.session_of(*session) {
                    self.sessions[s].bs_open = false;
                }
            }
            BsEvent::Up(session, Up::Send(send)) => {
                let Some(s) = self.session_of(*session) else { return };
                let msg = number_of(&send.id);
                let place = self.sessions[s].sent.iter().position(|sent| sent.msg == msg);
                let due = match self.profile.theme {
                    Theme::Prompt => PROMPT_MS,
                    _ => u64::from(self.profile.deadline) + SLACK_MS,
                };
                if let Some(place) = place {
                    self.after(due, Ev::Deadline(s, place));
                }
                if self.profile.theme == Theme::Prompt {
                    self.expect_on_its_way(msg, s);
                }
            }
            _ => {}
        }
    }

    /// A BS sent a frame to a terminal.
    pub(super) fn shown_or_told(&mut self, s: usize, down: &Down) {
        match down {
            Down::Message(message) => self.shown(s, message),
            Down::Result { id, outcome, reason } => {
                self.told(s, number_of(id), *outcome, *reason);
            }
            _ => {}
        }
    }

    fn shown(&mut self, s: usize, down: &DownMessage) {
        let msg = number_of(&down.id);
        let id = self.sessions[s].id;
        let session = trace::short(id.0);
        self.hit(Reached::Shown);
        if down.redelivered {
            self.hit(Reached::ShownMarked);
        }
        say!(
            self,
            format!("bs{}", self.sessions[s].bs),
            format!("shows m{msg} to session {session} as {}", down.seq),
        );
        if self.sessions[s].shown.contains(&msg) {
            self.violate("P3", format!("m{msg} was shown to session {session} twice"));
        }
        self.sessions[s].shown.push(msg);
        self.sessions[s].shown_at = self.now;
        let message = &self.messages[msg];
        let handed = message.delivers.iter().find(|(session, _, _)| *session == id);
        let (epoch, order) = handed.map_or((Epoch(0), 0), |(_, epoch, order)| (*epoch, *order));
        let known = message
            .shows
            .iter()
            .any(|show| show.epoch == epoch && show.session != s && show.order < order);
        let unmarked = known && !down.redelivered && !message.unclean && message.attempts == 1;
        let repeated = message.settled.is_some_and(|(of, at)| of == epoch && at < order)
            && !message.unclean
            && !message.again
            && message.attempts == 1;
        let elsewhere = message.to != self.sessions[s].end;
        let rejected = message.rejected && message.attempts == 1;
        if unmarked {
            let text = format!("m{msg} was shown to an earlier session, and again unmarked");
            self.violate("P3", text);
        }
        if repeated {
            self.violate("P3", format!("m{msg} was acked, and handed out again"));
        }
        if elsewhere {
            self.violate("P8", format!("m{msg} was shown to another end"));
        }
        if rejected {
            self.violate("P1", format!("m{msg} was rejected, and shown"));
        }
        if self.bs[self.sessions[s].bs].knows_the_time {
            self.check_expiry(msg, down.at_ms);
        }
        self.messages[msg].shows.push(Show { session: s, epoch, order });
        self.check_window(s, epoch);
    }

    fn told(&mut self, s: usize, msg: usize, outcome: Outcome, reason: Option<Reason>) {
        say!(
            self,
            format!("bs{}", self.sessions[s].bs),
            format!("tells session s{s}: m{msg} is {outcome} {reason:?}"),
        );
        self.hit(match outcome {
            Outcome::Delivered => Reached::Delivered,
            Outcome::Stored => Reached::Stored,
            Outcome::Rejected => Reached::Rejected,
            Outcome::Unknown => Reached::Unknown,
        });
        match reason {
            Some(Reason::MailboxFull) => self.hit(Reached::MailboxFull),
            Some(Reason::Overloaded) => self.hit(Reached::Overloaded),
            Some(Reason::TooLarge) => self.hit(Reached::TooLarge),
            Some(Reason::Expired) => self.hit(Reached::Expired),
            Some(Reason::IdReused) => self.hit(Reached::IdReused),
            Some(_) => self.hit(Reached::GivenUp),
            None => {}
        }
        let Some(sent) = self.sessions[s].sent.iter_mut().find(|sent| sent.msg == msg) else {
            return self.violate("P1", format!("a result of m{msg}, which was not sent here"));
        };
        sent.results += 1;
        let twice = sent.results > sent.times;
        if twice {
            self.violate("P1", format!("m{msg} got more than one result"));
        }
        let message = &mut self.messages[msg];
        let refused = matches!(outcome, Outcome::Rejected | Outcome::Unknown);
        message.refused |= refused;
        let (acked, once, shown) =
            (message.acked, message.attempts == 1, !message.shows.is_empty());
        if outcome == Outcome::Delivered && !acked {
            self.violate("P1", format!("m{msg} was called delivered, and nobody acked it"));
        }
        if outcome == Outcome::Rejected && once {
            self.messages[msg].rejected = true;
            if shown {
                self.violate("P1", format!("m{msg} was shown, and called rejected"));
            }
        }
        let excused = matches!(reason, Some(Reason::Overloaded));
        if refused && self.profile.calm() && !excused && self.sessions[s].term_open {
            let text = format!("m{msg} was {outcome} ({reason:?}) though nothing failed for long");
            self.violate("P2", text);
        }
    }

    /// A terminal got a message.
    pub(super) fn received(&mut self, s: usize, down: &DownMessage) {
        let msg = number_of(&down.id);
        self.sessions[s].received = down.seq as usize;
        let message = &mut self.messages[msg];
        if std::mem::replace(&mut message.received, true) || message.acked || message.refused {
            return;
        }
        let to = message.to;
        let under = message.promised_under;
        // An earlier copy of it may have expired, and with it its place.
        if self.expires(msg) <= self.now + UNSURE_MS {
            return;
        }
        for (session, place) in self.messages[msg].places.clone() {
            let later = self.sessions[session].sent[place + 1..].iter().find(|sent| {
                let other = &self.messages[sent.msg];
                // A BS and an MS that do not know the newest view yet go on with each other: what
                // a terminal sends again through them may come before what others have accepted.
                let stale = other.resent_under.is_some_and(|epoch| epoch < under);
                other.to == to && other.received && !stale
            });
            if let Some(later) = later.map(|sent| sent.msg) {
                let text = format!("m{msg} was shown after m{later}, which was sent after it");
                return self.violate("P4", text);
            }
        }
    }

    pub(super) fn session_closed_by_bs(&mut self, s: usize, code: CloseCode) {
        self.sessions[s].bs_open = false;
        say!(
            self,
            format!("bs{}", self.sessions[s].bs),
            format!("closes session {}: {code:?}", trace::short(self.sessions[s].id.0)),
        );
        if code == CloseCode::Replaced {
            self.hit(Reached::Superseded);
            let session = &self.sessions[s];
            let end = session.end;
            let program = session.program;
            let by_other =
                self.sessions.iter().any(|o| o.end == end && o.program != program && o.known);
            let by_newer = self.sessions.iter().any(|o| o.program == program && o.n > session.n);
            let ordered = self.programs[program].client.is_some();
            if ordered && !by_other && !by_newer {
                let n = session.n;
                self.violate("P5", format!("the newest session (n {n}) was replaced"));
            }
        }
        let delay = self.terminal_delay();
        let at = self.sessions[s].down.arrival(self.now, delay);
        self.at(at, Ev::ToTerminal(s, ToTerminal::Closed(Some(code))));
        // The connection is closed; nothing more of it is read.
        let _ = FromTerminal::Closed;
    }
}
