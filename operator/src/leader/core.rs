//! Who leads: decisions without I/O or a clock.
//!
//! Clocks of other machines are not trusted: a Lease that somebody else holds counts as free once
//! it was seen unchanged, by this process's clock, for as long as it says that it lasts. Whoever
//! leads counts from before it sent its last renewal, and for two thirds of that time only. So
//! there is a third of it between the last write of one and the first of another, whatever the
//! clocks say, as long as they run equally fast.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

/// For how long a Lease is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    seconds: u16,
}

impl Terms {
    /// At least 3 s.
    pub fn new(seconds: u16) -> Option<Self> {
        (seconds >= 3).then_some(Self { seconds })
    }

    /// How long nobody else takes a Lease after its last renewal.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// How long its holder leads after it.
    fn lead(self) -> Duration {
        self.duration() * 2 / 3
    }

    /// Between two renewals: four fit into the time of leading.
    pub(super) fn renew(self) -> Duration {
        self.duration() / 6
    }

    /// Between two looks of one that waits.
    pub(super) fn retry(self) -> Duration {
        self.duration() / 8
    }
}

/// What is to be done with the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is not there.
    Create,
    /// It is ours or free: it is taken or renewed, if it is still as it was read.
    Write,
    /// It is somebody else's.
    Wait,
}

/// What this process knows of the Lease.
#[derive(Debug, Default)]
pub(super) struct Election {
    /// When the last renewal that succeeded was begun.
    renewed: Option<Instant>,
    /// The version that somebody else wrote, and when it was first seen.
    other: Option<(Option<String>, Instant)>,
}

impl Election {
    /// What to do with the Lease that was found.
    pub(super) fn decide(&mut self, now: Instant, found: Option<&Lease>, identity: &str) -> Step {
        let Some(found) = found else { return Step::Create };
        let spec = found.spec.as_ref();
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        if holder == identity {
            return Step::Write;
        }
        self.renewed = None;
        if holder.is_empty() {
            return Step::Write;
        }
        let version = &found.metadata.resource_version;
        let since = match &self.other {
            Some((seen, since)) if seen == version => *since,
            _ => {
                self.other = Some((version.clone(), now));
                now
            }
        };
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
        let lasts = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        if now.saturating_duration_since(since) >= lasts { Step::Write } else { Step::Wait }
    }

    /// A write that was begun then has succeeded.
    pub(super) fn written(&mut self, begun: Instant) {
        self.renewed = Some(begun);
        self.other = None;
    }

    /// Until when this process leads, if it does.
    pub(super) fn leads_until(&self, terms: Terms) -> Option<Instant> {
        Some(self.renewed? + terms.lead())
    }
}

/// The Lease as this process takes or renews it.
pub(super) fn taken(found: Option<Lease>, name: &str, identity: &str, terms: Terms) -> Lease {
    let mut lease = found.unwrap_or_else(|| Lease {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ..Lease::default()
    });
    let now = MicroTime(Timestamp::now());
    let spec = lease.spec.get_or_insert_default();
    if spec.holder_identity.as_deref() != Some(identity) {
        spec.holder_identity = Some(identity.to_owned());
        spec.acquire_time = Some(now.clone());
        spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count + 1));
    }
    spec.lease_duration_seconds = Some(terms.seconds.into());
    spec.renew_time = Some(now);
    lease
}

/// The Lease as it is given back.
pub(super) fn freed(mut lease: Lease) -> Lease {
    let spec = lease.spec.take().unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        renew_time: Some(MicroTime(Timestamp::now())),
        lease_transitions: spec.lease_transitions,
        ..LeaseSpec::default()
    });
    lease
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: &str = "a";
    const OTHER: &str = "b";

    fn terms() -> Terms {
        Terms::new(15).expect("long enough")
    }

    fn held_by(holder: &str, version: &str) -> Lease {
        let mut lease = taken(None, "operator", holder, terms());
        lease.metadata.resource_version = Some(version.to_owned());
        lease
    }

    #[test]
    fn a_lease_is_taken_where_it_is_free_and_renewed_where_it_is_ours() {
        let now = Instant::now();
        let mut election = Election::default();
        assert_eq!(election.decide(now, None, ME), Step::Create);
        assert_eq!(election.decide(now, Some(&held_by(ME, "1")), ME), Step::Write);
        let free = freed(held_by(OTHER, "1"));
        assert_eq!(election.decide(now, Some(&free), ME), Step::Write);
        let transitions =
            taken(Some(free), "operator", ME, terms()).spec.and_then(|spec| spec.lease_transitions);
        assert_eq!(transitions, Some(1));
    }

    #[test]
    fn a_lease_of_another_is_taken_only_after_its_time_by_our_own_clock() {
        let start = Instant::now();
        let mut election = Election::default();
        let lasts = terms().duration();
        let almost = start + lasts - Duration::from_millis(1);
        assert_eq!(election.decide(start, Some(&held_by(OTHER, "1")), ME), Step::Wait);
        assert_eq!(election.decide(almost, Some(&held_by(OTHER, "1")), ME), Step::Wait);
        // Renewed meanwhile: counted anew.
        assert_eq!(election.decide(almost, Some(&held_by(OTHER, "2")), ME), Step::Wait);
        assert_eq!(election.decide(start + lasts, Some(&held_by(OTHER, "2")), ME), Step::Wait);
        assert_eq!(election.decide(almost + lasts, Some(&held_by(OTHER, "2")), ME), Step::Write);
    }

    #[test]
    fn whoever_leads_stops_before_another_may_begin() {
        let start = Instant::now();
        let mut leader = Election::default();
        leader.decide(start, None, ME);
        leader.written(start);
        let until = leader.leads_until(terms()).expect("it leads");
        // The other one sees the write at once, in the best case.
        let mut other = Election::default();
        other.decide(start, Some(&held_by(ME, "1")), OTHER);
        assert_eq!(other.decide(until, Some(&held_by(ME, "1")), OTHER), Step::Wait);
        let margin = start + terms().duration() - until;
        assert_eq!(margin, Duration::from_secs(5));
    }

    #[test]
    fn whoever_reads_that_another_holds_the_lease_leads_no_more() {
        let now = Instant::now();
        let mut election = Election::default();
        election.written(now);
        assert_eq!(election.decide(now, Some(&held_by(OTHER, "9")), ME), Step::Wait);
        assert_eq!(election.leads_until(terms()), None);
    }
}
