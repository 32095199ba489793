//! When a cluster is looked at again: pure but for the jitter.

use std::time::Duration;

use rand::RngExt;

use crate::metrics::Reconciled;
use crate::model::Problem;

/// The first delay after a failure; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// The longest delay after failures.
const LONGEST: Duration = Duration::from_secs(300);
/// The longest delay where nobody tells that a foreign object is gone, or that a kind has come.
/// Looking costs a read.
const UNTOLD: Duration = Duration::from_secs(30);

/// Counts failures in a row of one cluster.
#[derive(Debug, Default)]
pub(super) struct Again {
    failures: u32,
}

impl Again {
    /// The delay after a reconcile that ended so.
    pub(super) fn after(
        &mut self,
        problems: &[Problem],
        how: Reconciled,
        resync: Duration,
    ) -> Duration {
        let resync = resync.mul_f64(rand::rng().random_range(0.9..=1.1));
        let retried = problems.iter().any(is_retried);
        let failed = matches!(how, Reconciled::Deadline | Reconciled::Panicked) || retried;
        if !failed {
            self.failures = 0;
            let untold = problems.iter().any(is_untold);
            return if untold { UNTOLD.min(resync) } else { resync };
        }
        let delay = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        delay.mul_f64(rand::rng().random_range(0.8..=1.2)).clamp(FIRST, LONGEST)
    }
}

/// Whether trying again may help though nothing that is watched changes.
fn is_retried(problem: &Problem) -> bool {
    match problem {
        Problem::Unavailable { .. }
        | Problem::Forbidden { .. }
        | Problem::LinkIdentityNotAllowed { .. } => true,
        Problem::InvalidSpec { .. }
        | Problem::NameConflict { .. }
        | Problem::Rejected { .. }
        | Problem::KindMissing { .. }
        | Problem::SecretNotFound { .. } => false,
    }
}

fn is_untold(problem: &Problem) -> bool {
    matches!(problem, Problem::NameConflict { .. } | Problem::KindMissing { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ChildKind;

    const RESYNC: Duration = Duration::from_secs(300);

    fn unavailable() -> Problem {
        Problem::Unavailable { message: "no answer in time".to_owned() }
    }

    #[test]
    fn failures_are_retried_after_one_second_and_ever_later_up_to_five_minutes() {
        let mut again = Again::default();
        let mut delays = Vec::new();
        for _ in 0..40 {
            delays.push(again.after(&[unavailable()], Reconciled::Failed, RESYNC));
        }
        assert!(delays[0] < Duration::from_millis(1_500), "{delays:?}");
        assert!(delays[4] > Duration::from_secs(12), "{delays:?}");
        assert!(delays.iter().all(|delay| *delay >= FIRST && *delay <= LONGEST), "{delays:?}");
        assert!(delays[39] > LONGEST / 2, "{delays:?}");
        again.after(&[], Reconciled::Unchanged, RESYNC);
        let first = again.after(&[unavailable()], Reconciled::Failed, RESYNC);
        assert!(first < Duration::from_millis(1_500), "{first:?}");
    }

    #[test]
    fn what_a_user_must_change_waits_for_the_next_resync() {
        let mut again = Again::default();
        let invalid = Problem::InvalidSpec { message: String::new() };
        let delay = again.after(&[invalid], Reconciled::Stalled, RESYNC);
        assert!(delay > RESYNC / 2, "{delay:?}");
        let conflict = Problem::NameConflict { kind: ChildKind::Service, name: "web".to_owned() };
        assert_eq!(again.after(&[conflict], Reconciled::Stalled, RESYNC), UNTOLD);
    }

    #[test]
    fn resyncs_of_many_clusters_do_not_come_together() {
        let mut again = Again::default();
        let mut delay = || again.after(&[], Reconciled::Unchanged, RESYNC);
        let (mut least, mut most) = (RESYNC, RESYNC);
        for _ in 0..100 {
            let delay = delay();
            (least, most) = (least.min(delay), most.max(delay));
        }
        assert!(most - least > RESYNC / 20);
        assert!(least >= RESYNC.mul_f64(0.89) && most <= RESYNC.mul_f64(1.11));
    }
}
