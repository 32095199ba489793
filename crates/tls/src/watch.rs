//! Files are read again every few seconds. What they hold is compared, not their times: where a
//! whole directory is exchanged by a symbolic link, times say nothing.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use tokio::time::sleep;

/// How often files are read again: soon enough for a person who waits for it, and a few hundred
/// microseconds of work.
pub const POLL: Duration = Duration::from_secs(5);

/// What is made of files and can be made again.
pub trait Reload {
    /// Why it cannot be made again.
    type Error: Error;

    /// Reads the files, and exchanges what was made of them where they hold something else. What
    /// is open stays as it is; what is new uses the new. Blocks on the file system. True:
    /// exchanged.
    ///
    /// # Errors
    /// The files cannot be used, perhaps because only some of them have been exchanged yet; all
    /// stays as it was.
    fn reload(&self) -> Result<bool, Self::Error>;
}

/// Reloads every `every` until `stop` is ready. A failure is logged once, until it is another one
/// or is over; `what` says in the log what the files are. Cancel safe.
pub async fn watch<R>(
    what: &'static str,
    reload: R,
    every: Duration,
    stop: impl Future<Output = ()>,
) where
    R: Reload + Clone + Send + 'static,
{
    let mut told = None;
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = sleep(every) => {}
        }
        let again = reload.clone();
        let result = tokio::task::spawn_blocking(move || again.reload().map_err(|e| line(&e)));
        match result.await {
            Ok(Ok(changed)) => {
                told = None;
                if changed {
                    tracing::info!(what, "files have changed and are in use");
                }
            }
            Ok(Err(error)) => {
                if let Some(error) = news(&mut told, error) {
                    tracing::warn!(what, error, "files cannot be used, keeping what they held");
                }
            }
            Err(error) => tracing::error!(what, %error, "reading files again has failed"),
        }
    }
}

/// An error and what caused it, in one line.
pub fn line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

/// The line, unless it is the one that was told last.
fn news(told: &mut Option<String>, line: String) -> Option<&str> {
    if told.as_ref() == Some(&line) {
        return None;
    }
    Some(told.insert(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_until_it_is_another_one() {
        let mut told = None;
        assert!(news(&mut told, "a".into()).is_some());
        assert!(news(&mut told, "a".into()).is_none());
        assert!(news(&mut told, "b".into()).is_some());
        assert!(news(&mut told, "a".into()).is_some());
    }
}
