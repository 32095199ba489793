//! Keeps a link to every MS: names are resolved again and again, each address has a task that
//! connects, serves the link, and connects again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use wardlink_service::backoff::Backoff;
use wardlink_service::stop::Stop;
use wardlink_wire::link::{LINK_PATH, LINK_SUBPROTOCOL};

use super::input::Input;
use super::link;
use super::metrics::Metrics;

/// Names are resolved again after so long.
const RESOLVE: Duration = Duration::from_secs(3);
/// An attempt to connect that takes longer is given up: as long as an MS may be silent.
const CONNECT: Duration = Duration::from_secs(2);
/// Between attempts, with jitter: at least and at most. What the membership's figures assume.
const REDIAL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A link that lasted so long was good: the next attempt is made soon.
const GOOD: Duration = Duration::from_secs(1);
/// Addresses behind one name.
const ADDRESSES_MAX: usize = 64;

/// Where MSs are: `ws://host:port/link`. One is expected behind each address of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MsAddress {
    host: String,
    port: u16,
}

impl FromStr for MsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "must be ws://host:port/link".to_owned();
        let rest = text.strip_prefix("ws://").ok_or_else(wrong)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.is_empty() && path != &LINK_PATH[1..] {
            return Err(wrong());
        }
        let (host, port) = authority.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port: port.parse().map_err(|_| wrong())? })
    }
}

/// Keeps links to all MSs behind one name until the stop signal.
pub(super) async fn keep(
    ms: MsAddress,
    inputs: mpsc::Sender<Input>,
    metrics: Arc<Metrics>,
    stop: Stop,
) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    let mut addresses = BTreeMap::new();
    loop {
        let found = timeout(RESOLVE, lookup_host((ms.host.as_str(), ms.port))).await;
        match found {
            Ok(Ok(found)) => {
                let found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
                // A link that still works outlives its address in the name service: only a task
                // that is between two attempts notices, and ends by itself. Where the address has
                // come back since, another one begins below.
                addresses.retain(|address, task: &mut tokio::task::AbortHandle| {
                    if task.is_finished() && !found.contains(address) {
                        tracing::info!(%address, "message server's address is gone");
                    }
                    !task.is_finished()
                });
                for address in found {
                    addresses.entry(address).or_insert_with(|| {
                        let task = dial(ms.clone(), address, inputs.clone(), metrics.clone());
                        tasks.spawn(task)
                    });
                }
            }
            Ok(Err(error)) => tracing::warn!(host = ms.host, %error, "name cannot be resolved"),
            Err(_) => tracing::warn!(host = ms.host, "name service does not answer"),
        }
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "task that keeps a link panicked");
            }
        }
        tokio::select! {
            () = stop.stopped() => break,
            () = sleep(RESOLVE) => {}
        }
    }
    tasks.shutdown().await;
    Ok(())
}

/// Connects to one address again and again. Ends by itself when the address is no longer one of
/// the host's and does not answer.
async fn dial(
    ms: MsAddress,
    address: SocketAddr,
    inputs: mpsc::Sender<Input>,
    metrics: Arc<Metrics>,
) {
    let _kept = metrics.keeping();

    let mut backoff = Backoff::new(REDIAL.0, REDIAL.1);
    let mut told = false;
    loop {
        let attempt = timeout(CONNECT, connect(&ms, address)).await;
        let attempt = attempt.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        if attempt.is_err() {
            metrics.dials_failed.inc();
        }
        match attempt {
            Ok(socket) => {
                told = false;
                let begun = Instant::now();
                tracing::info!(%address, "connected to a message server");
                link::serve(socket, &inputs).await;
                if begun.elapsed() >= GOOD {
                    backoff.reset();
                }
            }
            // One warning until it is reached again.
            Err(error) if told => {
                tracing::debug!(%address, error, "message server cannot be reached");
            }
            Err(error) => {
                told = true;
                tracing::warn!(%address, error, "message server cannot be reached, trying again");
            }
        }
        if inputs.is_closed() || !still_there(&ms, address).await {
            return;
        }
        sleep(backoff.next_delay().max(REDIAL.0)).await;
    }
}

/// Whether the name still has the address. A name service that does not answer says nothing.
async fn still_there(ms: &MsAddress, address: SocketAddr) -> bool {
    match timeout(CONNECT, lookup_host((ms.host.as_str(), ms.port))).await {
        Ok(Ok(mut found)) => found.any(|other| other == address),
        _ => true,
    }
}

async fn connect(ms: &MsAddress, address: SocketAddr) -> Result<wardlink_link::Socket, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let host = if ms.host.contains(':') { format!("[{}]", ms.host) } else { ms.host.clone() };
    let mut request = format!("ws://{host}:{}{LINK_PATH}", ms.port)
        .into_client_request()
        .map_err(|error| error.to_string())?;
    let name = HeaderValue::from_static(LINK_SUBPROTOCOL);
    request.headers_mut().insert("sec-websocket-protocol", name);
    let (socket, _) = client_async_with_config(request, stream, Some(wardlink_link::config()))
        .await
        .map_err(|error| error.to_string())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_others_refused() {
        let ms: MsAddress = "ws://ms.example:7070/link".parse().unwrap();
        assert_eq!((ms.host.as_str(), ms.port), ("ms.example", 7070));
        assert_eq!("ws://[::1]:7070".parse::<MsAddress>().unwrap().host, "::1");
        for text in
            ["http://h:1/link", "ws://h/link", "ws://h:x/link", "ws://:1/link", "ws://h:1/ws"]
        {
            assert!(text.parse::<MsAddress>().is_err(), "{text}");
        }
    }
}
