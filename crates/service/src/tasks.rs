//! The process's long-lived tasks: named, joined, and critical.
//!
//! Owns their handles and the rule that no task ends unnoticed. What a task does when the stop
//! signal is up is its own business, and short-lived tasks belong to whoever spawns them.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use thiserror::Error;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use crate::stop::Trigger;

/// How long aborted tasks have to reach their next `.await`. What takes longer blocks its thread;
/// the process's exit ends it.
const ABORT_WAIT: Duration = Duration::from_secs(1);

/// Why the set of tasks did not end well.
#[derive(Debug, Error)]
pub enum TaskError {
    /// The task returned without an error, but nobody had asked it to stop.
    #[error("task {task} ended unasked")]
    Ended {
        /// The task's name.
        task: &'static str,
    },
    /// The task returned an error, before the stop signal or after it.
    #[error("task {task} failed")]
    Failed {
        /// The task's name.
        task: &'static str,
        /// What it returned.
        source: anyhow::Error,
    },
    /// The task panicked.
    #[error("task {task} panicked: {message}")]
    Panicked {
        /// The task's name.
        task: &'static str,
        /// The panic's text.
        message: String,
    },
    /// The tasks were still running at the deadline and were aborted.
    #[error("tasks did not stop in time: {}", .tasks.join(", "))]
    Late {
        /// The tasks' names, sorted.
        tasks: Vec<&'static str>,
    },
}

impl TaskError {
    /// The kind of failure, from a closed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Ended { .. } => "ended",
            Self::Failed { .. } => "failed",
            Self::Panicked { .. } => "panicked",
            Self::Late { .. } => "late",
        }
    }
}

/// A set of named tasks that run until the stop signal.
///
/// # Guarantees
///
/// When a task ends, however it ends, the stop signal goes up at once, whether or not anybody is
/// in [`Tasks::join`]. Dropping the set aborts its tasks.
#[derive(Debug)]
pub struct Tasks {
    trigger: Trigger,
    running: JoinSet<Result<(), TaskError>>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// An empty set whose tasks stop the process through `trigger`.
    pub fn new(trigger: Trigger) -> Self {
        Self { trigger, running: JoinSet::new(), names: HashMap::new() }
    }

    /// Starts a task. It must run until the stop signal is up and then return in good time.
    ///
    /// Must be called within a Tokio runtime.
    pub fn spawn<F>(&mut self, name: &'static str, future: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop = self.trigger.subscribe();
        let ends = StopsWhenDropped(self.trigger.clone());
        let handle = self.running.spawn(async move {
            let _ends = ends;
            match future.await {
                Ok(()) if stop.is_stopped() => Ok(()),
                Ok(()) => Err(TaskError::Ended { task: name }),
                Err(source) => Err(TaskError::Failed { task: name, source }),
            }
        });
        self.names.insert(handle.id(), name);
    }

    /// Waits for the stop signal, then at most `deadline` for all tasks to end, aborts those that
    /// did not, and returns. An empty set returns at once.
    ///
    /// # Errors
    ///
    /// The first failure in the order in which the tasks ended; later ones are logged here.
    pub async fn join(mut self, deadline: Duration) -> Result<(), TaskError> {
        if self.running.is_empty() {
            return Ok(());
        }
        // The first task that ends raises the signal, so this is all there is to wait for.
        self.trigger.subscribe().stopped().await;
        let at = Instant::now() + deadline;
        let mut failures = Failures::default();
        while let Ok(Some(ended)) = timeout_at(at, self.running.join_next_with_id()).await {
            self.ended(ended, &mut failures);
        }
        if !self.running.is_empty() {
            let mut tasks: Vec<_> = self.names.values().copied().collect();
            tasks.sort_unstable();
            failures.add(TaskError::Late { tasks });
            self.running.abort_all();
            let aborted = async { while self.running.join_next().await.is_some() {} };
            // A task that blocks its thread past this is left to the process's exit.
            let _ = timeout(ABORT_WAIT, aborted).await;
        }
        failures.first.map_or(Ok(()), Err)
    }

    fn ended(&mut self, ended: Ended, failures: &mut Failures) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        // Every task's name was noted when it was spawned.
        let task = self.names.remove(&id).unwrap_or("unnamed");
        tracing::debug!(task, "task ended");
        match ended {
            Ok((_, Ok(()))) => {}
            Ok((_, Err(failure))) => failures.add(failure),
            // Nothing aborts a task before the deadline but the runtime's own end.
            Err(error) if error.is_cancelled() => failures.add(TaskError::Ended { task }),
            Err(error) => {
                let message = panic_text(error.into_panic().as_ref());
                failures.add(TaskError::Panicked { task, message });
            }
        }
    }
}

type Ended = Result<(Id, Result<(), TaskError>), JoinError>;

/// Keeps the first failure for the caller and logs the others.
#[derive(Default)]
struct Failures {
    first: Option<TaskError>,
}

impl Failures {
    fn add(&mut self, failure: TaskError) {
        if self.first.is_none() {
            self.first = Some(failure);
        } else {
            let reason = failure.reason();
            let error = format!("{:#}", anyhow::Error::new(failure));
            tracing::error!(reason, error, "another task failed while stopping");
        }
    }
}

/// Raises the stop signal when its task ends: by return, by panic or by abort.
struct StopsWhenDropped(Trigger);

impl Drop for StopsWhenDropped {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no text").to_owned()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use anyhow::bail;

    use super::*;
    use crate::stop;

    const DEADLINE: Duration = Duration::from_secs(5);

    fn until_stopped(tasks: &mut Tasks, name: &'static str) {
        let stop = tasks.trigger.subscribe();
        tasks.spawn(name, async move {
            stop.stopped().await;
            Ok(())
        });
    }

    #[tokio::test]
    async fn tasks_that_end_when_asked_are_no_failure() {
        let (trigger, _stop) = stop::channel();
        let mut tasks = Tasks::new(trigger.clone());
        until_stopped(&mut tasks, "links");
        until_stopped(&mut tasks, "store");
        trigger.stop();
        tasks.join(DEADLINE).await.expect("all ended as asked");
    }

    #[tokio::test]
    async fn an_unasked_end_stops_the_process_and_is_named() {
        let (trigger, stop) = stop::channel();
        let mut tasks = Tasks::new(trigger);
        until_stopped(&mut tasks, "links");
        tasks.spawn("renewal", async { Ok(()) });
        // Nobody is in `join` yet.
        stop.stopped().await;
        let error = tasks.join(DEADLINE).await.expect_err("a task ended unasked");
        assert_eq!(error.to_string(), "task renewal ended unasked");
    }

    #[tokio::test]
    async fn a_failure_is_named_and_keeps_its_cause() {
        let (trigger, _stop) = stop::channel();
        let mut tasks = Tasks::new(trigger);
        until_stopped(&mut tasks, "links");
        tasks.spawn("store", async { bail!("disk full") });
        let error = tasks.join(DEADLINE).await.expect_err("a task failed");
        assert_eq!(error.reason(), "failed");
        assert_eq!(format!("{:#}", anyhow::Error::new(error)), "task store failed: disk full");
    }

    #[tokio::test]
    async fn a_panic_stops_the_process_and_is_named() {
        let (trigger, stop) = stop::channel();
        let mut tasks = Tasks::new(trigger);
        until_stopped(&mut tasks, "links");
        tasks.spawn("sweep", async { panic!("index {}", 7) });
        stop.stopped().await;
        let error = tasks.join(DEADLINE).await.expect_err("a task panicked");
        assert_eq!(error.to_string(), "task sweep panicked: index 7");
    }

    #[tokio::test]
    async fn the_first_failure_is_the_one_returned() {
        let (trigger, stop) = stop::channel();
        let mut tasks = Tasks::new(trigger);
        tasks.spawn("consequence", async move {
            stop.stopped().await;
            bail!("peer gone")
        });
        tasks.spawn("cause", async { bail!("disk full") });
        let error = tasks.join(DEADLINE).await.expect_err("two tasks failed");
        assert_eq!(error.to_string(), "task cause failed");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_late_is_aborted_and_named() {
        let (trigger, _stop) = stop::channel();
        let mut tasks = Tasks::new(trigger.clone());
        until_stopped(&mut tasks, "links");
        tasks.spawn("store", pending());
        tasks.spawn("drain", pending());
        trigger.stop();
        let begun = Instant::now();
        let error = tasks.join(DEADLINE).await.expect_err("two tasks are late");
        assert_eq!(error.to_string(), "tasks did not stop in time: drain, store");
        assert_eq!(begun.elapsed(), DEADLINE);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_counts_from_the_stop_not_from_the_call() {
        let (trigger, _stop) = stop::channel();
        let mut tasks = Tasks::new(trigger.clone());
        until_stopped(&mut tasks, "links");
        let joining = tokio::spawn(tasks.join(DEADLINE));
        tokio::time::sleep(DEADLINE * 10).await;
        assert!(!joining.is_finished());
        trigger.stop();
        joining.await.expect("join ends").expect("all ended as asked");
    }

    #[tokio::test]
    async fn an_empty_set_is_joined_at_once() {
        let (trigger, _stop) = stop::channel();
        Tasks::new(trigger).join(DEADLINE).await.expect("nothing to wait for");
    }
}
