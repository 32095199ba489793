//! From an accepted connection to a link: TLS, the HTTP request, who it is.
//!
//! Owns the one deadline over all of it, and what a peer that is no BS of this cluster is told.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL,
    WWW_AUTHENTICATE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use tokio_tungstenite::tungstenite::protocol::Role;
use wardlink_link::Socket;
use wardlink_service::hush::Hush;
use wardlink_tls::Acceptor;
use wardlink_wire::link::{LINK_PATH, LINK_SUBPROTOCOL};

use super::identity::{Doorkeeper, Standing, Unknown};
use super::metrics::{Metrics, Refusal};

/// TLS, the request and its answer together: what takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Head of a request: a token of 8 KiB, and as much again for all else.
const HEAD_MAX_BYTES: usize = 16 * 1_024;
/// Headers of a request. A BS sends eight.
const HEADERS_MAX: usize = 64;

type Answer = Response<Full<Bytes>>;

/// What all handshakes share.
#[derive(Debug)]
pub(super) struct Entrance {
    acceptor: Acceptor,
    identity: Doorkeeper,
    metrics: Arc<Metrics>,
    hush: Hush,
}

/// A link's socket, and what the handshake said of its BS.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) socket: Socket,
    /// It speaks the three items of old.
    pub(super) plain: bool,
    /// Who it is, where that was checked.
    pub(super) standing: Option<Standing>,
}

/// What a request that is let in says.
#[derive(Debug)]
struct Admitted {
    plain: bool,
    standing: Option<Standing>,
}

impl Entrance {
    pub(super) fn new(acceptor: Acceptor, identity: Doorkeeper, metrics: Arc<Metrics>) -> Self {
        Self { acceptor, identity, metrics, hush: Hush::default() }
    }

    /// The link that a connection becomes, within 5 s. What is refused is counted, and logged
    /// once in a while.
    pub(super) async fn enter(&self, stream: TcpStream) -> Option<Entered> {
        let peer = stream.peer_addr().ok();
        // Without an address it is gone already.
        let from = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip());
        match timeout(HANDSHAKE, self.handshake(stream, from)).await {
            Ok(Ok(entered)) => Some(entered),
            Ok(Err((refusal, error))) => self.refused(peer, refusal, &error),
            Err(_) => self.refused(peer, Refusal::Slow, "not done in time"),
        }
    }

    fn refused(&self, peer: Option<SocketAddr>, refusal: Refusal, error: &str) -> Option<Entered> {
        self.metrics.refused(refusal);
        if let Some(held_back) = self.hush.ask(Instant::now()) {
            let peer = peer.map(tracing::field::display);
            let reason = refusal.label();
            tracing::warn!(peer, reason, error, held_back, "link refused");
        }
        None
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        from: IpAddr,
    ) -> Result<Entered, (Refusal, String)> {
        let stream = self.acceptor.accept(stream).await;
        let stream = stream.map_err(|error| (Refusal::Tls, error.to_string()))?;
        // What the one request of this connection came to.
        let decided = Mutex::new(Err((Refusal::Request, "no request".to_owned())));
        let service = service_fn(|request: Request<Incoming>| {
            Box::pin(async {
                let (answer, result) = self.answer(&request.map(|_| ()), from).await;
                *decided.lock().unwrap_or_else(PoisonError::into_inner) = result;
                Ok::<_, Infallible>(answer)
            })
        });
        let mut connection = http1::Builder::new()
            .max_header_size(HEAD_MAX_BYTES)
            .max_buf_size(HEAD_MAX_BYTES)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        poll_fn(|cx| connection.poll_without_shutdown(cx))
            .await
            .map_err(|error| (Refusal::Request, error.to_string()))?;
        let http1::Parts { io, read_buf, .. } = connection.into_parts();
        let mut stream = io.into_inner();
        match decided.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Ok(Admitted { plain, standing }) => {
                let config = Some(wardlink_link::config());
                let read = read_buf.into();
                let socket =
                    WebSocketStream::from_partially_read(stream, read, Role::Server, config).await;
                Ok(Entered { socket, plain, standing })
            }
            Err(refused) => {
                // It may be gone already.
                let _ = stream.shutdown().await;
                Err(refused)
            }
        }
    }

    async fn answer(
        &self,
        request: &Request<()>,
        from: IpAddr,
    ) -> (Answer, Result<Admitted, (Refusal, String)>) {
        let refuse =
            |status, refusal, problem: String| (text(status, &problem), Err((refusal, problem)));
        if request.uri().path() != LINK_PATH {
            let problem = format!("links are at {LINK_PATH}");
            return refuse(StatusCode::NOT_FOUND, Refusal::Request, problem);
        }
        let switching = match create_response(request) {
            Ok(switching) => switching,
            Err(error) => {
                let problem = format!("no WebSocket handshake: {error}");
                return refuse(StatusCode::BAD_REQUEST, Refusal::Request, problem);
            }
        };
        let (refusal, problem) = match self.identity.check(bearer(request.headers()), from).await {
            Ok(standing) => {
                let plain = !names_subprotocol(request.headers());
                let mut answer: Answer = switching.map(|()| Full::default());
                if !plain {
                    let name = HeaderValue::from_static(LINK_SUBPROTOCOL);
                    answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
                }
                return (answer, Ok(Admitted { plain, standing }));
            }
            Err(Unknown::Unchecked) => {
                let problem = "who this is could not be checked in time".to_owned();
                return refuse(StatusCode::SERVICE_UNAVAILABLE, Refusal::Unchecked, problem);
            }
            Err(Unknown::Nothing) => {
                (Refusal::NoSecret, "a link needs a secret, as Authorization: Bearer")
            }
            Err(Unknown::WrongToken(refused)) => (Refusal::WrongToken, refused.text()),
            Err(Unknown::WrongSecret) => (Refusal::WrongSecret, "the link's secret is a wrong one"),
        };
        let (mut answer, refused) = refuse(StatusCode::UNAUTHORIZED, refusal, problem.to_owned());
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        (answer, refused)
    }
}

fn text(status: StatusCode, text: &str) -> Answer {
    let mut answer = Answer::new(Full::from(format!("{text}\n")));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    // One request a connection.
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// What stands behind the one `Authorization: Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(one), None) = (all.next(), all.next()) else { return None };
    let (scheme, shown) = one.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| shown.trim_ascii())
}

fn names_subprotocol(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut names = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    names.any(|name| name.trim() == LINK_SUBPROTOCOL)
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
