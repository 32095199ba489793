//! What was promised to a stream, against what happened.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use wardlink_wire::{Outcome, SessionId};

use super::record::Record;

/// Within so long a message of a live session has a result.
const DEADLINE: Duration = Duration::from_secs(10);
/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_millis(1_500);
/// A client's own deadline over all its sessions.
const CLIENT_DEADLINE: Duration = Duration::from_secs(30);

/// Every promise that was broken, in words. All results are in, and the targets have drained.
pub(super) fn check(record: &Record) -> Vec<String> {
    let mut broken = record.wrong.clone();
    results(record, &mut broken);
    order(record, &mut broken);
    sessions(record, &mut broken);
    broken
}

/// P1 and P2: results come in time and are true.
fn results(record: &Record, broken: &mut Vec<String>) {
    for (number, sent) in record.sent.iter().enumerate() {
        let Some((result, at)) = &sent.result else {
            broken.push(format!("{number} has no result"));
            continue;
        };
        let shown = record.first_shown_at.get(&number);
        let story = || format!("sent {:.3?}, {result:?} {at:.3?}, shown {shown:.3?}", sent.at);
        match (result.outcome, shown) {
            (Outcome::Delivered | Outcome::Stored, None) => {
                broken.push(format!("{number} is lost: {}", story()));
            }
            (Outcome::Delivered, Some(shown)) if shown > at => {
                broken.push(format!("{number} was delivered before it was shown: {}", story()));
            }
            (Outcome::Rejected, Some(_)) => {
                broken.push(format!("{number} was rejected and shown: {}", story()));
            }
            _ => {}
        }
        // A session counts from its welcome on; what came before is the client's time.
        let welcomed = record.welcomed.iter().rev().find(|welcomed| *welcomed <= at);
        let began = welcomed.map_or(sent.at, |welcomed| sent.at.max(*welcomed));
        if *at > began + DEADLINE + SLACK || *at > sent.at + CLIENT_DEADLINE + SLACK {
            let text = format!("{number} had its result late, welcomed {welcomed:.3?}: ");
            broken.push(text + &story());
        }
    }
}

/// P4: first shown in the order of sending, but for what was refused.
fn order(record: &Record, broken: &mut Vec<String>) {
    let mut last: Option<(usize, Duration)> = None;
    for &(number, at) in &record.first_shown {
        if !record.sent[number].is_promised() {
            continue;
        }
        match last {
            Some((before, when)) if before > number => broken.push(format!(
                "{number} was shown at {at:.3?}, after {before} at {when:.3?}; sent {:.3?} and \
                 {:.3?}",
                record.sent[number].at, record.sent[before].at
            )),
            _ => last = Some((number, at)),
        }
    }
}

/// P3: no session, and no client of the library, sees a message twice, and sessions count.
fn sessions(record: &Record, broken: &mut Vec<String>) {
    let mut seen: HashSet<(Option<SessionId>, usize)> = HashSet::new();
    let mut seqs: HashMap<SessionId, u64> = HashMap::new();
    for shown in &record.shown {
        if !seen.insert((shown.session, shown.number)) {
            broken.push(format!("{} was shown twice: {shown:.3?}", shown.number));
        }
        if let Some(session) = shown.session {
            let last = seqs.insert(session, shown.seq).unwrap_or(0);
            if shown.seq != last + 1 {
                broken.push(format!("after number {last} of its session came {shown:.3?}"));
            }
        }
    }
}
