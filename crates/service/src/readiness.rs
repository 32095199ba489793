//! Whether this process can take work: named conditions that must all hold.
//!
//! Owns the conditions' state. Who sets a condition, and when, is each part's business; the admin
//! port only asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::stop::Stop;

/// What [`Readiness::not_ready`] says once the stop signal is up.
pub const STOPPING: &str = "stopping";

/// The named conditions of one process; clones share them.
///
/// From the moment the stop signal is up the process is not ready, whatever the conditions say.
#[derive(Clone, Debug)]
pub struct Readiness {
    conditions: Arc<watch::Sender<BTreeMap<&'static str, bool>>>,
    stop: Stop,
}

impl Readiness {
    /// Readiness that waits for all of `conditions`, each false until it is set.
    pub fn new(stop: Stop, conditions: &[&'static str]) -> Self {
        let conditions = conditions.iter().map(|name| (*name, false)).collect();
        Self { conditions: Arc::new(watch::Sender::new(conditions)), stop }
    }

    /// Sets one condition. A name that is new is a condition from now on.
    pub fn set(&self, name: &'static str, holds: bool) {
        let mut changed = None;
        self.conditions.send_if_modified(|conditions| {
            let before = unmet(conditions).is_empty();
            if conditions.insert(name, holds) == Some(holds) {
                return false;
            }
            let not_ready = unmet(conditions);
            changed = (before != not_ready.is_empty()).then_some(not_ready);
            true
        });
        match changed {
            Some(not_ready) if not_ready.is_empty() => tracing::info!("ready"),
            Some(not_ready) => tracing::info!(not_ready = not_ready.join(", "), "not ready"),
            None => {}
        }
    }

    /// Whether every condition holds and the stop signal is not up.
    pub fn ready(&self) -> bool {
        self.not_ready().is_empty()
    }

    /// The conditions that do not hold, by name, and [`STOPPING`] last; empty means ready.
    pub fn not_ready(&self) -> Vec<&'static str> {
        let mut reasons = unmet(&self.conditions.borrow());
        if self.stop.is_stopped() {
            reasons.push(STOPPING);
        }
        reasons
    }

    /// Returns true once every condition holds, false once the stop signal is up. Cancel safe.
    pub async fn wait(&self) -> bool {
        let mut conditions = self.conditions.subscribe();
        tokio::select! {
            biased;
            () = self.stop.stopped() => false,
            // It cannot fail: `self` keeps the sending side alive.
            held = conditions.wait_for(|conditions| unmet(conditions).is_empty()) => held.is_ok(),
        }
    }
}

fn unmet(conditions: &BTreeMap<&'static str, bool>) -> Vec<&'static str> {
    conditions.iter().filter(|(_, holds)| !**holds).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stop;

    #[test]
    fn ready_only_while_every_condition_holds() {
        let (_trigger, stop) = stop::channel();
        let readiness = Readiness::new(stop, &["view", "store"]);
        assert_eq!(readiness.not_ready(), ["store", "view"]);
        readiness.set("store", true);
        assert_eq!(readiness.not_ready(), ["view"]);
        readiness.clone().set("view", true);
        assert!(readiness.ready());
        readiness.set("store", false);
        assert!(!readiness.ready());
    }

    #[test]
    fn a_new_name_becomes_a_condition() {
        let (_trigger, stop) = stop::channel();
        let readiness = Readiness::new(stop, &[]);
        assert!(readiness.ready());
        readiness.set("indexes", false);
        assert_eq!(readiness.not_ready(), ["indexes"]);
    }

    #[test]
    fn the_stop_signal_alone_ends_readiness() {
        let (trigger, stop) = stop::channel();
        let readiness = Readiness::new(stop, &["store"]);
        readiness.set("store", true);
        trigger.stop();
        assert_eq!(readiness.not_ready(), [STOPPING]);
    }

    #[tokio::test]
    async fn wait_ends_when_ready_and_when_stopped() {
        let (trigger, stop) = stop::channel();
        let readiness = Readiness::new(stop, &["store"]);
        let waiting = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.wait().await }
        });
        readiness.set("store", true);
        assert!(waiting.await.expect("the waiting task ends"));
        trigger.stop();
        assert!(!readiness.wait().await);
    }
}
