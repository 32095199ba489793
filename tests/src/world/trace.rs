//! What happened, for people, and a hash of it, so that two runs can be compared.

use std::fmt::Write;

use wardlink_ms::core::api::{StoreOp, StoreValue};
use wardlink_ms::store::{Put, Renewed, StoreError};
use wardlink_view::View;
use wardlink_wire::link::{Deliver, ToBs, ToMs};
use wardlink_wire::{Epoch, Stamp};

use super::db::BASE_MS;

/// The upper half of the id of every session; the lower one is its place.
pub(super) const SESSIONS: u128 = 0xabc;

/// The record of one history.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) on: bool,
    pub(super) lines: Vec<String>,
    pub(super) hash: u64,
}

impl Trace {
    pub(super) fn mix(&mut self, what: u64) {
        self.hash = (self.hash.rotate_left(5) ^ what).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    pub(super) fn line(&mut self, now: u64, who: &str, what: &str) {
        self.lines.push(format!("{:>7}.{:03} {who:<5} {what}", now / 1000, now % 1000));
    }
}

/// An epoch or view number: seconds since the world began, and the increment.
pub(super) fn number(n: u64) -> String {
    if n == 0 {
        return "0".to_owned();
    }
    format!("{}.{}", (n >> 32).wrapping_sub(BASE_MS / 1000) as i64, n & 0xffff_ffff)
}

fn epoch(e: Epoch) -> String {
    number(e.0)
}

pub(super) fn stamp(s: Stamp) -> String {
    format!("{}#{}", epoch(s.epoch), s.count)
}

/// The last group of an id tells sessions apart.
pub(super) fn short(id: uuid::Uuid) -> String {
    if id.as_u128() >> 64 == SESSIONS {
        return format!("s{}", id.as_u128() as u64);
    }
    let text = id.simple().to_string();
    text.trim_start_matches('0').chars().take(6).collect()
}

fn deliver(d: &Deliver) -> String {
    let mark = if d.redelivered { " redelivered" } else { "" };
    let session = short(d.session.0);
    format!("deliver {} to {} session {session} stamp {}{mark}", d.id, d.end, stamp(d.stamp))
}

pub(super) fn view(v: &View, ends: &[wardlink_wire::EndId]) -> String {
    let mut text = format!("view {} ({}) members", number(v.number.0), short(v.id));
    for ms in &v.members {
        let _ = write!(text, " {}", short(ms.0));
    }
    for end in ends {
        let slot = v.slot(end.partition());
        let owner = slot.owner.map_or("nobody".to_owned(), |ms| short(ms.0));
        let _ = write!(text, ", {end} {owner}@{}", epoch(slot.epoch));
    }
    text
}

pub(super) fn to_ms(item: &ToMs) -> String {
    match item {
        ToMs::Register(r) => format!(
            "register {} session {} n {} stamp {} epoch {}",
            r.end,
            short(r.session.0),
            r.n,
            r.stamp.map_or("none".to_owned(), stamp),
            epoch(r.epoch)
        ),
        ToMs::Unregister(u) => {
            format!("unregister {} session {} epoch {}", u.end, short(u.session.0), epoch(u.epoch))
        }
        ToMs::Send(s) => format!(
            "send {} to {} seq {} epoch {} left {}{}",
            s.id,
            s.end,
            s.seq,
            epoch(s.epoch),
            s.deadline_ms,
            if s.again { " again" } else { "" }
        ),
        ToMs::Ack(a) => format!(
            "ack {} session {} stamp {} epoch {}{}",
            a.end,
            short(a.session.0),
            stamp(a.stamp),
            epoch(a.epoch),
            if a.expired { " expired" } else { "" }
        ),
        ToMs::Hello(h) => format!("hello link {} view {}", h.link, number(h.view.0)),
        ToMs::Known(k) => format!(
            "known view {:?} synced {:?} misses {:?} went back {:?}",
            k.view.map(|n| number(n.0)),
            k.synced.map(|n| number(n.0)),
            k.misses.as_ref().map(|m| m.iter().map(|m| short(m.0)).collect::<Vec<_>>()),
            k.went_back.map(|n| number(n.0)),
        ),
        ToMs::Error(e) => format!("error {:?}", e.code),
        ToMs::Token(_) => "token".to_owned(),
    }
}

pub(super) fn to_bs(item: &ToBs) -> String {
    match item {
        ToBs::Deliver(d) => deliver(d),
        ToBs::Result(r) => {
            format!("result seq {} {} {:?} epoch {}", r.seq, r.outcome, r.reason, epoch(r.epoch))
        }
        ToBs::Registered(r) => {
            format!("registered {} session {} {}", r.end, short(r.session.0), stamp(r.stamp))
        }
        ToBs::Superseded(r) => {
            format!("superseded {} session {} {}", r.end, short(r.session.0), stamp(r.stamp))
        }
        ToBs::Welcome(w) => format!("welcome {}", short(w.ms_id.0)),
        ToBs::View(v) => format!("view {}", number(v.number.0)),
        ToBs::Counts(_) => "counts".to_owned(),
        ToBs::Error(e) => format!("error {:?} {}", e.code, e.text),
    }
}

pub(super) fn op(op: &StoreOp) -> String {
    match op {
        StoreOp::ReadView { after } => format!("read view after {}", number(after.0)),
        StoreOp::ChangeView(c) => format!(
            "change view {} to {} ({})",
            c.expect.map_or("none".to_owned(), |k| number(k.number.0)),
            number(c.to.number.0),
            short(c.to.id)
        ),
        StoreOp::Renew(r) => {
            format!("renew {} links {} of {}", short(r.me.0), r.links, number(r.expect.number.0))
        }
        StoreOp::ReadRow { end, .. } => format!("read row {end}"),
        StoreOp::WriteRow(r) => {
            format!("write row {} session {} {}", r.end, short(r.session.0), stamp(r.stamp))
        }
        StoreOp::DeleteRow { end, session, .. } => {
            format!("delete row {end} session {}", short(session.0))
        }
        StoreOp::Append(a) => {
            let mut text = format!("append {}:", a.end);
            for put in &a.puts {
                let _ = match put {
                    Put::Document(d) => write!(
                        text,
                        " {} ({}{})",
                        d.key.id,
                        stamp(d.stamp),
                        if d.redelivered { " redelivered" } else { "" }
                    ),
                    Put::Mark(key) => write!(text, " mark {}", key.id),
                };
            }
            text
        }
        StoreOp::Count { end, .. } => format!("count {end}"),
        StoreOp::ReadMailbox { read, after } => {
            format!("read mailbox {} limit {} after {}", read.end, read.limit, number(after.0))
        }
        StoreOp::Delete { end, keys } => {
            let ids: Vec<String> = keys.iter().map(|key| key.id.to_string()).collect();
            format!("delete {end}: {}", ids.join(" "))
        }
        StoreOp::Touch(_) => "touch".to_owned(),
        StoreOp::Quiet { .. } => "quiet servers".to_owned(),
        StoreOp::DeleteRowsOf(server) => format!("delete rows of {}", short(server.0)),
        StoreOp::RowsOf { .. } => "rows of servers".to_owned(),
    }
}

pub(super) fn value(value: &Result<StoreValue, StoreError>) -> String {
    match value {
        Ok(StoreValue::View(view)) => {
            format!("view {}", view.as_ref().map_or("none".to_owned(), |v| number(v.number.0)))
        }
        Ok(StoreValue::Applied(applied)) => format!("applied {applied:?}"),
        Ok(StoreValue::Renewed(Some(Renewed { beats, .. }))) => {
            let beats: Vec<String> = beats
                .iter()
                .map(|b| format!("{} {}/{}", short(b.ms.0), b.renewals, b.links))
                .collect();
            format!("renewed [{}]", beats.join(", "))
        }
        Ok(StoreValue::Renewed(None)) => "renewal refused".to_owned(),
        Ok(StoreValue::Row(row)) => row.as_ref().map_or("no row".to_owned(), |row| {
            format!("row session {} {}", short(row.session.0), stamp(row.stamp))
        }),
        Ok(StoreValue::Appended(a)) => format!("appended {} error {:?}", a.applied, a.error),
        Ok(StoreValue::Count(n)) => format!("count {n}"),
        Ok(StoreValue::Page(page)) => {
            let ids: Vec<String> = page
                .documents
                .iter()
                .map(|d| format!("{}({})", d.key.id, stamp(d.stamp)))
                .collect();
            format!("page [{}]{}", ids.join(" "), if page.end { " end" } else { "" })
        }
        Ok(StoreValue::Servers(servers)) => format!("{} servers", servers.len()),
        Ok(StoreValue::Rows(rows)) => format!("{} rows", rows.len()),
        Ok(StoreValue::Done) => "done".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}
