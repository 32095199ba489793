//! Waiting for a condition, with a deadline.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep, timeout};

/// The deadline of what takes no time on an idle machine. A failing test waits for it once.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(10);

/// Looks again and again until `condition` holds.
///
/// # Errors
/// It did not hold within `deadline`; the text says `what`.
pub async fn eventually<F>(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = bool>,
{
    let end = Instant::now() + deadline;
    while !condition().await {
        if Instant::now() > end {
            bail!("not within {deadline:?}: {what}");
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// The result of `future`, if it comes in time.
///
/// # Errors
/// It did not come within `deadline`; the text says `what`.
pub async fn within<T>(
    deadline: Duration,
    what: &str,
    future: impl Future<Output = T>,
) -> anyhow::Result<T> {
    timeout(deadline, future).await.with_context(|| format!("not within {deadline:?}: {what}"))
}
