//! What is known of one stream.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wardlink_client::SendOutcome;
use wardlink_wire::{EndId, Outcome, SessionId};

/// One message of a stream; its number is its place in the order of sending.
#[derive(Debug, Clone)]
pub struct Sent {
    /// When it was given to the client.
    pub at: Duration,
    /// What became of it, and when the client said so.
    pub result: Option<(SendOutcome, Duration)>,
}

impl Sent {
    /// Whether the sender was told that it arrived or will arrive.
    pub(super) fn is_promised(&self) -> bool {
        let kept =
            |result: &SendOutcome| matches!(result.outcome, Outcome::Delivered | Outcome::Stored);
        self.result.as_ref().is_some_and(|(result, _)| kept(result))
    }
}

/// One message as a target was shown it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its number.
    pub number: usize,
    /// When.
    pub at: Duration,
    /// The session; `None` where a client of the library showed it.
    pub session: Option<SessionId>,
    /// Its place in the session.
    pub seq: u64,
    /// Whether it was marked.
    pub redelivered: bool,
}

/// What has happened to a stream so far.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) sent: Vec<Sent>,
    pub(super) shown: Vec<Shown>,
    /// Number and time, in the order of showing.
    pub(super) first_shown: Vec<(usize, Duration)>,
    pub(super) first_shown_at: HashMap<usize, Duration>,
    /// When the sender was welcomed, each time.
    pub(super) welcomed: Vec<Duration>,
    /// The server that the sender was at last.
    pub(super) sender_at: Option<String>,
    /// The server that the target was at last.
    pub(super) target_at: Option<String>,
    /// Sessions that the target had, where it is a client of the library.
    pub(super) target_sessions: usize,
    /// What should not have happened, in words.
    pub(super) wrong: Vec<String>,
}

impl Record {
    pub(super) fn show(&mut self, shown: Shown) {
        if let Entry::Vacant(first) = self.first_shown_at.entry(shown.number) {
            first.insert(shown.at);
            self.first_shown.push((shown.number, shown.at));
        }
        self.shown.push(shown);
    }

    /// Messages that were promised and are not shown yet.
    pub(super) fn missing(&self) -> usize {
        let missing = |(number, sent): &(usize, &Sent)| {
            sent.is_promised() && !self.first_shown_at.contains_key(number)
        };
        self.sent.iter().enumerate().filter(missing).count()
    }

    /// Messages that were shown once more, and those of them that were not marked.
    pub(super) fn repeats(&self) -> (usize, usize) {
        let mut known = HashSet::new();
        let again = self.shown.iter().filter(|shown| !known.insert(shown.number));
        again.fold((0, 0), |(all, unmarked), shown| {
            (all + 1, unmarked + usize::from(!shown.redelivered))
        })
    }

    /// The longest time without a message shown for the first time that has a part between the
    /// two; what goes on at `to` ends there.
    pub(super) fn longest_gap(&self, from: Duration, to: Duration) -> Duration {
        let mut longest = Duration::ZERO;
        let mut last = Duration::ZERO;
        for at in self.first_shown.iter().map(|(_, at)| (*at).min(to)).chain([to]) {
            if at >= from {
                longest = longest.max(at.saturating_sub(last));
            }
            last = at;
        }
        longest
    }
}

/// One pair of ends, and what has happened.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) from: EndId,
    pub(super) to: EndId,
    pub(super) index: usize,
    /// Whether the target stays.
    pub(super) stays: bool,
    begun: Instant,
    record: Mutex<Record>,
}

impl Stream {
    pub(super) fn new(index: usize, stays: bool, begun: Instant) -> anyhow::Result<Self> {
        Ok(Self {
            from: format!("H1-A2-sender{index}").parse()?,
            to: format!("H1-A2-target{index}").parse()?,
            index,
            stays,
            begun,
            record: Mutex::default(),
        })
    }

    pub(super) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        // A list that a panic left is still a list.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The JSON text of a message's body.
    pub(super) fn body(&self, number: usize) -> String {
        format!("\"{}/{number}\"", self.index)
    }

    /// Notes a message that arrived.
    pub(super) fn arrived(
        &self,
        body: &str,
        session: Option<SessionId>,
        seq: u64,
        redelivered: bool,
    ) {
        let at = self.now();
        let number = body
            .trim_matches('"')
            .split_once('/')
            .filter(|(index, _)| index.parse() == Ok(self.index))
            .and_then(|(_, number)| number.parse().ok());
        let mut record = self.record();
        match number.filter(|number| *number < record.sent.len()) {
            Some(number) => record.show(Shown { number, at, session, seq, redelivered }),
            None => record.wrong.push(format!("was shown {body}")),
        }
    }

    /// What to know of a stream that stands still.
    pub(super) fn describe(&self) -> String {
        let record = self.record();
        let open = record.sent.iter().filter(|sent| sent.result.is_none()).count();
        format!(
            "{} to {} (partition {}): {} sent, {open} open, last shown {:.2?}, sender welcomed \
             {:.2?}",
            self.from,
            self.to,
            self.to.partition().0,
            record.sent.len(),
            record.first_shown.last(),
            record.welcomed.last(),
        )
    }
}
