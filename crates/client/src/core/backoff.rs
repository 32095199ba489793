//! How long to wait before the next connection: exponential, with full jitter. Pure: the random
//! numbers come from a seed.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Delays drawn evenly from zero to a ceiling that doubles from `min` to `max`.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    ceiling: Duration,
    rng: SmallRng,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        let max = max.max(min);
        Self { min, max, ceiling: min, rng: SmallRng::seed_from_u64(seed) }
    }

    pub(super) fn next_delay(&mut self) -> Duration {
        let delay = self.rng.random_range(Duration::ZERO..=self.ceiling);
        self.ceiling = self.ceiling.saturating_mul(2).min(self.max);
        delay
    }

    pub(super) fn reset(&mut self) {
        self.ceiling = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(5);

    fn delays(seed: u64, count: usize) -> Vec<Duration> {
        let mut backoff = Backoff::new(MIN, MAX, seed);
        (0..count).map(|_| backoff.next_delay()).collect()
    }

    #[test]
    fn delays_stay_under_a_doubling_ceiling_and_use_all_of_it() {
        for attempt in 0..12 {
            let ceiling = (MIN * 2_u32.pow(attempt as u32)).min(MAX);
            let drawn: Vec<_> = (0..500).map(|seed| delays(seed, attempt + 1)[attempt]).collect();
            assert!(drawn.iter().all(|delay| *delay <= ceiling));
            assert!(drawn.iter().any(|delay| *delay > ceiling * 9 / 10));
            assert!(drawn.iter().any(|delay| *delay < ceiling / 10));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_delays_and_reset_starts_anew() {
        assert_eq!(delays(7, 20), delays(7, 20));
        assert_ne!(delays(7, 20), delays(8, 20));
        let mut backoff = Backoff::new(MIN, MAX, 1);
        for _ in 0..10 {
            backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay() <= MIN);
    }
}
