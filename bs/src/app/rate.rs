//! How much one caller may post in a second, messages or KiB: a token bucket for each end that has
//! posted lately.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use wardlink_wire::EndId;

/// Buckets are looked through after so many posts: those that are full again are let go.
const LOOK: u32 = 1_024;
/// Most buckets: 65,536 of at most 250 bytes are 16 MiB. With so many callers within one burst
/// all are refused.
const BUCKETS_MAX: usize = 65_536;
/// A bucket holds what so many seconds allow.
const BURST_S: u32 = 2;

/// The buckets of all callers.
#[derive(Debug)]
pub(super) struct Buckets<C: Clock = DefaultClock> {
    limiter: RateLimiter<EndId, HashMapStateStore<EndId>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    posts: AtomicU32,
}

impl Buckets {
    /// Lets each caller post so many a second, and twice as many at once.
    pub(super) fn new(a_second: NonZeroU32) -> Self {
        Self::with_clock(a_second, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Buckets<C> {
    fn with_clock(a_second: NonZeroU32, clock: C) -> Self {
        let burst = a_second.saturating_mul(NonZeroU32::new(BURST_S).unwrap_or(NonZeroU32::MIN));
        let quota = Quota::per_second(a_second).allow_burst(burst);
        Self {
            limiter: RateLimiter::new(quota, HashMapStateStore::default(), clock.clone()),
            clock,
            posts: AtomicU32::new(0),
        }
    }

    /// Takes so many out of a caller's bucket.
    ///
    /// # Errors
    /// The bucket does not hold them: after so long it does. (More than it can ever hold wait a
    /// second, and again.)
    pub(super) fn take(&self, caller: &EndId, n: NonZeroU32) -> Result<(), Duration> {
        if self.posts.fetch_add(1, Ordering::Relaxed) % LOOK == LOOK - 1 {
            self.limiter.retain_recent();
        }
        if self.limiter.len() >= BUCKETS_MAX {
            self.limiter.retain_recent();
        }
        if self.limiter.len() >= BUCKETS_MAX {
            return Err(Duration::from_secs(1));
        }
        let now = self.clock.now();
        match self.limiter.check_key_n(caller, n) {
            Ok(taken) => taken.map_err(|refused| refused.wait_time_from(now)),
            Err(_) => Err(Duration::from_secs(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    fn buckets() -> (Buckets<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Buckets::with_clock(NonZeroU32::new(10).unwrap(), clock.clone()), clock)
    }

    #[test]
    fn a_caller_that_is_too_fast_is_told_when_to_come_again_and_others_are_not_hurt() {
        let (buckets, clock) = buckets();
        let (a, b) = ("H-A-a".parse().unwrap(), "H-A-b".parse().unwrap());
        assert!((0..20).all(|_| buckets.take(&a, ONE).is_ok()));
        let wait = buckets.take(&a, ONE).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_millis(100), "{wait:?}");
        assert!(buckets.take(&b, ONE).is_ok());
        clock.advance(Duration::from_millis(100));
        assert!(buckets.take(&a, ONE).is_ok() && buckets.take(&a, ONE).is_err());
    }

    #[test]
    fn buckets_of_callers_that_rest_are_let_go() {
        let (buckets, clock) = buckets();
        for n in 0..10 * LOOK {
            assert!(buckets.take(&format!("H-A-u{n}").parse().unwrap(), ONE).is_ok());
            clock.advance(Duration::from_millis(1));
        }
        assert!(buckets.limiter.len() < 3 * LOOK as usize, "{}", buckets.limiter.len());
    }

    #[test]
    fn where_there_is_room_after_a_look_nobody_is_refused_for_want_of_it() {
        let (buckets, clock) = buckets();
        let caller = |n: usize| format!("H-A-u{n}").parse().unwrap();
        assert!((0..BUCKETS_MAX).all(|n| buckets.take(&caller(n), ONE).is_ok()));
        assert!(buckets.take(&caller(BUCKETS_MAX), ONE).is_err(), "all were here just now");
        clock.advance(Duration::from_secs(60));
        assert!(buckets.take(&caller(0), ONE).is_ok(), "and all have rested");
    }
}
