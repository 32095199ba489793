//! Log lines that a stranger can cause, bounded: one in a while, with the number of those that
//! were held back. Metrics count them all.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One line in 10 s: a person sees that it goes on, and a day of it is no more than 8,640 lines.
const BETWEEN: Duration = Duration::from_secs(10);

/// Decides whether a line is written.
#[derive(Debug, Default)]
pub struct Hush(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    held_back: u64,
}

impl Hush {
    /// Whether to write a line `now`, and then how many were held back since the last one.
    pub fn ask(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < BETWEEN) {
            state.held_back += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_a_while_says_how_many_it_stands_for() {
        let (hush, start) = (Hush::default(), Instant::now());
        assert_eq!(hush.ask(start), Some(0));
        for ms in [0, 1, 9_999] {
            assert_eq!(hush.ask(start + Duration::from_millis(ms)), None);
        }
        assert_eq!(hush.ask(start + BETWEEN), Some(3));
        assert_eq!(hush.ask(start + BETWEEN * 2), Some(0));
    }
}
