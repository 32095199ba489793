//! The line before the API server: how many reviews are made at a time and in a second, and that
//! one address cannot take all of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};
use wardlink_service::bucket::Bucket;

/// Reviews of newcomers' tokens that are under way at a time.
const NEW_AT_ONCE: usize = 8;
/// Reviews of open links' tokens that are under way at a time: nobody who knocks delays them.
const OPEN_AT_ONCE: usize = 4;
/// Reviews of newcomers' tokens in a second, and as many at once after a rest. A review takes an
/// API server about a millisecond; the BSs of a cluster number in the tens.
const A_SECOND: NonZeroU32 = NonZeroU32::new(50).unwrap();
/// How much of a second's reviews may be used at once: all.
const DEPTH: Duration = Duration::from_secs(1);
/// Newcomers that wait: what is reviewed within 2.5 s, for a check is given up after 3 s.
const WAITING_MAX: usize = 125;
/// Of one address. Whoever floods from fewer than 30 addresses leaves room for others, and who
/// comes from another one waits for four of each.
const WAITING_OF_ONE: usize = 4;

/// The line before the API server.
#[derive(Debug)]
pub(super) struct Line {
    new: Semaphore,
    open: Semaphore,
    bucket: Mutex<Bucket>,
    places: Mutex<Places>,
    /// Places that are taken.
    waiting: IntGauge,
}

#[derive(Debug, Default)]
struct Places {
    taken: usize,
    of: HashMap<IpAddr, usize>,
}

/// Whose token is to be reviewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Somebody's who knocks, from this address.
    New(IpAddr),
    /// An open link's.
    Open,
}

/// The line is full, or too many of this address are in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// One review may be made. Dropping it lets the next one go.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _place: Option<Place<'a>>,
    _permit: Option<SemaphorePermit<'a>>,
}

#[derive(Debug)]
struct Place<'a> {
    line: &'a Line,
    address: IpAddr,
}

impl Line {
    /// An empty line, which shows in `waiting` how long it is.
    pub(super) fn new(now: Instant, waiting: IntGauge) -> Self {
        Self {
            new: Semaphore::new(NEW_AT_ONCE),
            open: Semaphore::new(OPEN_AT_ONCE),
            bucket: Mutex::new(Bucket::full(now)),
            places: Mutex::default(),
            waiting,
        }
    }

    /// Waits for a turn, first come first served. Whoever comes when the line is full is told so
    /// at once. Cancel safe: the place is free again.
    pub(super) async fn enter(&self, whose: Whose) -> Result<Turn<'_>, Full> {
        // The semaphores are never closed.
        let Whose::New(address) = whose else {
            let permit = self.open.acquire().await.ok();
            return Ok(Turn { _place: None, _permit: permit });
        };
        let place = self.place(address)?;
        let permit = self.new.acquire().await.ok();
        let now = Instant::now();
        let ready = {
            let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.take(1, A_SECOND, now);
            bucket.used_at_most(DEPTH)
        };
        if ready > now {
            sleep_until(ready).await;
        }
        Ok(Turn { _place: Some(place), _permit: permit })
    }

    fn place(&self, address: IpAddr) -> Result<Place<'_>, Full> {
        let address = network(address);
        let mut places = self.places();
        let of_one = places.of.get(&address).copied().unwrap_or(0);
        if places.taken >= WAITING_MAX || of_one >= WAITING_OF_ONE {
            return Err(Full);
        }
        places.taken += 1;
        self.waiting.set(places.taken as i64);
        places.of.insert(address, of_one + 1);
        Ok(Place { line: self, address })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut places = self.line.places();
        places.taken -= 1;
        self.line.waiting.set(places.taken as i64);
        if let Some(count) = places.of.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                places.of.remove(&self.address);
            }
        }
    }
}

/// Who has an address of IPv6 has all of its 64-bit network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            std::net::Ipv6Addr::from(network).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use tokio::task::JoinSet;

    use super::*;

    fn line() -> Line {
        Line::new(Instant::now(), IntGauge::new("waiting", "Waiting.").unwrap())
    }

    fn of(n: u32) -> Whose {
        Whose::New(Ipv4Addr::from(n).into())
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_has_four_places_and_all_have_what_is_done_in_time() {
        let line = Arc::new(line());
        let mut turns = Vec::new();
        for n in 0..NEW_AT_ONCE {
            turns.push(line.enter(of(100 + n as u32)).await.unwrap());
        }
        let mut waiting = JoinSet::new();
        for n in 0..32 {
            for _ in 0..WAITING_OF_ONE {
                let line = line.clone();
                waiting.spawn(async move { line.enter(of(n)).await.is_ok() });
            }
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let asked = Instant::now();
        turns.clear();
        let mut turned_away = 0;
        while let Some(let_in) = waiting.join_next().await {
            turned_away += usize::from(!let_in.unwrap());
        }
        assert_eq!(turned_away, NEW_AT_ONCE + 32 * WAITING_OF_ONE - WAITING_MAX);
        assert!(asked.elapsed() < Duration::from_millis(2_500), "{:?}", asked.elapsed());
        assert_eq!((line.waiting.get(), line.places().of.len()), (0, 0));
        for _ in 0..WAITING_OF_ONE {
            turns.push(line.enter(of(1)).await.unwrap());
        }
        assert_eq!(line.enter(of(1)).await.err(), Some(Full));
        assert!(line.enter(of(2)).await.is_ok());
        turns.pop();
        assert!(line.enter(of(1)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn reviews_of_newcomers_keep_to_the_rate_and_open_links_do_not_wait_for_them() {
        let (begun, seconds) = (Instant::now(), 10);
        let line = line();
        let mut made = 0;
        while begun.elapsed() < Duration::from_secs(seconds) {
            drop(line.enter(of(made % 7)).await.unwrap());
            made += 1;
        }
        let most = A_SECOND.get() * (seconds as u32 + 1);
        assert!((most - 10..=most + 1).contains(&made), "{made} reviews in {seconds} s");
        let mut turns = Vec::new();
        for n in 0..NEW_AT_ONCE {
            turns.push(line.enter(of(n as u32)).await.unwrap());
        }
        let before = Instant::now();
        drop(line.enter(Whose::Open).await.unwrap());
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[test]
    fn an_address_of_ipv6_stands_for_its_network() {
        let same = |a: &str, b: &str| network(a.parse().unwrap()) == network(b.parse().unwrap());
        assert!(same("fd00::1:1", "fd00::2"));
        assert!(!same("fd00::1", "fd00:0:0:1::1"));
        assert!(same("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
    }
}
