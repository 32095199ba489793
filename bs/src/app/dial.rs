//! Keeps a link to every MS: names are resolved again and again, each address has a task that
//! connects, serves the link, and connects again.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use wardlink_service::backoff::Backoff;
use wardlink_service::stop::Stop;
use wardlink_tls::PeerName;
use wardlink_wire::link::LINK_PATH;

use super::input::Input;
use super::knock::{Closed, Knock};
use super::link;
use super::metrics::Metrics;

/// Names are resolved again after so long.
const RESOLVE: Duration = Duration::from_secs(3);
/// An attempt to connect that takes longer is given up. Where others flood the MS's port, the
/// kernel tries three times in it, and an MS's line of those that wait is half a second long.
const CONNECT: Duration = Duration::from_secs(5);
/// Between attempts, with jitter: at least and at most. What the membership's figures assume.
const REDIAL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A link that lasted so long was good: the next attempt is made soon.
const GOOD: Duration = Duration::from_secs(1);
/// At the end, what waits for links is written within this: less than such a task has to end.
const LAST: Duration = Duration::from_millis(700);
/// Addresses behind one name.
const ADDRESSES_MAX: usize = 64;

/// Where MSs are: `ws://host:port/link`, or `wss://` for TLS. One is expected behind each address
/// of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MsAddress {
    tls: bool,
    host: String,
    port: u16,
}

impl FromStr for MsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "must be ws://host:port/link or wss://host:port/link".to_owned();
        let (tls, rest) = match text.split_once("://") {
            Some(("ws", rest)) => (false, rest),
            Some(("wss", rest)) => (true, rest),
            _ => return Err(wrong()),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.is_empty() && path != &LINK_PATH[1..] {
            return Err(wrong());
        }
        let (host, port) = authority.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong());
        }
        let address = Self { tls, host: host.to_owned(), port: port.parse().map_err(|_| wrong())? };
        if tls && address.name().is_none() {
            return Err(wrong());
        }
        Ok(address)
    }
}

impl MsAddress {
    /// Whether links to it are TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether what is sent to it stays on this machine, as far as its name says.
    pub fn is_loopback(&self) -> bool {
        let ip: Option<IpAddr> = self.host.parse().ok();
        ip.map_or(self.host == "localhost", |ip| ip.is_loopback())
    }

    /// The URL of a link.
    pub(super) fn url(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let scheme = if self.tls { "wss" } else { "ws" };
        format!("{scheme}://{host}:{}{LINK_PATH}", self.port)
    }

    /// The name that its certificate must have, unless a setting gives another.
    pub(super) fn name(&self) -> Option<PeerName> {
        self.host.parse().ok()
    }
}

/// Keeps links to all MSs behind one name until the stop signal.
pub(super) async fn keep(
    ms: MsAddress,
    knock: Arc<Knock>,
    metrics: Arc<Metrics>,
    inputs: mpsc::Sender<Input>,
    stop: Stop,
) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    let mut addresses = BTreeMap::new();
    loop {
        let found = tokio::select! {
            () = stop.stopped() => break,
            found = timeout(RESOLVE, lookup_host((ms.host.as_str(), ms.port))) => found,
        };
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
                        let dial = Dial {
                            ms: ms.clone(),
                            address,
                            knock: knock.clone(),
                            metrics: metrics.clone(),
                            inputs: inputs.clone(),
                            stop: stop.clone(),
                        };
                        tasks.spawn(dial.run())
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
    // The engine is gone, and with it the queues of links: their writers end when they are empty.
    let empty = async { while tasks.join_next().await.is_some() {} };
    let _ = timeout(LAST, empty).await;
    tasks.shutdown().await;
    Ok(())
}

/// Keeps a link to one address.
struct Dial {
    ms: MsAddress,
    address: SocketAddr,
    knock: Arc<Knock>,
    metrics: Arc<Metrics>,
    inputs: mpsc::Sender<Input>,
    stop: Stop,
}

impl Dial {
    /// Connects again and again. Ends by itself when the address is no longer one of the host's
    /// and does not answer.
    async fn run(self) {
        let _kept = self.metrics.keeping();
        let address = self.address;
        let mut backoff = Backoff::new(REDIAL.0, REDIAL.1);
        // Why the attempts fail: told once, until it is something else or one succeeds.
        let mut told = None;
        let mut refusals = 0;
        loop {
            let attempt = tokio::select! {
                () = self.stop.stopped() => return,
                attempt = timeout(CONNECT, self.knock.connect(&self.ms, address, refusals)) => attempt,
            };
            match attempt.unwrap_or_else(|_| Err(Closed::Slow)) {
                Ok(opened) => {
                    told = None;
                    let begun = Instant::now();
                    tracing::info!(%address, tls = self.ms.tls, "connected to a message server");
                    link::serve(opened, &self.knock, &self.inputs).await;
                    if begun.elapsed() >= GOOD {
                        backoff.reset();
                    }
                }
                Err(error) => {
                    let reason = error.reason();
                    self.metrics.dial_failed(&error);
                    if matches!(error, Closed::Refused { status: 401, .. }) {
                        refusals += 1;
                    }
                    if told.replace(reason) == Some(reason) {
                        tracing::debug!(%address, reason, %error, "message server has no link for us");
                    } else {
                        tracing::warn!(
                            %address, reason, %error,
                            "no link to a message server, trying again until there is one"
                        );
                    }
                }
            }
            if self.inputs.is_closed() {
                return;
            }
            let again = async {
                let there = still_there(&self.ms, address).await;
                if there {
                    sleep(backoff.next_delay().max(REDIAL.0)).await;
                }
                there
            };
            tokio::select! {
                () = self.stop.stopped() => return,
                there = again => if !there { return },
            }
        }
    }
}

/// Whether the name still has the address. A name service that does not answer says nothing.
async fn still_there(ms: &MsAddress, address: SocketAddr) -> bool {
    match timeout(CONNECT, lookup_host((ms.host.as_str(), ms.port))).await {
        Ok(Ok(mut found)) => found.any(|other| other == address),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_others_refused() {
        let ms: MsAddress = "ws://ms.example:7070/link".parse().unwrap();
        assert_eq!((ms.host.as_str(), ms.port, ms.tls), ("ms.example", 7070, false));
        let ms: MsAddress = "wss://ms.example:7070/link".parse().unwrap();
        assert!(ms.tls);
        assert_eq!(ms.url(), "wss://ms.example:7070/link");
        assert_eq!(ms.name().unwrap().to_string(), "ms.example");
        let six: MsAddress = "wss://[::1]:7070/link".parse().unwrap();
        assert_eq!((six.url().as_str(), six.is_loopback()), ("wss://[::1]:7070/link", true));
        assert_eq!("ws://[::1]:7070".parse::<MsAddress>().unwrap().host, "::1");
        for text in [
            "http://h:1/link",
            "wss://h_?:1/link",
            "ws://h/link",
            "ws://h:x/link",
            "ws://:1/link",
            "ws://h:1/ws",
        ] {
            assert!(text.parse::<MsAddress>().is_err(), "{text}");
        }
    }
}
