//! The database's clock as this process knows it: a lower and an upper bound, from renewals.

use super::api::Millis;

/// How much the bounds are widened for each second of age, in milliseconds: quartz clocks differ
/// by less than 100 ppm; ten times that costs nothing.
const DRIFT_MS_PER_S: u64 = 1;

#[derive(Debug, Clone, Copy)]
struct Sample {
    clock_ms: u64,
    begun: Millis,
    answered: Millis,
}

impl Sample {
    fn width(&self, now: Millis) -> u64 {
        self.answered - self.begun + now.saturating_sub(self.answered) / 1000 * 2 * DRIFT_MS_PER_S
    }
}

/// Bounds of the database's clock. A sample says that the clock stood at `clock_ms` at some
/// moment between the beginning of an operation and its answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DbClock(Option<Sample>);

impl DbClock {
    /// Takes a sample if it is at least as sharp as the one that is held.
    pub(super) fn sample(&mut self, clock_ms: u64, begun: Millis, answered: Millis) {
        let new = Sample { clock_ms, begun, answered };
        if self.0.is_none_or(|old| new.width(answered) <= old.width(answered)) {
            self.0 = Some(new);
        }
    }

    /// Whether there is a sample.
    pub(super) fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// The database's clock is not behind this: what a message's life begins at.
    pub(super) fn earliest(&self, now: Millis) -> u64 {
        self.0.map_or(0, |s| {
            let passed = now.saturating_sub(s.answered);
            s.clock_ms + passed - passed / 1000 * DRIFT_MS_PER_S
        })
    }

    /// The database's clock is not ahead of this: what expiry is judged by.
    pub(super) fn latest(&self, now: Millis) -> u64 {
        self.0.map_or(0, |s| {
            let passed = now.saturating_sub(s.begun);
            s.clock_ms + passed + passed / 1000 * DRIFT_MS_PER_S
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_lies_between_its_bounds_and_a_blurred_sample_does_not_replace_a_sharp_one() {
        let mut clock = DbClock::default();
        clock.sample(1_000_000, 10, 14);
        assert_eq!((clock.earliest(14), clock.latest(14)), (1_000_000, 1_000_004));
        clock.sample(1_000_900, 20, 9_000);
        assert_eq!(clock.latest(9_000) - clock.earliest(9_000), 4 + 2 * 8);
        clock.sample(2_000_000, 60_000, 60_003);
        assert_eq!(clock.earliest(60_003), 2_000_000);
    }
}
