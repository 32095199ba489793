//! The port for terminals: HTTP/1.1 on each accepted connection, until it becomes a terminal's
//! WebSocket or ends.
//!
//! Owns a connection from its accept to its handshake, and the bounds of both. `router` says which
//! part answers a request, `upgrade` is the handshake of a WebSocket, with `origin`, `token` and
//! `query` for what its request says, and `refusal` for what is wrong with it. What a terminal does afterwards is [`super::terminal`]'s; of the handshake, which needs
//! more memory than a session at rest, nothing is kept.

mod origin;
mod query;
mod refusal;
mod router;
mod token;
mod upgrade;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::IntGauge;
use tokio::io::{AsyncReadExt, AsyncWriteExt, sink};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use wardlink_identity::{Rules, TokenError};
use wardlink_service::stop::Stop;
use wardlink_tls::Acceptor;
use wardlink_wire::terminal::BODY_MAX_BYTES;

pub use self::origin::{BadOrigin, Origin, Origins};
pub(super) use self::query::Query;
pub(super) use self::refusal::Refusal;
use super::api::{Api, Caller};
use super::auth::{Auth, Holder, Source, Unproven};
use super::input::Input;
use super::meter::SessionRates;
use super::metrics::Metrics;
use super::playground::Playground;
use super::terminal;

/// What every route answers.
pub(super) type Answer = Response<Full<Bytes>>;

/// TLS and the head of the first request together, and a connection that rests between two
/// requests: what takes longer is given up.
const HEAD: Duration = Duration::from_secs(10);
/// Head of a request, in bytes: a token of 8 KiB in it, and as much again for all else.
const HEAD_MAX_BYTES: usize = 16 * 1_024;
/// Headers of a request. A browser behind two proxies sends under 40.
const HEADERS_MAX: usize = 64;
/// How long a connection may stay before it is a terminal's: long enough for another system to
/// send many messages on one, short enough that one who never reads its answers is gone some day.
const LIFE: Duration = Duration::from_secs(600);
/// How long a request that was begun may take after that, or after the stop signal: a message's
/// result takes 10 s at most.
const LAST: Duration = Duration::from_secs(15);

/// How long the client may take to see the end of its connection, and to send what was not waited
/// for: closed with that unread, the connection would be reset, and perhaps the answer lost.
const LINGER: Duration = Duration::from_millis(500);
/// What is read and thrown away meanwhile, in bytes: the largest call.
const LINGER_MAX_BYTES: u64 = 128 * 1_024;

/// How the port for terminals serves.
#[derive(Debug, Clone)]
pub struct FrontConfig {
    /// How it is found out who somebody is.
    pub auth: AuthConfig,
    /// The pages that may connect.
    pub origins: Origins,
    /// What a session may send.
    pub rates: SessionRates,
    /// Connections at a time.
    pub max_terminals: usize,
    /// Largest body of a message, in bytes.
    pub max_body_bytes: usize,
}

/// How it is found out who somebody is.
#[derive(Debug, Clone)]
pub enum AuthConfig {
    /// Everybody is believed.
    Development,
    /// By tokens.
    Jwt {
        /// What they must say.
        rules: Box<Rules>,
        /// Where the keys are that made them.
        source: Source,
    },
}

impl FrontConfig {
    /// Terminals at a time: 8 KiB each, as measured, are 800 MiB.
    pub const MAX_TERMINALS: usize = 100_000;

    /// Believes everybody, as `--auth development`, with the default bounds.
    pub fn development() -> Self {
        Self {
            auth: AuthConfig::Development,
            origins: Origins::Loopback,
            rates: SessionRates::default(),
            max_terminals: Self::MAX_TERMINALS,
            max_body_bytes: BODY_MAX_BYTES,
        }
    }
}

/// A terminal whose handshake is done.
#[derive(Debug)]
pub(super) struct Arrival {
    /// How it wants to be served.
    pub(super) query: Query,
    /// Who it is; `None` where its first frame is to tell.
    pub(super) holder: Option<Holder>,
}

/// What all connections of the port share.
#[derive(Debug)]
pub(super) struct Front {
    /// To the engine.
    pub(super) inputs: mpsc::Sender<Input>,
    /// What is counted.
    pub(super) metrics: Arc<Metrics>,
    /// Messages over HTTP.
    pub(super) api: Api,
    /// The page for newcomers, where there is one.
    pub(super) playground: Option<Playground>,
    /// Clear text or TLS.
    pub(super) acceptor: Acceptor,
    /// How it is found out who somebody is.
    pub(super) auth: Auth,
    /// What was set.
    pub(super) config: FrontConfig,
    /// Raised when no connection is accepted any more.
    pub(super) stop: Stop,
}

impl Front {
    /// Who calls over HTTP.
    ///
    /// # Errors
    /// Why its token does not count.
    async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Unproven> {
        let Auth::Jwt(keys) = &self.auth else { return Ok(Caller::Anyone) };
        let token = token::bearer(headers).map_err(|_| TokenError::Malformed)?;
        let (identity, _) = keys.verify(token.ok_or(TokenError::Missing)?).await?;
        Ok(Caller::Holder(identity))
    }
}

/// Serves one accepted connection until it ends: as HTTP, and then perhaps as a terminal.
pub(super) async fn serve(stream: TcpStream, front: Arc<Front>) {
    let _counted = Counted::new(&front);
    // Boxed, and let go before the session begins: what a handshake needs is not kept for its life.
    let entered = Box::pin(http(stream, &front)).await;
    if let Some((socket, arrival)) = entered {
        terminal::serve(socket, arrival, front).await;
    }
}

/// One connection in the count of them.
struct Counted(IntGauge);

impl Counted {
    fn new(front: &Front) -> Self {
        let connections = front.metrics.front.connections.clone();
        connections.inc();
        Self(connections)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// HTTP until the connection ends or a terminal's handshake is done.
async fn http(stream: TcpStream, front: &Arc<Front>) -> Option<(terminal::Socket, Arrival)> {
    let accepted = Instant::now();
    let stream = match timeout(HEAD, front.acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            return None;
        }
        Err(_) => return None,
    };
    let entry = Entry::default();
    let site = Site { front: Arc::clone(front), entry: entry.clone() };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD.saturating_sub(accepted.elapsed()))
        .max_header_size(HEAD_MAX_BYTES)
        .max_buf_size(HEAD_MAX_BYTES)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), site);
    let ended = tokio::select! {
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended,
        () = leave(front) => {
            Pin::new(&mut connection).graceful_shutdown();
            let last = poll_fn(|cx| connection.poll_without_shutdown(cx));
            timeout(LAST, last).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        // The client's doing, and it knows.
        tracing::debug!(%error, "connection failed");
        return None;
    }
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    let Some(arrival) = entry.take() else {
        // It may be gone already.
        let _ = timeout(LAST, stream.shutdown()).await;
        let rest = async { tokio::io::copy(&mut stream.take(LINGER_MAX_BYTES), &mut sink()).await };
        let _ = timeout(LINGER, rest).await;
        return None;
    };
    // Copied: as it is, it would keep the whole read buffer for the session's life.
    let rate = front.config.rates.bytes;
    Some((terminal::socket(stream, parts.read_buf.to_vec(), rate).await, arrival))
}

/// Ends when a connection that is no terminal's is to go.
async fn leave(front: &Front) {
    tokio::select! {
        () = sleep(LIFE) => {}
        () = front.stop.stopped() => {}
    }
}

/// The terminal that comes out of a connection's HTTP, where one does.
#[derive(Debug, Clone, Default)]
struct Entry(Arc<Mutex<Option<Arrival>>>);

impl Entry {
    fn put(&self, arrival: Arrival) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(arrival);
    }

    fn take(&self) -> Option<Arrival> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Marks an answer to a caller that is known and whose call was read: its connection may carry
/// another one. All others end theirs, so that a stranger gets one answer for each connection, and
/// connections are limited; else requests without end would hold it, and bytes that nobody reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known;

/// Answers the requests of one connection.
#[derive(Debug)]
struct Site {
    front: Arc<Front>,
    entry: Entry,
}

impl Service<Request<Incoming>> for Site {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (front, entry) = (Arc::clone(&self.front), self.entry.clone());
        Box::pin(async move {
            let mut answer = router::answer(&front, request, &entry).await;
            let known = answer.extensions().get::<Known>().is_some();
            if !known && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer)
        })
    }
}

/// A text for people.
pub(super) fn text(status: StatusCode, text: &str) -> Answer {
    let mut answer = Answer::new(Full::from(format!("{text}\n")));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}
