//! Drives the real cores: brings events in, carries actions out.

use wardlink_bs::core::api::{Action as BsAction, Event as BsEvent};
use wardlink_ms::core::api::{Action as MsAction, Event as MsEvent, LinkId};
use wardlink_wire::link::{ToBs, ToMs};
use wardlink_wire::terminal::Down;

use super::cover::Reached;
use super::model::{DownMail, ToTerminal, UpMail};
use super::profile::When;
use super::{Ev, World, trace};

/// Items of one step, by link, in the order in which they were sent.
type Batches<T> = Vec<(usize, Vec<T>)>;

fn batch<T>(batches: &mut Batches<T>, link: usize, item: T) {
    match batches.iter_mut().find(|(l, _)| *l == link) {
        Some((_, items)) => items.push(item),
        None => batches.push((link, vec![item])),
    }
}

fn take<T>(batches: &mut Batches<T>, link: usize) -> Option<Vec<T>> {
    let at = batches.iter().position(|(l, _)| *l == link)?;
    Some(batches.remove(at).1)
}

impl World {
    pub(super) fn ms_event(&mut self, m: usize, event: MsEvent) {
        if self.ms[m].paused {
            return self.ms[m].inbox.push_back(event);
        }
        let Some(mut core) = self.ms[m].core.take() else { return };
        let hook = match &event {
            MsEvent::Items(link, items) => {
                self.before_ms(m, *link, items);
                items.iter().find_map(|item| match item {
                    ToMs::Send(s) => Some((When::SendArrived, s.end.clone())),
                    ToMs::Ack(a) => Some((When::AckArrived, a.end.clone())),
                    _ => None,
                })
            }
            _ => None,
        };
        let mut actions = Vec::new();
        let given_up = core.counters().given_up;
        core.on(event, self.ms[m].clock(self.now), &mut actions);
        let given_up = core.counters().given_up - given_up;
        self.ms[m].core = Some(core);
        self.trace.mix(actions.len() as u64);
        // Between a step and what follows from it a process may die, too.
        let dies = self.hooks_left > 0 && actions.len() > 1 && self.profile.ms_crash_every > 0;
        if dies && self.rng.permille(4) {
            self.hooks_left -= 1;
            self.hit(Reached::MsPrefix);
            let cut = self.rng.index(actions.len());
            actions.truncate(cut);
            self.ms_actions(m, actions);
            return self.ms_kill(m);
        }
        self.ms_actions(m, actions);
        if given_up > 0 {
            self.given_up_silently();
        }
        if let Some((when, end)) = hook {
            self.hook(when, Some(m), Some(&end), None);
        }
    }

    fn ms_actions(&mut self, m: usize, actions: Vec<MsAction>) {
        let inc = self.ms[m].inc;
        let mut batches: Batches<ToBs> = Vec::new();
        let mut delivered = None;
        for action in actions {
            match action {
                MsAction::Send(link, item) => {
                    let link = link.0 as usize;
                    if !matches!(item, ToBs::Counts(_)) {
                        say!(
                            self,
                            format!("ms{m}"),
                            format!("to bs on {link}: {}", trace::to_bs(&item)),
                        );
                    }
                    self.ms_said(m, link, &item);
                    if let ToBs::Deliver(deliver) = &item {
                        delivered = Some(deliver.end.clone());
                    }
                    batch(&mut batches, link, item);
                }
                MsAction::Ping(link, clock) => {
                    let link = link.0 as usize;
                    if let Some(items) = take(&mut batches, link) {
                        self.send_down(link, DownMail::Items(items));
                    }
                    self.send_down(link, DownMail::Ping(clock));
                }
                MsAction::Close(link, code) => {
                    let link = link.0 as usize;
                    say!(self, format!("ms{m}"), format!("closes link {link}: {code:?}"));
                    if let Some(items) = take(&mut batches, link) {
                        self.send_down(link, DownMail::Items(items));
                    }
                    self.closed_by(link, true);
                }
                MsAction::Store(id, op) => self.issue(m, id, op),
                MsAction::Ready(ready) => {
                    say!(self, format!("ms{m}"), format!("ready: {ready}"));
                }
                MsAction::Exit => {
                    say!(self, format!("ms{m}"), "ends".to_owned());
                    self.ms[m].core = None;
                    self.ms[m].troubled = self.now;
                    self.ms_links_end(m, 30);
                    let pause = self.rng.range(100, 3_000);
                    self.after(pause, Ev::MsStart(m));
                }
                MsAction::SendPlain { .. } => {}
            }
        }
        for (link, items) in batches {
            self.send_down(link, DownMail::Items(items));
        }
        if let Some(end) = delivered
            && self.ms[m].inc == inc
        {
            self.hook(When::DeliverSent, Some(m), Some(&end), None);
        }
    }

    pub(super) fn bs_event(&mut self, b: usize, event: BsEvent) {
        let process = &mut self.bs[b].process;
        if process.paused {
            return process.inbox.push_back(event);
        }
        let Some(mut core) = process.core.take() else { return };
        let clock = process.clock(self.now);
        self.before_bs(b, &event);
        let mut actions = Vec::new();
        core.on(event, clock, &mut actions);
        self.bs[b].process.core = Some(core);
        self.trace.mix(actions.len() as u64);
        let ends = actions.contains(&BsAction::Exit);
        let mut batches: Batches<ToMs> = Vec::new();
        for action in actions {
            match action {
                BsAction::Send(link, item) => {
                    let link = link.0 as usize;
                    say!(
                        self,
                        format!("bs{b}"),
                        format!("to ms on {link}: {}", trace::to_ms(&item)),
                    );
                    self.bs_said(link, &item);
                    batch(&mut batches, link, item);
                }
                BsAction::Ping(link) => {
                    let link = link.0 as usize;
                    if let Some(items) = take(&mut batches, link) {
                        self.send_up(link, UpMail::Items(items));
                    }
                    self.send_up(link, UpMail::Ping);
                }
                BsAction::Close(link, code) => {
                    let link = link.0 as usize;
                    say!(self, format!("bs{b}"), format!("closes link {link}: {code:?}"));
                    if let Some(items) = take(&mut batches, link) {
                        self.send_up(link, UpMail::Items(items));
                    }
                    self.closed_by(link, false);
                }
                BsAction::Down(session, down) => {
                    if let Some(s) = self.session_of(session) {
                        self.shown_or_told(s, &down);
                        let delay = self.terminal_delay();
                        let at = self.sessions[s].down.arrival(self.now, delay);
                        if let Down::Message(message) = &down
                            && self.sessions[s].acks == super::model::Acks::None
                        {
                            self.at(at, Ev::Written(s, message.seq));
                        }
                        self.at(at, Ev::ToTerminal(s, ToTerminal::Frame(down)));
                    }
                }
                BsAction::CloseSession(session, code) => {
                    if let Some(s) = self.session_of(session) {
                        self.session_closed_by_bs(s, code);
                    }
                }
                BsAction::Posted(..) | BsAction::Ready(_) | BsAction::Exit => {}
            }
        }
        for (link, items) in batches {
            self.send_up(link, UpMail::Items(items));
        }
        if ends {
            say!(self, format!("bs{b}"), "ends".to_owned());
            self.hit(Reached::BsDrained);
            self.bs_gone(b);
        }
    }

    fn before_ms(&mut self, m: usize, link: LinkId, items: &[ToMs]) {
        self.look_at_acks(m, link.0 as usize, items);
        if self.trace.on {
            for item in items {
                if matches!(item, ToMs::Send(_) | ToMs::Register(_) | ToMs::Ack(_)) {
                    let text = format!("gets on {}: {}", link.0, trace::to_ms(item));
                    self.trace.line(self.now, &format!("ms{m}"), &text);
                }
            }
        }
    }
}
