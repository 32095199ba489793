//! What is kept in memory: what members last said, when servers were seen, and the clock.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustc_hash::FxHashMap;
use wardlink_view::View;
use wardlink_wire::{MsId, ServerId};

use crate::store::{Beat, Renewal, ViewChange, ViewKey};

/// The system's clock, kept from going back within this process.
#[derive(Debug)]
pub(super) struct Clock {
    last_ms: AtomicU64,
}

impl Clock {
    /// A clock that does not go back behind what was known before the process began.
    pub(super) fn not_before(ms: u64) -> Self {
        Self { last_ms: AtomicU64::new(ms) }
    }

    /// Unix milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.last_ms.fetch_max(now, Ordering::AcqRel).max(now)
    }
}

/// State that no restart needs. The view's key follows the file: it changes when a view change
/// is on disk, before that change is answered.
#[derive(Debug)]
pub(super) struct Live {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    key: Option<ViewKey>,
    beats: BTreeMap<MsId, Beat>,
    seen: FxHashMap<ServerId, u64>,
    /// Whether `seen` differs from the file.
    seen_changed: bool,
}

impl Live {
    pub(super) fn new(view: Option<&View>, seen: Vec<(ServerId, u64)>) -> Self {
        let members = view.map(|view| view.members.as_slice()).unwrap_or_default();
        Self {
            state: Mutex::new(State {
                key: view.map(ViewKey::of),
                beats: members.iter().map(|ms| (*ms, none_of(*ms))).collect(),
                seen: seen.into_iter().collect(),
                seen_changed: false,
            }),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing that runs under this lock can panic half-way.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes a change that is on disk.
    pub(super) fn change(&self, change: &ViewChange) {
        let mut state = self.state();
        let added = match change.expect {
            Some(_) => &change.added,
            None => {
                state.beats.clear();
                &change.to.members
            }
        };
        state.beats.extend(added.iter().map(|ms| (*ms, none_of(*ms))));
        if change.expect.is_some() {
            for ms in &change.removed {
                state.beats.remove(ms);
            }
        }
        state.key = Some(ViewKey::of(&change.to));
    }

    /// Takes the view that the file has, where that is another one.
    pub(super) fn follow(&self, view: Option<&View>) {
        let mut state = self.state();
        let key = view.map(ViewKey::of);
        if state.key == key {
            return;
        }
        let members = view.map(|view| view.members.as_slice()).unwrap_or_default();
        let beat = |ms: &MsId| state.beats.get(ms).copied().unwrap_or(none_of(*ms));
        state.beats = members.iter().map(|ms| (*ms, beat(ms))).collect();
        state.key = key;
    }

    /// Renews; `None` where the view or the membership is another.
    pub(super) fn renew(&self, renewal: &Renewal) -> Option<Vec<Beat>> {
        let mut state = self.state();
        if state.key != Some(renewal.expect) {
            return None;
        }
        let beat = state.beats.get_mut(&renewal.me)?;
        beat.renewals += 1;
        beat.links = renewal.links;
        Some(state.beats.values().copied().collect())
    }

    pub(super) fn touch(&self, servers: &[ServerId], now_ms: u64) {
        let mut state = self.state();
        state.seen.extend(servers.iter().map(|server| (*server, now_ms)));
        state.seen_changed |= !servers.is_empty();
    }

    pub(super) fn seen(&self, server: ServerId) -> Option<u64> {
        self.state().seen.get(&server).copied()
    }

    /// Whether there is something for the file.
    pub(super) fn seen_changed(&self) -> bool {
        self.state().seen_changed
    }

    /// Forgets servers not seen since `cutoff_ms`; all others, if they differ from the file.
    pub(super) fn take_seen(&self, cutoff_ms: u64) -> Option<Vec<(ServerId, u64)>> {
        let mut state = self.state();
        let before = state.seen.len();
        state.seen.retain(|_, at| *at > cutoff_ms);
        let changed = std::mem::take(&mut state.seen_changed) || state.seen.len() != before;
        changed.then(|| state.seen.iter().map(|(server, at)| (*server, *at)).collect())
    }
}

fn none_of(ms: MsId) -> Beat {
    Beat { ms, renewals: 0, links: 0 }
}
