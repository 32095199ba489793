//! The accept loop: a permit and a token before each accept, so that no more connections are open,
//! or opened in a second, than can be served. What is not accepted waits in the kernel's backlog.
//! Each connection runs in a task of its own, which the loop joins.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::bucket::Bucket;
use crate::metrics::Section;
use crate::stop::Stop;

/// Pause after an accept that failed, for example for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens; so many connections wait in the kernel until they are accepted. Who comes when that
/// line is full is not answered, and tries again after a second or more; who is the last in it waits
/// for its length divided by the rate.
///
/// # Errors
/// The address cannot be bound.
pub fn listen(address: SocketAddr, waiting: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that starts again does not wait for the connections of the one before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(waiting)
}

/// How many connections are taken.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// At a time.
    pub connections: usize,
    /// In a second.
    pub rate: Rate,
}

/// Connections in a second: `per_second` on average, `burst` at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// On average, at most [`Rate::MAX_PER_SECOND`].
    pub per_second: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

impl Rate {
    /// A nanosecond between two.
    pub const MAX_PER_SECOND: u32 = 1_000_000_000;

    /// What may be used where there is still one: all but that one.
    fn depth(self) -> Duration {
        Duration::from_secs(1) / self.per_second.get() * (self.burst.get() - 1)
    }
}

/// What is seen of an accept loop.
#[derive(Debug, Clone)]
pub struct Metrics {
    delayed: [IntCounter; 2],
}

impl Metrics {
    /// Counters of one accept loop.
    pub fn new(section: &Section<'_>) -> Self {
        Self {
            delayed: section.counters(
                "accepts_delayed_total",
                "Times that accepting a connection was held back, by which limit.",
                "limit",
                ["connections", "rate"],
            ),
        }
    }
}

/// Accepts until the stop signal, within `limits`, with `TCP_NODELAY`, and returns the tasks that
/// still run: who stops accepting decides how long they may take.
///
/// Cancel safe in that nothing is lost: dropping it aborts the connections' tasks.
pub async fn run<F, Fut>(
    listener: TcpListener,
    limits: Limits,
    metrics: Metrics,
    stop: Stop,
    serve: F,
) -> JoinSet<()>
where
    F: Fn(TcpStream) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut bucket = Bucket::full(Instant::now());
    let mut tasks = JoinSet::new();
    loop {
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "task of a connection panicked");
            }
        }
        let accepted = tokio::select! {
            () = stop.stopped() => return tasks,
            accepted = accept(&listener, &permits, limits, &mut bucket, &metrics) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                let connection = serve(stream);
                tasks.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::select! {
                    () = stop.stopped() => return tasks,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    limits: Limits,
    bucket: &mut Bucket,
    metrics: &Metrics,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = match permits.clone().try_acquire_owned() {
        Ok(permit) => permit,
        Err(_) => {
            metrics.delayed[0].inc();
            permits.clone().acquire_owned().await.map_err(io::Error::other)?
        }
    };
    let ready_at = bucket.used_at_most(limits.rate.depth());
    if ready_at > Instant::now() {
        metrics.delayed[1].inc();
        sleep_until(ready_at).await;
    }
    let (stream, _) = listener.accept().await?;
    bucket.take(1, limits.rate.per_second, Instant::now());
    // A peer that is gone already cannot be set up; its task finds out.
    let _ = stream.set_nodelay(true);
    Ok((stream, permit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Registry;
    use crate::stop;

    fn rate(per_second: u32, burst: u32) -> Rate {
        let number = |n| NonZeroU32::new(n).unwrap();
        Rate { per_second: number(per_second), burst: number(burst) }
    }

    /// Tokens that there are at `now`.
    fn taken(bucket: &mut Bucket, rate: Rate, now: Instant) -> u32 {
        let mut count = 0;
        while bucket.used_at_most(rate.depth()) <= now {
            bucket.take(1, rate.per_second, now);
            count += 1;
        }
        count
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now() + Duration::from_secs(60);
        let (mut bucket, five) = (Bucket::full(start), rate(10, 5));
        assert_eq!(taken(&mut bucket, five, start), 5);
        assert_eq!(taken(&mut bucket, five, start + Duration::from_millis(99)), 0);
        assert_eq!(taken(&mut bucket, five, start + Duration::from_millis(100)), 1);
        assert_eq!(taken(&mut bucket, five, start + Duration::from_millis(399)), 2);
        // What was not taken while resting is no more than the burst.
        assert_eq!(taken(&mut bucket, five, start + Duration::from_secs(50)), 5);
        let (mut one, single) = (Bucket::full(start), rate(1, 1));
        assert_eq!(taken(&mut one, single, start), 1);
        assert_eq!(taken(&mut one, single, start + Duration::from_secs(3)), 1);
    }

    struct Loop {
        address: std::net::SocketAddr,
        accepted: tokio::sync::mpsc::Receiver<TcpStream>,
        metrics: Metrics,
        _stop: stop::Trigger,
    }

    async fn start(limits: Limits) -> Loop {
        let listener = listen(([127, 0, 0, 1], 0).into(), 16).unwrap();
        let address = listener.local_addr().unwrap();
        let (trigger, stop) = stop::channel();
        let (sender, accepted) = tokio::sync::mpsc::channel(16);
        let metrics = Metrics::new(&Section::new(&Registry::new(), "wardlink_test"));
        let serve = move |stream| {
            let sender = sender.clone();
            async move {
                // Open until the test lets go of it.
                let _ = sender.send(stream).await;
                sender.closed().await;
            }
        };
        let run = run(listener, limits, metrics.clone(), stop, serve);
        tokio::spawn(async { run.await.shutdown().await });
        Loop { address, accepted, metrics, _stop: trigger }
    }

    #[tokio::test]
    async fn connections_above_the_rate_wait_and_are_not_refused() {
        let limits = Limits { connections: 100, rate: rate(5, 3) };
        let mut it = start(limits).await;
        let begun = Instant::now();
        let mut clients = Vec::new();
        for _ in 0..7 {
            clients.push(TcpStream::connect(it.address).await.unwrap());
        }
        for _ in 0..7 {
            it.accepted.recv().await.unwrap();
        }
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(800), "3 at once, 4 at 5 a second: {took:?}");
        assert!(it.metrics.delayed[1].get() >= 4);
    }

    #[tokio::test]
    async fn connections_above_the_limit_wait_until_one_goes() {
        let limits = Limits { connections: 2, rate: rate(1_000, 1_000) };
        let mut it = start(limits).await;
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(it.address).await.unwrap());
        }
        for _ in 0..2 {
            it.accepted.recv().await.unwrap();
        }
        let third = tokio::time::timeout(Duration::from_millis(50), it.accepted.recv());
        assert!(third.await.is_err(), "two are open");
        assert_eq!(it.metrics.delayed[0].get(), 1);
    }
}
