//! Files are read again every few seconds. What they hold is compared, not their times: where a
//! whole directory is exchanged by a symbolic link, times say nothing.

use std::future::Future;
use std::time::Duration;

use tokio::time::sleep;

use crate::error::TlsError;

/// How often files are read again: soon enough for a person who waits for it, and a few hundred
/// microseconds of work.
pub const POLL: Duration = Duration::from_secs(5);

/// What is made of files and can be made again.
pub trait Reload {
    /// Reads the files, and exchanges what was made of them where they hold something else. What
    /// is open stays as it is; new handshakes use the new. Blocks on the file system. True:
    /// exchanged.
    ///
    /// # Errors
    /// The files cannot be used, perhaps because only some of them have been exchanged yet; all
    /// stays as it was.
    fn reload(&self) -> Result<bool, TlsError>;
}

/// Reloads every `every` until `stop` is ready. A failure is logged once, until it is another one
/// or is over. Cancel safe.
pub async fn watch<R>(reload: R, every: Duration, stop: impl Future<Output = ()>)
where
    R: Reload + Clone + Send + 'static,
{
    let mut told = Told::default();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = sleep(every) => {}
        }
        let again = reload.clone();
        match tokio::task::spawn_blocking(move || again.reload()).await {
            Ok(result) => told.tell(result),
            Err(error) => tracing::error!(%error, "reading certificates again has failed"),
        }
    }
}

/// What was logged last.
#[derive(Debug, Default)]
struct Told(Option<String>);

impl Told {
    fn tell(&mut self, result: Result<bool, TlsError>) {
        match result {
            Ok(true) => {
                self.0 = None;
                tracing::info!("certificates have changed, new connections use the new ones");
            }
            Ok(false) => self.0 = None,
            Err(error) => {
                if let Some(line) = self.news(error.line()) {
                    let reason = error.reason();
                    tracing::warn!(
                        error = line,
                        reason,
                        "certificates cannot be read again, keeping those in use"
                    );
                }
            }
        }
    }

    /// The line, unless it was the last one.
    fn news(&mut self, line: String) -> Option<&str> {
        if self.0.as_ref() == Some(&line) {
            return None;
        }
        Some(self.0.insert(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_until_it_is_over() {
        let mut told = Told::default();
        assert!(told.news("a".into()).is_some());
        assert!(told.news("a".into()).is_none());
        assert!(told.news("b".into()).is_some());
        told.tell(Ok(false));
        assert!(told.news("b".into()).is_some());
    }
}
