//! The stop signal: one flag that goes up once and stays up.
//!
//! Owns the flag and the process's signal handlers. What a part does when it is told to stop, and
//! in which order parts stop, is not decided here.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Makes a stop signal: who may raise it, and who waits for it.
pub fn channel() -> (Trigger, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Trigger { sender: Arc::new(sender) }, Stop { receiver })
}

/// The waiting side; clones wait for the same signal.
#[derive(Clone, Debug)]
pub struct Stop {
    receiver: watch::Receiver<bool>,
}

impl Stop {
    /// Returns once the signal is up, at once if it is already. It counts as up, too, when every
    /// [`Trigger`] is gone, for then nobody could raise it. Cancel safe.
    pub async fn stopped(&self) {
        // An error means that every trigger is gone.
        let _ = self.receiver.clone().wait_for(|stopped| *stopped).await;
    }

    /// Whether the signal is up.
    pub fn is_stopped(&self) -> bool {
        *self.receiver.borrow() || self.receiver.has_changed().is_err()
    }
}

/// The raising side; clones raise the same signal.
#[derive(Clone, Debug)]
pub struct Trigger {
    sender: Arc<watch::Sender<bool>>,
}

impl Trigger {
    /// Raises the signal. Doing it again changes nothing.
    pub fn stop(&self) {
        self.sender.send_replace(true);
    }

    /// Another [`Stop`] for this signal.
    pub fn subscribe(&self) -> Stop {
        Stop { receiver: self.sender.subscribe() }
    }
}

/// Takes over SIGTERM and SIGINT for the whole process: the first raises `trigger`, a second one
/// ends the process at once with exit code 128 + its number (130 for SIGINT, 143 for SIGTERM).
///
/// The handlers are in place when this returns. Must be called within a Tokio runtime, whose end
/// is also the end of the listening.
///
/// # Errors
///
/// When the operating system refuses a handler.
pub fn signals(trigger: Trigger) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Not joined: it holds nothing, and must outlive every task that is slow to stop.
    tokio::spawn(async move {
        let first = next(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = name(first), "stopping; a second signal ends the process at once");
        trigger.stop();
        let second = next(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = name(second), "second signal: ending at once");
        std::process::exit(128 + second.as_raw_value());
    });
    Ok(())
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> SignalKind {
    tokio::select! {
        _ = terminate.recv() => SignalKind::terminate(),
        _ = interrupt.recv() => SignalKind::interrupt(),
    }
}

fn name(kind: SignalKind) -> &'static str {
    if kind == SignalKind::interrupt() { "SIGINT" } else { "SIGTERM" }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn every_clone_sees_the_signal_and_it_stays_up() {
        let (trigger, stop) = channel();
        let waiting = tokio::spawn({
            let stop = stop.clone();
            async move { stop.stopped().await }
        });
        assert!(!stop.is_stopped());
        trigger.stop();
        trigger.stop();
        waiting.await.expect("the waiting task ends");
        stop.stopped().await;
        assert!(stop.is_stopped());
        assert!(trigger.subscribe().is_stopped());
    }

    #[tokio::test]
    async fn a_signal_that_nobody_can_raise_any_more_counts_as_up() {
        let (trigger, stop) = channel();
        let clone = trigger.clone();
        drop(trigger);
        assert!(!stop.is_stopped());
        drop(clone);
        assert!(stop.is_stopped());
        stop.stopped().await;
    }

    /// Not a test of its own: the process that `a_second_signal_ends_the_process` sends signals to.
    #[tokio::test]
    #[ignore = "run by another test, in a process of its own"]
    async fn process_that_is_slow_to_stop() {
        let (trigger, stop) = channel();
        signals(trigger).expect("handlers");
        println!("\nready");
        let never_stops = async {
            stop.stopped().await;
            println!("\nstopping");
            std::future::pending::<()>().await;
        };
        // Whatever becomes of the other test, this process ends, and with another exit code.
        let _ = timeout(Duration::from_secs(60), never_stops).await;
    }

    #[test]
    fn a_second_signal_ends_the_process() {
        for (number, code) in [("INT", 130), ("TERM", 143)] {
            let mut child = Command::new(std::env::current_exe().expect("own path"))
                .args(["--exact", "stop::tests::process_that_is_slow_to_stop"])
                .args(["--ignored", "--nocapture"])
                .stdout(Stdio::piped())
                .spawn()
                .expect("child");
            let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
            let mut until = |wanted: &str| lines.any(|line| line.is_ok_and(|line| line == wanted));
            let send = |signal: &str| {
                Command::new("kill").args(["-s", signal, &child.id().to_string()]).status()
            };
            assert!(until("ready"));
            send("TERM").expect("kill");
            assert!(until("stopping"), "the first signal did not raise the stop");
            send(number).expect("kill");
            assert_eq!(child.wait().expect("child ends").code(), Some(code));
        }
    }
}
