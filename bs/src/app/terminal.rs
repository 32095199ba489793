//! One terminal after its handshake: the task that reads and writes its session.
//!
//! A session at rest is this task, a small read buffer and an outbox. The engine never waits for
//! it; it waits for the engine, and with it the terminal. `greet` is the first frame of a terminal
//! that is not known yet, `standing` how long its token counts.

mod greet;
mod standing;

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WsCloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use wardlink_tls::Stream;
use wardlink_wire::terminal::{BadUp, Down, TERMINAL_FRAME_MAX_BYTES, TerminalError, Up};
use wardlink_wire::{CloseCode, Outcome, SessionId};

use self::greet::{READ_MAX_BYTES, greet};
use self::standing::Standing;
use super::auth::{Auth, Holder};
use super::front::{Arrival, Front};
use super::input::Input;
use super::meter::{Meter, Verdict};
use super::metered::Metered;
use super::outbox::Outbox;

/// A server pings a terminal after so long.
const PING: Duration = Duration::from_secs(25);
/// A terminal that was silent for so long is gone: a ping and ten seconds for its pong.
const SILENT: Duration = Duration::from_secs(35);
/// A write that takes longer says that the terminal does not read.
const WRITE: Duration = Duration::from_secs(10);
/// What the check of a token counts beside its frame, in frames: with 64 keys that have no names
/// it takes some 5 ms, and a session needs one in an hour.
const TOKEN_FRAMES: u32 = 50;
/// How long the answer to a close frame may take.
const LAST: Duration = Duration::from_secs(1);
/// Read buffer of a terminal, zeroed at each read and kept for the session's life: small.
const READ_BYTES: usize = 1_024;
/// Frames that do not wait for a write of their own.
const WRITE_BYTES: usize = 4 * 1_024;
/// What may wait for the socket: as much as may wait before it, in the outbox.
const WRITE_MAX_BYTES: usize = 1_024 * 1_024;

pub(super) type Socket = WebSocketStream<Metered<Stream>>;

/// The WebSocket of a connection whose handshake is done; `read` was read beyond it. It gives no more
/// than `rate` bytes a second.
pub(super) async fn socket(stream: Stream, read: Vec<u8>, rate: NonZeroU32) -> Socket {
    let stream = Metered::new(stream, rate);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .max_write_buffer_size(WRITE_MAX_BYTES)
        .max_message_size(Some(TERMINAL_FRAME_MAX_BYTES))
        .max_frame_size(Some(TERMINAL_FRAME_MAX_BYTES));
    Socket::from_partially_read(stream, read, Role::Server, Some(config)).await
}

/// Serves a terminal until its session ends. What may be large is boxed, and let go before the
/// session begins.
pub(super) async fn serve(mut socket: Socket, arrival: Arrival, front: Arc<Front>) {
    let Arrival { query, holder } = arrival;
    let holder = match holder {
        Some(holder) => holder,
        None => match Box::pin(known(&mut socket, &front)).await {
            Some(holder) => holder,
            None => return,
        },
    };
    let outbox = Outbox::default();
    let (id, answer) = oneshot::channel();
    let acks = query.acks;
    let opened =
        Input::SessionOpened { end: holder.end.clone(), query, outbox: outbox.clone(), id };
    if front.inputs.send(opened).await.is_err() {
        return;
    }
    let Ok(session) = answer.await else { return };
    let standing = Standing::new(holder, &front.auth, session);
    let meter = Meter::new(Instant::now());
    let mut terminal = Terminal { socket, session, acks, front, standing, meter, paused: None };
    let code = terminal.run(&outbox).await;
    // The engine is gone only at the end of the process.
    let _ = terminal.front.inputs.send(Input::SessionClosed(session)).await;
    if let Some(code) = code {
        close(&mut terminal.socket, code).await;
    }
}

/// Who a terminal is that has not said so in its handshake. `None`: the connection is done.
async fn known(socket: &mut Socket, front: &Front) -> Option<Holder> {
    let Auth::Jwt(keys) = &front.auth else { return None };
    socket.get_mut().bound(Some(READ_MAX_BYTES));
    let greeted = greet(socket, keys).await;
    socket.get_mut().bound(None);
    match greeted {
        Ok(Some(holder)) => Some(holder),
        // The library has queued the answer to a close frame.
        Ok(None) => {
            let _ = timeout(LAST, drain(socket)).await;
            None
        }
        Err(unknown) => {
            front.metrics.front.refused(unknown.why());
            let _ = timeout(WRITE, socket.send(unknown.frame())).await;
            close(socket, unknown.code()).await;
            None
        }
    }
}

struct Terminal {
    socket: Socket,
    session: SessionId,
    acks: bool,
    front: Arc<Front>,
    standing: Standing,
    meter: Meter,
    /// Until when it is not read, for it has sent too much.
    paused: Option<Instant>,
}

impl Terminal {
    /// Runs until the session ends; with which code to close, if the socket still stands.
    async fn run(&mut self, outbox: &Outbox) -> Option<CloseCode> {
        let mut heard = Instant::now();
        let mut pinged = false;
        let mut frames = VecDeque::new();
        loop {
            let silence = heard + if pinged { SILENT } else { PING };
            let standing = self.standing.due();
            let next = [self.paused, standing.map(|(at, _)| at)];
            let next = next.into_iter().flatten().fold(silence, Instant::min);
            tokio::select! {
                message = self.socket.next(), if self.paused.is_none() && !outbox.holds() => {
                    (heard, pinged) = (Instant::now(), false);
                    let message = match message {
                        Some(Ok(message)) => message,
                        Some(Err(error)) if wardlink_link::is_broken_protocol(&error) => {
                            return self.leave(CloseCode::ProtocolError);
                        }
                        Some(Err(_)) | None => return None,
                    };
                    if !self.weigh(1, message.len(), heard) {
                        return self.leave(CloseCode::RateLimited);
                    }
                    match message {
                        Message::Text(text) => {
                            if let Some(code) = self.up(&text, outbox).await? {
                                return self.leave(code);
                            }
                        }
                        Message::Binary(_) => return self.leave(CloseCode::ProtocolError),
                        Message::Ping(_) | Message::Pong(_) => {
                            // The library has queued the pong; without other traffic nothing else sends it.
                            timeout(WRITE, self.socket.flush()).await.ok()?.ok()?;
                        }
                        Message::Close(_) => {
                            // The library has queued the answer; reading on until the end sends it.
                            let _ = timeout(LAST, drain(&mut self.socket)).await;
                            return None;
                        }
                        Message::Frame(_) => return None,
                    }
                }
                () = outbox.filled() => {
                    let close = outbox.take(&mut frames);
                    match timeout(WRITE, self.write(&mut frames)).await {
                        Ok(written) => written?,
                        Err(_) => return None,
                    }
                    if close.is_some() {
                        return close;
                    }
                }
                () = self.standing.keys_changed() => {
                    self.standing.look(&self.front.auth, self.session);
                }
                () = sleep_until(next) => {
                    let now = Instant::now();
                    if let Some((_, code)) = standing.filter(|(at, _)| *at <= now) {
                        return self.leave(code);
                    }
                    if self.paused.is_some_and(|until| until <= now) {
                        // It could not be heard meanwhile.
                        (self.paused, heard, pinged) = (None, now, false);
                        continue;
                    }
                    // Nor is it now, and what it has said waits in its socket.
                    if self.paused.is_some() {
                        heard = now;
                        continue;
                    }
                    if silence > now {
                        continue;
                    }
                    if pinged {
                        return self.leave(CloseCode::Silent);
                    }
                    pinged = true;
                    let ping = self.socket.send(Message::Ping(Vec::new().into()));
                    timeout(WRITE, ping).await.ok()?.ok()?;
                }
            }
        }
    }

    /// This side ends the session, with this code.
    fn leave(&self, code: CloseCode) -> Option<CloseCode> {
        self.front.metrics.session_closed(code);
        Some(code)
    }

    /// Counts what was read; above its rates the terminal is not read for a while. False: it was
    /// above them for too long.
    fn weigh(&mut self, frames: u32, bytes: usize, now: Instant) -> bool {
        match self.meter.take(frames, bytes, &self.front.config.rates, now) {
            Verdict::Go => true,
            Verdict::Pause(until) => {
                self.front.metrics.front.paused.inc();
                self.paused = Some(until);
                true
            }
            Verdict::Close => false,
        }
    }

    /// A frame of the terminal; with which code to close, if it was one too many. `None`: the
    /// engine is gone.
    async fn up(&mut self, text: &Utf8Bytes, outbox: &Outbox) -> Option<Option<CloseCode>> {
        let decoded = Up::decode(text);
        if decoded.is_err() {
            self.front.metrics.bad_frames.inc();
        }
        match decoded {
            Ok(Up::Token(token)) => {
                if !self.weigh(TOKEN_FRAMES, 0, Instant::now()) {
                    return Some(Some(CloseCode::RateLimited));
                }
                let refresh = self.standing.refresh(&token.0, &self.front, self.session);
                if let Some(text) = Box::pin(refresh).await {
                    outbox.push(Down::Error { code: TerminalError::BadToken, text, id: None });
                }
                Some(None)
            }
            Ok(up) => {
                self.front.inputs.send(Input::Up(self.session, up)).await.ok()?;
                Some(None)
            }
            Err(BadUp { code: TerminalError::Invalid, text, id: Some(id), reason }) => {
                // A message that can never go has a result like any other; what is wrong with it
                // is said before.
                outbox.push(Down::Error { code: TerminalError::Invalid, text, id: None });
                let (outcome, reason) = (Outcome::Rejected, Some(reason));
                outbox.push(Down::Result { id, outcome, reason });
                Some(None)
            }
            Err(BadUp { code, text, id, .. }) => {
                outbox.push(Down::Error { code, text, id });
                Some(None)
            }
        }
    }

    /// Writes all frames with one flush. `None`: the socket does not stand any more.
    async fn write(&mut self, frames: &mut VecDeque<Down>) -> Option<()> {
        let mut shown = None;
        for down in frames.drain(..) {
            if let Down::Message(message) = &down {
                shown = Some(message.seq);
            }
            self.socket.feed(Message::text(down.to_json())).await.ok()?;
        }
        self.socket.flush().await.ok()?;
        if let Some(seq) = shown.filter(|_| !self.acks) {
            self.front.inputs.send(Input::Written(self.session, seq)).await.ok()?;
        }
        // What one burst needed is not kept.
        frames.shrink_to(16);
        Some(())
    }
}

async fn close(socket: &mut Socket, code: CloseCode) {
    let frame = CloseFrame { code: WsCloseCode::from(code.code()), reason: code.text().into() };
    // A peer that does not take the frame in time is closed without it.
    let _ = timeout(WRITE, socket.close(Some(frame))).await;
    // Wait for the peer's answer, so that the frame is not lost to a reset; bounded.
    let _ = timeout(LAST, drain(socket)).await;
}

/// Reads to the end, and sends what the library has to say to it.
async fn drain(socket: &mut Socket) {
    let _ = socket.flush().await;
    while let Some(Ok(_)) = socket.next().await {}
}
