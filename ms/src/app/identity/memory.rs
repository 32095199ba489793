//! What reviews found lately, by the hash of the token. Pure; the time comes as an argument.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use wardlink_wire::ServerId;

use super::rules::Refused;

/// A refusal counts for so long: who shows the same again and again costs one review in it.
const REFUSED: Duration = Duration::from_secs(5);
/// Tokens that are known at a time: one for each link that an MS takes at most, though a BS has
/// one. At 120 bytes each they are 0.5 MiB.
const KNOWN_MAX: usize = 4_096;
/// Refusals that are remembered: 50 reviews a second, and 50 at once, are 300 in 5 s.
const REFUSED_MAX: usize = 512;

/// SHA-256 of a token.
pub(super) type Key = [u8; 32];

/// Whose a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) struct Proven {
    /// The pod.
    pub(in crate::app) server: ServerId,
    /// When the token expires; `None` where it does not say.
    pub(in crate::app) expires: Option<Instant>,
    /// When a review that said so was begun.
    pub(in crate::app) reviewed: Instant,
}

/// What a review says.
pub(super) type Judgement = Result<Proven, Refused>;

#[derive(Debug, Clone, Copy)]
struct Known {
    proven: Proven,
    until: Instant,
}

/// What reviews found lately.
#[derive(Debug)]
pub(super) struct Memory {
    /// How long a yes counts.
    keeps: Duration,
    known: HashMap<Key, Known>,
    refused: HashMap<Key, Refused>,
    /// The refusals by age, each with its end; of two of one token the first one's counts.
    ages: VecDeque<(Key, Instant)>,
}

impl Memory {
    /// A yes counts for `keeps`.
    pub(super) fn new(keeps: Duration) -> Self {
        let (known, refused, ages) = (HashMap::new(), HashMap::new(), VecDeque::new());
        Self { keeps, known, refused, ages }
    }

    /// What is remembered of a token.
    pub(super) fn find(&mut self, key: &Key, now: Instant) -> Option<Judgement> {
        self.forget_old(now);
        if let Some(known) = self.known.get(key) {
            return (now < known.until).then_some(Ok(known.proven));
        }
        self.refused.get(key).copied().map(Err)
    }

    /// Remembers what a review said, in place of what one said before. A yes counts no longer than
    /// its token. Where there are too many, what ends first makes room.
    pub(super) fn keep(&mut self, key: Key, judgement: Judgement, now: Instant) {
        self.forget_old(now);
        match judgement {
            Ok(proven) => {
                self.refused.remove(&key);
                let until = proven.reviewed + self.keeps;
                let until = proven.expires.map_or(until, |expires| expires.min(until));
                self.known.retain(|other, known| *other != key && now < known.until);
                self.make_room();
                self.known.insert(key, Known { proven, until });
            }
            Err(refused) => {
                self.known.remove(&key);
                if self.refused.insert(key, refused).is_none() {
                    self.ages.push_back((key, now + REFUSED));
                }
                if self.ages.len() > REFUSED_MAX {
                    self.forget_oldest();
                }
            }
        }
    }

    /// How many are known, and how many refusals are remembered.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.known.len(), self.refused.len())
    }

    fn make_room(&mut self) {
        if self.known.len() >= KNOWN_MAX
            && let Some(first) =
                self.known.iter().min_by_key(|(_, known)| known.until).map(|(key, _)| *key)
        {
            self.known.remove(&first);
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while self.ages.front().is_some_and(|(_, until)| *until <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((key, _)) = self.ages.pop_front() {
            self.refused.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn key(n: usize) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_be_bytes());
        key
    }

    fn proven(expires: Option<Instant>, reviewed: Instant) -> Proven {
        Proven { server: ServerId(Uuid::from_u128(7)), expires, reviewed }
    }

    #[test]
    fn a_yes_counts_for_a_minute_and_no_longer_than_its_token() {
        let (mut memory, now) = (Memory::new(MINUTE), Instant::now());
        let second = Duration::from_secs(1);
        for (n, expires, counts) in [(1, None, 60), (2, Some(600), 60), (3, Some(20), 20)] {
            let proven = proven(expires.map(|after| now + Duration::from_secs(after)), now);
            memory.keep(key(n), Ok(proven), now);
            let end = now + Duration::from_secs(counts);
            assert_eq!(memory.find(&key(n), end - second), Some(Ok(proven)), "{n}");
            assert_eq!(memory.find(&key(n), end), None, "{n}");
        }
        memory.keep(key(4), Ok(proven(Some(now), now)), now);
        assert_eq!(memory.find(&key(4), now), None, "it has expired already");
    }

    #[test]
    fn a_no_counts_for_five_seconds_and_takes_a_yes_away() {
        let (mut memory, now) = (Memory::new(MINUTE), Instant::now());
        memory.keep(key(1), Ok(proven(None, now)), now);
        memory.keep(key(1), Err(Refused::NotValid), now);
        assert_eq!(memory.find(&key(1), now), Some(Err(Refused::NotValid)));
        assert_eq!(memory.find(&key(1), now + REFUSED), None);
        memory.keep(key(1), Err(Refused::NotValid), now + REFUSED);
        memory.keep(key(1), Ok(proven(None, now + REFUSED)), now + REFUSED);
        assert_eq!(memory.find(&key(1), now + REFUSED), Some(Ok(proven(None, now + REFUSED))));
        assert_eq!(memory.find(&key(2), now), None);
    }

    #[test]
    fn both_are_bounded_and_a_flood_of_refusals_costs_nobody_a_yes() {
        let (mut memory, now) = (Memory::new(MINUTE), Instant::now());
        memory.keep(key(0), Ok(proven(None, now)), now);
        for n in 1..=REFUSED_MAX * 2 {
            memory.keep(key(n), Err(Refused::NotValid), now);
        }
        assert_eq!(memory.sizes(), (1, REFUSED_MAX));
        assert_eq!(memory.find(&key(1), now), None, "the oldest made room");
        assert!(memory.find(&key(REFUSED_MAX * 2), now).is_some());
        assert_eq!(memory.find(&key(0), now), Some(Ok(proven(None, now))));

        let soon = now + Duration::from_secs(1);
        for n in 0..KNOWN_MAX {
            memory.keep(key(n), Ok(proven(None, soon)), soon);
        }
        memory.keep(key(9), Ok(proven(Some(soon + Duration::from_secs(9)), soon)), soon);
        memory.keep(key(KNOWN_MAX), Ok(proven(None, soon)), soon);
        assert_eq!(memory.sizes().0, KNOWN_MAX);
        assert_eq!(memory.find(&key(9), soon), None, "what ends first made room");
        assert!(memory.find(&key(KNOWN_MAX), soon).is_some());
        memory.keep(key(KNOWN_MAX + 1), Ok(proven(None, soon + MINUTE)), soon + MINUTE);
        assert_eq!(memory.sizes().0, 1, "what has ended went first");
    }
}
