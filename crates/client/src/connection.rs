//! One WebSocket session with a BS: frames out, frames in, why it ended.
//!
//! Knows nothing of reconnects, results and repeats; the [`Client`](crate::Client) does. For
//! tests, load generators and tools that want to see each frame.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message as Frame};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use wardlink_tls::{Connector, PeerName, Stream as Transport};
use wardlink_wire::terminal::{
    Down, TERMINAL_FRAME_MAX_BYTES, TERMINAL_SUBPROTOCOL, TerminalError, Up,
};

use crate::config::{Identity, Target};
use crate::error::{Closed, ConfigError, ConnectError};
use crate::token::BearerToken;

/// Time for reaching a server and its handshake.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// A server pings every 25 s; silence for longer than two pings means that nobody is there.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Time for the closing handshake.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// Read and write buffer. Small, for a load generator has many connections.
const BUFFER_BYTES: usize = 4 * 1024;
/// What may wait for the socket: no more than a frame of any size beyond the buffer is written
/// before the socket takes some, and a pong.
const WRITE_BUFFER_MAX_BYTES: usize = 2 * TERMINAL_FRAME_MAX_BYTES;
/// Frames that are read before what was written must be flushed.
const READS_PER_FLUSH: u32 = 32;
/// Longest text of a refusal that is kept.
const REFUSAL_MAX_CHARS: usize = 200;
/// Close code of a close frame without one (RFC 6455, section 7.4.1).
const NO_CODE: u16 = 1005;

/// One WebSocket session with a BS.
#[derive(Debug)]
pub struct Connection {
    stream: WebSocketStream<Transport>,
    heard: Instant,
    unflushed: bool,
    reads: u32,
    out: String,
}

impl Connection {
    /// Connects and shakes hands; the server's `welcome` is the first frame to come.
    ///
    /// # Errors
    /// After 10 s at the latest, and 10 s for a token. Cancel safe.
    pub async fn connect(target: &Target) -> Result<Self, ConnectError> {
        Self::open(target).await.map(|(connection, _)| connection)
    }

    /// [`Connection::connect`], with the token that was shown.
    pub(crate) async fn open(target: &Target) -> Result<(Self, Option<BearerToken>), ConnectError> {
        let uri = target.uri()?;
        let token = match &target.identity {
            Identity::Development => None,
            Identity::Bearer(source) => Some(source.fetch().await?),
        };
        let handshake = Box::pin(handshake(uri, target, token.as_ref()));
        let stream =
            timeout(CONNECT_WAIT, handshake).await.map_err(|_| ConnectError::TimedOut)??;
        let connection =
            Self { stream, heard: Instant::now(), unflushed: false, reads: 0, out: String::new() };
        Ok((connection, token))
    }

    /// Writes a frame. It waits while the socket takes nothing, and reads nothing meanwhile; use
    /// [`Connection::exchange`] where the server may wait for its own frames to be read.
    ///
    /// # Errors
    /// When the connection has broken. Not cancel safe: a frame may be written in part, later
    /// calls write the rest first.
    pub async fn send(&mut self, up: &Up) -> Result<(), Closed> {
        self.feed(up).await?;
        self.flush().await
    }

    /// [`Connection::send`] without the flush, for many frames at once.
    ///
    /// # Errors
    /// When the connection has broken.
    pub async fn feed(&mut self, up: &Up) -> Result<(), Closed> {
        let frame = self.encode(up);
        self.stream.feed(frame).await.map_err(lost)?;
        self.unflushed = true;
        Ok(())
    }

    /// Writes out what was fed. Cancel safe.
    ///
    /// # Errors
    /// When the connection has broken.
    pub async fn flush(&mut self) -> Result<(), Closed> {
        self.stream.flush().await.map_err(lost)?;
        self.unflushed = false;
        Ok(())
    }

    /// The next frame of the server. Answers its pings. Cancel safe.
    ///
    /// # Errors
    /// When the connection ended, and why. Frames of a type that this version does not know are
    /// skipped.
    pub async fn next(&mut self) -> Result<Down, Closed> {
        self.exchange(|| None).await
    }

    /// The next frame of the server, while writing what `next_write` gives whenever the socket
    /// has room, flushed when there is nothing to read. Cancel safe: what `next_write` gave is
    /// written first by later calls.
    ///
    /// # Errors
    /// As [`Connection::next`].
    pub async fn exchange(
        &mut self,
        mut next_write: impl FnMut() -> Option<Up>,
    ) -> Result<Down, Closed> {
        loop {
            let silent_at = self.heard + SILENCE_MAX;
            let exchange = std::future::poll_fn(|cx| self.poll_exchange(cx, &mut next_write));
            match timeout_at(silent_at, exchange).await {
                Ok(result) => return result,
                Err(_) if self.heard + SILENCE_MAX <= Instant::now() => return Err(Closed::Silent),
                // Pings were heard meanwhile.
                Err(_) => {}
            }
        }
    }

    /// Closes with code 1000 and waits up to 1 s for the server's answer, so that what was
    /// written arrives.
    pub async fn close(mut self) {
        let close = async {
            let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            self.stream.close(Some(normal)).await?;
            while let Some(frame) =
                std::future::poll_fn(|cx| Pin::new(&mut self.stream).poll_next(cx)).await
            {
                frame?;
            }
            Ok::<(), WsError>(())
        };
        // Whatever fails here, the connection is gone.
        let _ = timeout(CLOSE_WAIT, close).await;
    }

    fn encode(&mut self, up: &Up) -> Frame {
        self.out.clear();
        up.encode(&mut self.out);
        Frame::text(self.out.as_str())
    }

    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        next_write: &mut impl FnMut() -> Option<Up>,
    ) -> Poll<Result<Down, Closed>> {
        let broken = self.poll_write(cx, next_write).err();
        loop {
            match Pin::new(&mut self.stream).poll_next(cx) {
                Poll::Ready(frame) => {
                    self.heard = Instant::now();
                    match self.receive(frame) {
                        Some(result) => {
                            if result.is_err() {
                                // A last chance for the answer to a close frame.
                                let _ = Pin::new(&mut self.stream).poll_flush(cx);
                            }
                            return Poll::Ready(result);
                        }
                        None => continue,
                    }
                }
                // Reading goes first where writing fails: the server's close frame says why.
                Poll::Pending => match broken {
                    Some(error) => return Poll::Ready(Err(lost(error))),
                    None => break,
                },
            }
        }
        self.reads = 0;
        match self.poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(lost(error))),
            _ => Poll::Pending,
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        next_write: &mut impl FnMut() -> Option<Up>,
    ) -> Result<(), WsError> {
        while let Poll::Ready(ready) = Pin::new(&mut self.stream).poll_ready(cx) {
            ready?;
            let Some(up) = next_write() else { break };
            let frame = self.encode(&up);
            Pin::new(&mut self.stream).start_send(frame)?;
            self.unflushed = true;
        }
        self.reads += 1;
        if self.reads >= READS_PER_FLUSH {
            self.reads = 0;
            if let Poll::Ready(flushed) = self.poll_flush(cx) {
                return flushed;
            }
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        if !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.unflushed = flushed.is_pending();
        flushed
    }

    /// What a frame means; `None` for those that the WebSocket needs for itself.
    fn receive(&mut self, frame: Option<Result<Frame, WsError>>) -> Option<Result<Down, Closed>> {
        match frame {
            Some(Ok(Frame::Text(text))) => match Down::decode(text.as_str()) {
                Ok(down) => Some(Ok(down)),
                Err(bad) if bad.code == TerminalError::UnknownType => {
                    tracing::debug!(error = %bad, "skipped a frame of a later version");
                    None
                }
                Err(bad) => Some(Err(Closed::BadFrame(bad))),
            },
            Some(Ok(Frame::Close(frame))) => Some(Err(match frame {
                Some(frame) => {
                    Closed::Code { code: frame.code.into(), text: frame.reason.as_str().to_owned() }
                }
                None => Closed::Code { code: NO_CODE, text: String::new() },
            })),
            Some(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Binary(_) | Frame::Frame(_))) => None,
            Some(Err(error)) => Some(Err(lost(error))),
            None => Some(Err(Closed::Lost(None))),
        }
    }
}

fn lost(error: WsError) -> Closed {
    Closed::Lost(Some(Box::new(error)))
}

async fn handshake(
    uri: Uri,
    target: &Target,
    token: Option<&BearerToken>,
) -> Result<WebSocketStream<Transport>, ConnectError> {
    let stream = reach(&uri, target).await?;
    let mut request = ClientRequestBuilder::new(uri).with_sub_protocol(TERMINAL_SUBPROTOCOL);
    if let Some(BearerToken { token, .. }) = token {
        request = request.with_header("Authorization", format!("Bearer {}", token.0));
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_MAX_BYTES + BUFFER_BYTES)
        .max_message_size(Some(TERMINAL_FRAME_MAX_BYTES))
        .max_frame_size(Some(TERMINAL_FRAME_MAX_BYTES));
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((stream, _)) => Ok(stream),
        Err(WsError::Http(response)) => Err(ConnectError::Refused {
            status: response.status().as_u16(),
            text: first_line(response.body().as_deref().unwrap_or_default()),
        }),
        Err(error) => Err(ConnectError::Handshake(Box::new(error))),
    }
}

/// What a server says, as far as a person may want to read it: whoever answers may not be one of
/// ours.
fn first_line(body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    let line = body.lines().next().unwrap_or_default().trim();
    line.chars().filter(|c| !c.is_control()).take(REFUSAL_MAX_CHARS).collect()
}

/// A connection to the server, encrypted where its URL says so.
async fn reach(uri: &Uri, target: &Target) -> Result<Transport, ConnectError> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let encrypted = uri.scheme_str() == Some("wss");
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let connected = async {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let stream = connected.await.map_err(|source| ConnectError::Unreachable {
        address: format!("{host}:{port}"),
        source,
    })?;
    if !encrypted {
        return Ok(Transport::Plain(stream));
    }
    let connector: &Connector =
        target.tls.as_ref().ok_or_else(|| ConfigError::NoTls(target.url.clone()))?;
    let name: PeerName = host.parse().map_err(|_| ConfigError::Url(target.url.clone()))?;
    let encrypted = connector.connect(&name, stream).await;
    encrypted.map_err(|source| ConnectError::Tls { name: host.to_owned(), source })
}
