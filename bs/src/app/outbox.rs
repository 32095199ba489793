//! What waits for a terminal: pushed by the engine, which never waits, taken by the session's task.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use wardlink_wire::CloseCode;
use wardlink_wire::terminal::Down;

/// Bytes that may wait for a terminal: a window of 256 KiB from the owner, the largest message
/// beyond it, and results. A terminal with more does not read, and is closed.
const WAITING_BYTES: usize = 1024 * 1024;
/// What a frame costs beside its body, in bytes.
const FRAME_BYTES: usize = 256;

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Down>,
    bytes: usize,
    close: Option<CloseCode>,
    /// As many sends are open as the terminal may have and more: it is not read.
    full: bool,
}

/// One terminal's outbox, shared by the engine and the session's task.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox(Arc<(Mutex<State>, Notify)>);

fn cost(down: &Down) -> usize {
    FRAME_BYTES + if let Down::Message(message) = down { message.body.len() } else { 0 }
}

impl Outbox {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        // A panic while it was held leaves a plain queue: nothing to distrust.
        f(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Never waits. Beyond the bound the outbox is closed instead: false.
    pub(super) fn push(&self, down: Down) -> bool {
        let fits = self.with(|state| {
            state.bytes += cost(&down);
            // A result makes room; whether there still is too little shows at the next send.
            state.full &= !matches!(down, Down::Result { .. });
            if state.bytes > WAITING_BYTES {
                state.close.get_or_insert(CloseCode::TooSlow);
                return false;
            }
            state.frames.push_back(down);
            true
        });
        self.0.1.notify_one();
        fits
    }

    /// The terminal is not to be read until its next result.
    pub(super) fn hold(&self) {
        self.with(|state| state.full = true);
        self.0.1.notify_one();
    }

    /// Whether the terminal is not to be read now.
    pub(super) fn holds(&self) -> bool {
        self.with(|state| state.full)
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.with(|state| state.bytes)
    }

    /// Closes after what waits already.
    pub(super) fn close(&self, code: CloseCode) {
        self.with(|state| *state.close.get_or_insert(code));
        self.0.1.notify_one();
    }

    /// Waits until there is something. Cancel safe.
    pub(super) async fn filled(&self) {
        self.0.1.notified().await;
    }

    /// All that waits, and whether to close after it.
    pub(super) fn take(&self, into: &mut VecDeque<Down>) -> Option<CloseCode> {
        self.with(|state| {
            state.bytes = 0;
            std::mem::swap(&mut state.frames, into);
            state.close
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_does_not_read_is_closed_at_the_bound() {
        let outbox = Outbox::default();
        let down = || Down::Reconnect { after_ms: 1 };
        let fits = (0..).take_while(|_| outbox.push(down())).count();
        assert_eq!(fits, WAITING_BYTES / FRAME_BYTES);
        let mut frames = VecDeque::new();
        assert_eq!(outbox.take(&mut frames), Some(CloseCode::TooSlow));
        assert_eq!(frames.len(), fits);
    }
}
