//! The admin port: HTTP for probes, scrapers and people, apart from all other traffic.
//!
//! Owns `/livez` and `/readyz` and the connections; further GET routes are mounted by the program.
//! Knows nothing of what they show, and changes nothing: there is only GET.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::IntCounter;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

pub use hyper::StatusCode;

use crate::backoff::Backoff;
use crate::readiness::Readiness;
use crate::stop::Stop;

/// Connections at a time; beyond them the oldest is closed, for a probe must be answered whoever
/// holds connections open. A kubelet, two scrapers and a few people need under ten, for some
/// milliseconds each; so many cost 5 MiB.
const MAX_CONNECTIONS: usize = 256;

/// How long a client may take to send its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest life of a connection, which carries one request: head, handler and answer. Above
/// the 10 s that a scraper waits by default.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// How long answers that have begun may take once the stop signal is up.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// A plain text answer's content type.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// What a route answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body's content type.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// 200 with this body.
    pub fn ok(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, content_type, body: body.into() }
    }

    /// Plain text with this status.
    pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self { status, content_type: TEXT, body: text.into() }
    }
}

type Handler = Box<dyn Fn(String) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// The routes that a program mounts beside `/livez` and `/readyz`.
#[derive(Default)]
pub struct Routes {
    handlers: BTreeMap<&'static str, Handler>,
}

impl Routes {
    /// No further routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Mounts `path`. The handler gets the query (what follows `?`, as it came; empty without
    /// one) and must not block.
    pub fn get<F>(self, path: &'static str, handler: F) -> Self
    where
        F: Fn(&str) -> Answer + Send + Sync + 'static,
    {
        self.get_async(path, move |query| ready(handler(&query)))
    }

    /// [`Routes::get`] for a handler that waits for something. Its future is dropped when the
    /// client leaves or the connection's time (15 s) is over.
    pub fn get_async<F, A>(mut self, path: &'static str, handler: F) -> Self
    where
        F: Fn(String) -> A + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        self.handlers.insert(path, Box::new(move |query| Box::pin(handler(query))));
        self
    }
}

/// Serves the admin port until `stop` is up, then lets begun answers end (1 s at most).
///
/// `stop` is best not the process's own but one that is raised last: while the process drains,
/// probes and scrapers still want an answer, and [`Readiness`] knows by itself of the process's
/// stop signal.
///
/// `dropped` counts connections that were closed to make room for newer ones.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    readiness: Readiness,
    dropped: IntCounter,
    stop: Stop,
) {
    let site = Arc::new(Site { routes, readiness });
    let mut connections = JoinSet::new();
    let mut oldest: VecDeque<AbortHandle> = VecDeque::new();
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    loop {
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            Some(ended) = connections.join_next() => note_panic(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    backoff.reset();
                    oldest.push_back(connections.spawn(connection(stream, Arc::clone(&site))));
                    make_room(&mut oldest, &dropped);
                }
                Err(error) => {
                    // Such as no file descriptor left: it passes, so this never gives up.
                    tracing::warn!(%error, "admin port cannot accept a connection");
                    tokio::select! {
                        () = stop.stopped() => break,
                        () = sleep(backoff.next_delay()) => {}
                    }
                }
            },
        }
    }
    drop(listener);
    let begun = async { while connections.join_next().await.is_some() {} };
    // What is not done by then is aborted when `connections` drops.
    let _ = timeout(STOP_TIMEOUT, begun).await;
}

/// Keeps those that still run, at most [`MAX_CONNECTIONS`] of them, the newest.
fn make_room(oldest: &mut VecDeque<AbortHandle>, dropped: &IntCounter) {
    if oldest.len() > MAX_CONNECTIONS {
        oldest.retain(|connection| !connection.is_finished());
    }
    while oldest.len() > MAX_CONNECTIONS
        && let Some(connection) = oldest.pop_front()
    {
        connection.abort();
        dropped.inc();
    }
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && !error.is_cancelled()
    {
        tracing::error!(%error, "admin route panicked");
    }
}

async fn connection(stream: TcpStream, site: Arc<Site>) {
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(&request).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, serving).await {
        Ok(Ok(())) => {}
        // The client's doing, and it knows.
        Ok(Err(error)) => tracing::debug!(%error, "admin connection failed"),
        Err(_) => tracing::debug!("admin connection took too long"),
    }
}

struct Site {
    routes: Routes,
    readiness: Readiness,
}

impl Site {
    async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let get = *request.method() == Method::GET;
        let answer = if get {
            self.get(request.uri().path(), request.uri().query().unwrap_or_default()).await
        } else {
            Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n")
        };
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if !get {
            headers.insert(ALLOW, HeaderValue::from_static("GET"));
        }
        response
    }

    async fn get(&self, path: &str, query: &str) -> Answer {
        match (path, self.routes.handlers.get(path)) {
            ("/livez", _) => Answer::text(StatusCode::OK, "ok\n"),
            ("/readyz", _) => self.readyz(),
            (_, Some(handler)) => handler(query.to_owned()).await,
            (_, None) => self.not_found(),
        }
    }

    fn readyz(&self) -> Answer {
        let reasons = self.readiness.not_ready();
        if reasons.is_empty() {
            return Answer::text(StatusCode::OK, "ready\n");
        }
        let lines: String = reasons.iter().map(|reason| format!("not ready: {reason}\n")).collect();
        Answer::text(StatusCode::SERVICE_UNAVAILABLE, lines)
    }

    fn not_found(&self) -> Answer {
        let mounted = self.routes.handlers.keys().copied();
        let paths: Vec<_> = ["/livez", "/readyz"].into_iter().chain(mounted).collect();
        Answer::text(StatusCode::NOT_FOUND, format!("not found; there is {}\n", paths.join(" ")))
    }
}

#[cfg(test)]
mod tests;
