//! How long to wait before the next attempt: exponential, with full jitter.
//!
//! Owns the arithmetic only; sleeping, and giving up, are the caller's.

use std::time::Duration;

use rand::{Rng, RngExt};

/// Delays for one thing that is tried again until it succeeds.
///
/// Each delay is drawn evenly from zero to a ceiling, so that many that failed together do not
/// come back together. The ceiling starts at `min`, doubles with each delay and stays at `max`.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// Starts with delays of up to `min`; no delay is ever above `max` (or `min`, if that is more).
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), ceiling: min }
    }

    /// The delay before the next attempt; the one after it may be twice as long.
    pub fn next_delay(&mut self) -> Duration {
        self.draw(&mut rand::rng())
    }

    /// Starts anew after a success.
    pub fn reset(&mut self) {
        self.ceiling = self.min;
    }

    fn draw(&mut self, rng: &mut impl Rng) -> Duration {
        let delay = rng.random_range(Duration::ZERO..=self.ceiling);
        self.ceiling = self.ceiling.saturating_mul(2).min(self.max);
        delay
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_millis(350);

    fn longest_of_many(backoff: &Backoff, rng: &mut StdRng) -> Duration {
        (0..2_000).map(|_| backoff.clone().draw(rng)).max().unwrap_or_default()
    }

    #[test]
    fn the_ceiling_doubles_up_to_max_and_reset_starts_anew() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::new(MIN, MAX);
        for ceiling_ms in [100, 200, 350, 350] {
            let ceiling = Duration::from_millis(ceiling_ms);
            let longest = longest_of_many(&backoff, &mut rng);
            assert!(longest <= ceiling, "{longest:?} is above {ceiling:?}");
            assert!(longest > ceiling * 9 / 10, "{longest:?} is far below {ceiling:?}");
            backoff.draw(&mut rng);
        }
        backoff.reset();
        assert!(longest_of_many(&backoff, &mut rng) <= MIN);
    }

    #[test]
    fn jitter_is_full_so_short_delays_occur_at_any_ceiling() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut backoff = Backoff::new(MAX, MAX);
        let shortest = (0..2_000).map(|_| backoff.draw(&mut rng)).min();
        assert!(shortest < Some(MAX / 20));
    }

    #[test]
    fn extreme_bounds_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::ZERO);
        backoff.next_delay();
        backoff.next_delay();
        assert_eq!(Backoff::new(Duration::ZERO, Duration::ZERO).next_delay(), Duration::ZERO);
    }
}
