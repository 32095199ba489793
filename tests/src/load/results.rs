//! What became of the messages of a load.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wardlink_wire::{Outcome, Reason};

use super::record::{Sent, Stream};

/// How many messages had which result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Results {
    /// The target acknowledged it.
    pub delivered: usize,
    /// It waits in the mailbox.
    pub stored: usize,
    /// It will not arrive.
    pub rejected: usize,
    /// Of those, because what was needed was not available.
    pub unavailable: usize,
    /// Nobody knows.
    pub unknown: usize,
    /// Without a result yet.
    pub open: usize,
}

impl Results {
    pub(super) fn of<'a>(
        streams: impl IntoIterator<Item = &'a Arc<Stream>>,
        from: Duration,
        to: Duration,
    ) -> Self {
        let mut results = Self::default();
        for stream in streams {
            for sent in stream.record().sent.iter().filter(|s| from <= s.at && s.at < to) {
                results.add(sent);
            }
        }
        results
    }

    fn add(&mut self, sent: &Sent) {
        match &sent.result {
            None => self.open += 1,
            Some((result, _)) => {
                self.unavailable += usize::from(
                    result.outcome == Outcome::Rejected
                        && result.reason == Some(Reason::Unavailable),
                );
                *match result.outcome {
                    Outcome::Delivered => &mut self.delivered,
                    Outcome::Stored => &mut self.stored,
                    Outcome::Rejected => &mut self.rejected,
                    Outcome::Unknown => &mut self.unknown,
                } += 1;
            }
        }
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { delivered, stored, rejected, unknown, .. } = self;
        write!(f, "{delivered} delivered, {stored} stored, {rejected} rejected, {unknown} unknown")
    }
}

/// A load whose promises were all kept.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// All results.
    pub results: Results,
    /// Messages that were shown once more, to a later session.
    pub repeats: usize,
    /// Of those, the ones that were not marked: no server knew of the earlier attempt.
    pub unmarked: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { results, repeats, unmarked } = self;
        write!(f, "{results}; {repeats} shown again to a later session, {unmarked} unmarked")
    }
}
