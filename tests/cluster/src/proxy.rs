//! A proxy between a program and the API server, which makes faults.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::faults::{Answer, Fault, Faults, is_watch, status};

/// Cuts that a watch may be behind; each ends it, so one is enough.
const CUTS: usize = 4;

type OutBody = UnsyncBoxBody<Bytes, io::Error>;

/// How watches that are open end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// In the middle, as when a connection breaks.
    Broken,
    /// As the API server ends one whose resource version is too old.
    Gone,
}

/// Passes requests on to the API server, but for the faults. It speaks HTTP without TLS on
/// loopback and passes on who is asking, so it is for programs with a token
/// ([`crate::Access::through`]). It ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    up: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

struct Shared {
    client: Client,
    faults: Mutex<Faults>,
    cuts: broadcast::Sender<Cut>,
}

impl Shared {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// Before the API server of this cluster.
    ///
    /// # Errors
    /// The kubeconfig cannot be read, or no port is free.
    pub async fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let file = Kubeconfig::read_from(cluster.kubeconfig())?;
        let mut config =
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        config.auth_info = AuthInfo::default();
        let shared = Arc::new(Shared {
            client: Client::try_from(config)?,
            faults: Mutex::default(),
            cuts: broadcast::channel(CUTS).0,
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let up = watch::channel(true).0;
        let serving = tokio::spawn(serve(listener, address, shared.clone(), up.subscribe()));
        Ok(Self { address, shared, up, serving })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a fault and returns its number.
    pub fn add(&self, fault: Fault) -> u64 {
        self.shared.faults().add(fault)
    }

    /// Takes a fault away.
    pub fn remove(&self, number: u64) {
        self.shared.faults().remove(number);
    }

    /// How often a fault was used so far.
    pub fn used(&self, number: u64) -> usize {
        self.shared.faults().used(number)
    }

    /// Breaks the watches that are open. Returns how many.
    pub fn break_watches(&self) -> usize {
        self.shared.cuts.send(Cut::Broken).unwrap_or_default()
    }

    /// Tells the watches that are open that their resource version is too old (410 Gone), and ends
    /// them. Returns how many.
    pub fn expire_watches(&self) -> usize {
        self.shared.cuts.send(Cut::Gone).unwrap_or_default()
    }

    /// Breaks all connections and takes no more, as an API server that is down.
    pub fn go_down(&self) {
        self.up.send_replace(false);
    }

    /// Takes connections again.
    pub fn come_up(&self) {
        self.up.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Takes connections while it is up. The tasks of the connections end with this one.
async fn serve(
    first: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    mut up: watch::Receiver<bool>,
) {
    let mut listener = Some(first);
    loop {
        let bound = match listener.take() {
            Some(listener) => listener,
            None => match TcpListener::bind(address).await.context("listening again") {
                Ok(listener) => listener,
                Err(error) => return eprintln!("the proxy ends: {error:#}"),
            },
        };
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = bound.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let shared = shared.clone();
                    connections.spawn(async move {
                        let service = service_fn(|request| handle(shared.clone(), request));
                        let http = hyper::server::conn::http1::Builder::new();
                        // What breaks a connection is the client's to report.
                        let _ = http.serve_connection(TokioIo::new(stream), service).await;
                    });
                }
                Some(_) = connections.join_next() => {}
                down = up.wait_for(|up| !up) => {
                    if down.is_err() { return }
                    break;
                }
            }
        }
        drop((bound, connections));
        if up.wait_for(|up| *up).await.is_err() {
            return;
        }
    }
}

async fn handle(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<OutBody>, Infallible> {
    let answer = shared.faults().decide(request.method(), request.uri());
    match answer {
        Some(Answer::Status(code)) => return Ok(fault(code)),
        Some(Answer::Hang) => std::future::pending().await,
        Some(Answer::Late(_) | Answer::Lost(_)) | None => {}
    }
    let cuts = is_watch(request.uri()).then(|| shared.cuts.subscribe());
    let response = match pass_on(&shared.client, request, cuts).await {
        Ok(response) => response,
        Err(error) => {
            eprintln!("the proxy cannot pass a request on: {error:#}");
            return Ok(fault(504));
        }
    };
    match answer {
        Some(Answer::Late(by)) => sleep(by).await,
        Some(Answer::Lost(code)) => return Ok(fault(code)),
        _ => {}
    }
    Ok(response)
}

async fn pass_on(
    client: &Client,
    request: Request<Incoming>,
    cuts: Option<broadcast::Receiver<Cut>>,
) -> anyhow::Result<Response<OutBody>> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = path.parse::<Uri>()?;
    head.headers.remove(HOST);
    head.headers.remove(CONNECTION);
    let body = body.collect().await?.to_bytes();
    let response = client.send(Request::from_parts(head, Body::from(body))).await?;
    let (mut head, body) = response.into_parts();
    head.headers.remove(CONNECTION);
    let body = match cuts {
        Some(cuts) => StreamBody::new(watched(body, cuts)).boxed_unsync(),
        None => body.map_err(io::Error::other).boxed_unsync(),
    };
    Ok(Response::from_parts(head, body))
}

/// The body of a watch until it ends or is cut.
fn watched(
    body: Body,
    cuts: broadcast::Receiver<Cut>,
) -> impl stream::Stream<Item = io::Result<Frame<Bytes>>> {
    stream::unfold(Some((body, cuts)), async |state| {
        let (mut body, mut cuts) = state?;
        tokio::select! {
            cut = cuts.recv() => match cut {
                Ok(Cut::Gone) => {
                    let gone = serde_json::json!({"type": "ERROR", "object": status(410)});
                    Some((Ok(Frame::data(format!("{gone}\n").into())), None))
                }
                _ => Some((Err(io::ErrorKind::ConnectionReset.into()), None)),
            },
            frame = body.frame() => {
                let frame = frame?.map_err(io::Error::other);
                let next = frame.is_ok().then_some((body, cuts));
                Some((frame, next))
            }
        }
    })
}

fn fault(code: u16) -> Response<OutBody> {
    let body = Full::new(Bytes::from(status(code).to_string()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = hyper::StatusCode::from_u16(code).unwrap_or_default();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}
