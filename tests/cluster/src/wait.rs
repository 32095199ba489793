//! Waiting for a condition, with a deadline.

use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, sleep};

/// The deadline of what takes a second or two on an idle machine. A failing test waits for it once.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(100);

/// Looks again and again until `look` has a value, and returns it. An error of `look` means not yet.
///
/// # Errors
/// Not within `deadline`; the text says `what`, and what the last look failed with.
pub async fn eventually<T>(
    deadline: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let end = Instant::now() + deadline;
    loop {
        let seen = look().await;
        match seen {
            Ok(Some(value)) => return Ok(value),
            Ok(None) if Instant::now() > end => {
                return Err(anyhow!("not within {deadline:?}: {what}"));
            }
            Err(error) if Instant::now() > end => {
                return Err(error.context(format!("not within {deadline:?}: {what}")));
            }
            Ok(None) | Err(_) => sleep(LOOK).await,
        }
    }
}
