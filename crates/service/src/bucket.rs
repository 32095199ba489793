//! A token bucket.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

/// A token bucket, as the time at which it is full again: each token that is taken is one share of a
/// second later. Who uses it decides how deep it is, by how much of it may be used at a time. Pure,
/// exact to a nanosecond a take, and 16 bytes.
#[derive(Debug, Clone, Copy)]
pub struct Bucket(Instant);

impl Bucket {
    /// A full one.
    pub fn full(now: Instant) -> Self {
        Self(now)
    }

    /// Takes so many tokens of those that come `per_second`, whether or not they are there.
    pub fn take(&mut self, tokens: u32, per_second: NonZeroU32, now: Instant) {
        let nanoseconds = u64::from(tokens) * 1_000_000_000 / u64::from(per_second.get());
        self.0 = self.0.max(now) + Duration::from_nanos(nanoseconds);
    }

    /// How much of it is used, as the time until it is full.
    pub fn used(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// When no more than `depth` of it is used, as [`Bucket::used`] says it.
    pub fn used_at_most(self, depth: Duration) -> Instant {
        // A clock that has no such early time has none that would have to be waited for.
        self.0.checked_sub(depth).unwrap_or(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_at_the_rate() {
        let (now, ten) = (Instant::now(), NonZeroU32::new(10).unwrap());
        let mut bucket = Bucket::full(now);
        assert_eq!(bucket.used(now), Duration::ZERO);
        bucket.take(5, ten, now);
        assert_eq!(bucket.used(now), Duration::from_millis(500));
        assert_eq!(
            bucket.used_at_most(Duration::from_millis(400)),
            now + Duration::from_millis(100)
        );
        let later = now + Duration::from_secs(60);
        bucket.take(1, ten, later);
        assert_eq!(bucket.used(later), Duration::from_millis(100), "rest is not saved up");
    }

    #[test]
    fn the_largest_numbers_fit() {
        let now = Instant::now();
        let mut bucket = Bucket::full(now);
        bucket.take(u32::MAX, NonZeroU32::MIN, now);
        assert_eq!(bucket.used(now), Duration::from_secs(u64::from(u32::MAX)));
        assert!(bucket.used_at_most(Duration::MAX) > now);
    }
}
