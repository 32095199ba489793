//! The accept loop: a permit before each accept, so that no more connections are open than can
//! be served; each connection runs in a task of its own, which the loop joins.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::stop::Stop;

/// Pause after an accept that failed, for example for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the stop signal, at most `max` connections at a time, with `TCP_NODELAY`, and
/// returns the tasks that still run: who stops accepting decides how long they may take.
///
/// Cancel safe in that nothing is lost: dropping it aborts the connections' tasks.
pub async fn run<F, Fut>(listener: TcpListener, max: usize, stop: Stop, serve: F) -> JoinSet<()>
where
    F: Fn(TcpStream) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(max));
    let mut tasks = JoinSet::new();
    loop {
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "task of a connection panicked");
            }
        }
        let accepted = tokio::select! {
            () = stop.stopped() => return tasks,
            accepted = accept(&listener, &permits) => accepted,
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
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // A peer that is gone already cannot be set up; its task finds out.
    let _ = stream.set_nodelay(true);
    Ok((stream, permit))
}
