//! Tells on stderr how a client's connection stands.

use std::time::Duration;

use tokio::sync::watch;
use wardlink_client::{Ended, Status};

use crate::show::{BOLD, DIM, NOTE, styled};

/// How long a connection may take before a person is told of it.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tell {
    /// Each new session, and each problem.
    All,
    /// Problems that last.
    Problems,
}

/// Tells what happens until the client ends, and returns why it did.
pub(crate) async fn narrate(mut status: watch::Receiver<Status>, tell: Tell) -> Ended {
    let mut told = None;
    loop {
        let now = status.borrow_and_update().clone();
        if let Status::Ended(ended) = now {
            return ended;
        }
        let line = line(&now, tell);
        let settle = matches!(now, Status::Connecting { .. });
        // What is over in a moment is not worth a line.
        let lasts = !settle || tokio::time::timeout(PATIENCE, status.changed()).await.is_err();
        if lasts {
            if line.is_some() && line != told {
                anstream::eprintln!("{}", line.as_deref().unwrap_or_default());
                told = line;
            }
            if status.changed().await.is_err() {
                return Ended::Stopped;
            }
        }
    }
}

fn line(status: &Status, tell: Tell) -> Option<String> {
    match status {
        Status::Connected { url, welcome } if tell == Tell::All => Some(format!(
            "{} {} {}",
            styled(BOLD, &welcome.end),
            styled(DIM, format_args!("is connected to {url}, session")),
            styled(DIM, welcome.session)
        )),
        Status::Connecting { problem: Some(problem) } => {
            Some(format!("{} {problem}; trying again", styled(NOTE, "not connected:")))
        }
        Status::Connecting { problem: None } | Status::Connected { .. } | Status::Ended(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn narration_ends_with_the_client() {
        let (sender, status) = watch::channel(Status::Connecting { problem: None });
        let told = tokio::spawn(narrate(status, Tell::All));
        sender.send_replace(Status::Connecting { problem: Some("cannot reach a:1".into()) });
        tokio::time::sleep(PATIENCE * 3).await;
        sender.send_replace(Status::Ended(Ended::Closed(4500)));
        assert_eq!(told.await.expect("told"), Ended::Closed(4500));
    }

    #[test]
    fn problems_are_told_always_and_sessions_when_asked_for() {
        let problem = Status::Connecting { problem: Some("cannot reach a:1".into()) };
        for tell in [Tell::All, Tell::Problems] {
            assert!(line(&problem, tell).is_some_and(|line| line.contains("cannot reach a:1")));
            assert_eq!(line(&Status::Connecting { problem: None }, tell), None);
        }
    }
}
