//! What one terminal may send: messages and bytes a second, and what happens above it.
//!
//! Pure. Above a rate the terminal is not read for a while, so that TCP holds it back; one that
//! is above it for a minute without a rest is closed.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;
use wardlink_service::bucket::Bucket;

/// A terminal that was above its rates for so long, and never had half of its burst back, is
/// closed. It has sent sixty times what it may in a second, has been told by TCP all the while,
/// and costs a read of its socket each time that it is let on.
const OVER_MAX: Duration = Duration::from_secs(60);

/// What a session may send in a second on average; twice as much at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRates {
    /// Frames, control frames too.
    pub frames: NonZeroU32,
    /// Bytes of frames.
    pub bytes: NonZeroU32,
}

impl Default for SessionRates {
    /// 500 frames: a gateway of 100 pumps that sends for each once a second and acknowledges as
    /// much uses 200. 1 MiB: sixteen messages of the largest size.
    fn default() -> Self {
        const FRAMES: NonZeroU32 = NonZeroU32::new(500).unwrap();
        const BYTES: NonZeroU32 = NonZeroU32::new(1024 * 1024).unwrap();
        Self { frames: FRAMES, bytes: BYTES }
    }
}

/// Seconds of a rate that may come at once.
const BURST: Duration = Duration::from_secs(2);

/// What a frame leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Read on.
    Go,
    /// Read on at this time.
    Pause(Instant),
    /// Above the rates for too long.
    Close,
}

/// One session's use of its rates.
#[derive(Debug)]
pub(super) struct Meter {
    frames: Bucket,
    bytes: Bucket,
    over_since: Option<Instant>,
}

impl Meter {
    /// Of a session that has sent nothing.
    pub(super) fn new(now: Instant) -> Self {
        Self { frames: Bucket::full(now), bytes: Bucket::full(now), over_since: None }
    }

    /// Counts what was read: so many frames' worth of work, and bytes.
    pub(super) fn take(
        &mut self,
        frames: u32,
        bytes: usize,
        rates: &SessionRates,
        now: Instant,
    ) -> Verdict {
        let rested = self.frames.used(now).max(self.bytes.used(now)) <= BURST / 2;
        self.frames.take(frames, rates.frames, now);
        self.bytes.take(u32::try_from(bytes).unwrap_or(u32::MAX), rates.bytes, now);
        if rested {
            self.over_since = None;
        }
        let over = self.frames.used(now).max(self.bytes.used(now)).saturating_sub(BURST);
        if over.is_zero() {
            return Verdict::Go;
        }
        match *self.over_since.get_or_insert(now) {
            since if now.duration_since(since) > OVER_MAX => Verdict::Close,
            _ => Verdict::Pause(now + over),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(frames: u32, bytes: u32) -> SessionRates {
        let number = |n| NonZeroU32::new(n).unwrap();
        SessionRates { frames: number(frames), bytes: number(bytes) }
    }

    /// Sends without a pause of its own for a while: frames that were read, and the last verdict.
    fn flood(
        meter: &mut Meter,
        rates: &SessionRates,
        now: &mut Instant,
        time: Duration,
    ) -> (u32, Verdict) {
        let (begun, mut frames, mut verdict) = (*now, 0, Verdict::Go);
        while now.duration_since(begun) < time {
            verdict = meter.take(1, 100, rates, *now);
            frames += 1;
            match verdict {
                Verdict::Go => {}
                Verdict::Pause(until) => *now = until,
                Verdict::Close => break,
            }
        }
        (frames, verdict)
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let (mut now, rates) = (Instant::now(), rates(10, 1_000_000));
        let mut meter = Meter::new(now);
        let (frames, _) = flood(&mut meter, &rates, &mut now, Duration::from_secs(10));
        // Twenty at once, then ten a second.
        assert!((119..=122).contains(&frames), "{frames}");
    }

    #[test]
    fn bytes_have_a_rate_of_their_own() {
        let (mut now, rates) = (Instant::now(), rates(1_000_000, 1_000));
        let mut meter = Meter::new(now);
        let (frames, _) = flood(&mut meter, &rates, &mut now, Duration::from_secs(10));
        assert!((119..=122).contains(&frames), "{frames}");
        assert_eq!(meter.take(1, 1_000_000, &rates, now), {
            Verdict::Pause(now + meter.bytes.used(now) - BURST)
        });
    }

    #[test]
    fn who_never_rests_is_closed_after_a_minute() {
        let (mut now, rates) = (Instant::now(), rates(10, 1_000_000));
        let (mut meter, begun) = (Meter::new(now), now);
        let (_, verdict) = flood(&mut meter, &rates, &mut now, Duration::from_secs(120));
        assert_eq!(verdict, Verdict::Close);
        assert!(now.duration_since(begun) >= OVER_MAX);
    }

    #[test]
    fn who_rests_is_never_closed() {
        let (mut now, rates) = (Instant::now(), rates(10, 1_000_000));
        let mut meter = Meter::new(now);
        for _ in 0..20 {
            let (_, verdict) = flood(&mut meter, &rates, &mut now, Duration::from_secs(30));
            assert_ne!(verdict, Verdict::Close);
            now += Duration::from_secs(2);
        }
    }
}
