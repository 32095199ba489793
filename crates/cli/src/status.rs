//! Tells on stderr how a client's connection stands.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
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
pub(crate) async fn narrate(status: watch::Receiver<Status>, tell: Tell) -> Ended {
    narrate_to(status, tell, |line| anstream::eprintln!("{line}")).await
}

async fn narrate_to(
    mut status: watch::Receiver<Status>,
    tell: Tell,
    mut say: impl FnMut(&str),
) -> Ended {
    let mut told = None;
    let mut away_since = None;
    loop {
        let now = status.borrow_and_update().clone();
        let patience_ends = match now {
            Status::Ended(ended) => return ended,
            Status::Connected { .. } => {
                away_since = None;
                None
            }
            // What is over in a moment is not worth a line.
            Status::Connecting { .. } => {
                Some(*away_since.get_or_insert_with(Instant::now) + PATIENCE)
            }
        };
        let early = patience_ends.is_some_and(|end| Instant::now() < end);
        if let Some(line) = line(&now, tell).filter(|_| !early)
            && told.as_ref() != Some(&line)
        {
            say(&line);
            told = Some(line);
        }
        let changed = match patience_ends.filter(|_| early) {
            Some(end) => timeout_at(end, status.changed()).await.unwrap_or(Ok(())),
            None => status.changed().await,
        };
        if changed.is_err() {
            return Ended::Stopped;
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

    fn problem(n: u64) -> Status {
        Status::Connecting { problem: Some(format!("problem {n}").into()) }
    }

    /// What is told of a client that stays away for `times` of 100 ms, each with its problem.
    async fn told(times: u64) -> Vec<String> {
        let (sender, status) = watch::channel(Status::Connecting { problem: None });
        let narration = tokio::spawn(async move {
            let mut lines = Vec::new();
            let tell = Tell::All;
            let ended = narrate_to(status, tell, |line| lines.push(line.to_owned())).await;
            assert_eq!(ended, Ended::Closed(4500));
            lines
        });
        for n in 0..times {
            sender.send_replace(problem(n / 4));
            tokio::time::sleep(PATIENCE / 5).await;
        }
        sender.send_replace(Status::Ended(Ended::Closed(4500)));
        narration.await.expect("told")
    }

    #[tokio::test(start_paused = true)]
    async fn only_problems_that_last_are_told_and_each_once() {
        assert!(told(4).await.is_empty());
        let lines = told(12).await;
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("problem 1; trying again"));
        assert!(lines[1].ends_with("problem 2; trying again"));
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
