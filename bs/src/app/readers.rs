//! Whose bodies are being read: so many of one caller that a slow one takes no others' places.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wardlink_wire::EndId;

/// Bodies of one caller that are read at a time: a caller at its rate of 200 messages a second has
/// so many if each takes a third of a second to come.
const OF_ONE_MAX: usize = 64;

/// The callers whose bodies are read now. Bounded by who gets here: the bodies that are read at all.
#[derive(Debug, Clone, Default)]
pub(super) struct Readers(Arc<Mutex<HashMap<EndId, usize>>>);

/// A place of one caller; its drop frees it.
#[derive(Debug)]
pub(super) struct Place {
    readers: Readers,
    caller: EndId,
}

impl Readers {
    /// A place for one more body of this caller. `None`: it has as many as it may.
    pub(super) fn enter(&self, caller: &EndId) -> Option<Place> {
        let mut readers = self.lock();
        let count = readers.entry(caller.clone()).or_default();
        if *count >= OF_ONE_MAX {
            return None;
        }
        *count += 1;
        Some(Place { readers: self.clone(), caller: caller.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EndId, usize>> {
        // A panic while it was held leaves counts: nothing to distrust.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut readers = self.readers.lock();
        if let Some(count) = readers.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_fills_its_own_places_and_leaves_nothing_behind() {
        let readers = Readers::default();
        let (a, b) = ("H-A-a".parse().unwrap(), "H-A-b".parse().unwrap());
        let mut places: Vec<Place> = (0..OF_ONE_MAX).filter_map(|_| readers.enter(&a)).collect();
        assert_eq!(places.len(), OF_ONE_MAX);
        assert!(readers.enter(&a).is_none());
        assert!(readers.enter(&b).is_some());
        places.pop();
        assert!(readers.enter(&a).is_some());
        drop(places);
        assert!(readers.lock().is_empty());
    }
}
