//! A WebSocket client made of bytes: it can be wrong in every way, and shares no code with the servers.

use std::time::Duration;

use crate::cluster::within;
use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Any answer comes within so long: above the longest deadline of a handshake.
pub const ANSWER: Duration = Duration::from_secs(15);
/// The sample of RFC 6455, section 1.3; any 16 bytes will do.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

// Opcodes of RFC 6455, section 5.2.

/// A further fragment of a message.
pub const CONTINUATION: u8 = 0;
/// A text message.
pub const TEXT: u8 = 1;
/// A binary message.
pub const BINARY: u8 = 2;
/// A close frame.
pub const CLOSE: u8 = 8;
/// A ping.
pub const PING: u8 = 9;
/// A pong.
pub const PONG: u8 = 10;

/// What a frame looks like; right unless something is said.
#[derive(Debug, Clone)]
pub struct Frame {
    opcode: u8,
    fin: bool,
    reserved: u8,
    masked: bool,
    payload: Vec<u8>,
    /// The length that it says it has, in eight bytes, whatever it has.
    claims: Option<u64>,
}

impl Frame {
    /// A frame that is right: masked, and a whole message.
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        Self { opcode, fin: true, reserved: 0, masked: true, payload, claims: None }
    }

    /// A text.
    pub fn text(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(TEXT, payload)
    }

    /// More of the message follows.
    pub fn more(mut self) -> Self {
        self.fin = false;
        self
    }

    /// With these reserved bits set.
    pub fn reserved(mut self, bits: u8) -> Self {
        self.reserved = bits;
        self
    }

    /// Not masked, as a client must not send it.
    pub fn unmasked(mut self) -> Self {
        self.masked = false;
        self
    }

    /// That says it is of this length.
    pub fn claiming(mut self, length: u64) -> Self {
        self.claims = Some(length);
        self
    }

    /// The same with a text in place of another.
    pub fn replacing(mut self, from: &str, to: &str) -> Self {
        if let Ok(text) = std::str::from_utf8(&self.payload) {
            self.payload = text.replace(from, to).into();
        }
        self
    }

    /// As it is on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.fin) << 7 | self.reserved << 4 | self.opcode];
        let mask = u8::from(self.masked) << 7;
        match (self.claims, self.payload.len()) {
            (None, length @ 0..=125) => out.push(mask | length as u8),
            (None, length @ 126..=0xffff) => {
                out.push(mask | 126);
                out.extend((length as u16).to_be_bytes());
            }
            (claims, length) => {
                out.push(mask | 127);
                out.extend(claims.unwrap_or(length as u64).to_be_bytes());
            }
        }
        if self.masked {
            let key = [0x37, 0xfa, 0x21, 0x3d];
            out.extend(key);
            out.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        } else {
            out.extend(&self.payload);
        }
        out
    }
}

/// What a server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// A whole text or binary message, or a control frame: opcode and payload.
    Frame(u8, Vec<u8>),
    /// A close frame: code and reason.
    Close(u16, String),
    /// The connection ended without one.
    End,
}

/// A connection in whatever state.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    /// Connects to a port of this machine.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// Connects and upgrades; `headers` are further ones, each with its line end.
    ///
    /// # Errors
    /// It is refused.
    pub async fn open(port: u16, path: &str, headers: &str) -> anyhow::Result<Self> {
        let mut raw = Self::connect(port).await?;
        let (status, head) = raw.request(&upgrade(port, path, headers)).await?;
        ensure!(status == 101, "{path}: {head}");
        Ok(raw)
    }

    /// Writes; an error means that the server has closed, which the next read says too.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// As [`Raw::write`].
    pub async fn send(&mut self, frame: Frame) {
        self.write(&frame.bytes()).await;
    }

    /// Reads to the end, and writes a byte each `drip` meanwhile.
    ///
    /// # Errors
    /// It has no end in time.
    pub async fn until_end(self, drip: Duration) -> anyhow::Result<()> {
        let (mut from, mut to) = self.stream.into_split();
        let dripping = async {
            while to.write_all(b"x").await.is_ok() {
                sleep(drip).await;
            }
            std::future::pending::<()>().await;
        };
        let reading = async {
            let mut bytes = [0; 1024];
            while matches!(from.read(&mut bytes).await, Ok(n) if n > 0) {}
        };
        let both = async {
            tokio::select! {
                () = reading => {}
                () = dripping => {}
            }
        };
        within(ANSWER * 2, "the end of the connection", both).await
    }

    /// Sends a request and reads the head of its answer, and its body where it has a length.
    ///
    /// # Errors
    /// No answer in time, or none that can be read.
    pub async fn request(&mut self, request: &str) -> anyhow::Result<(u16, String)> {
        self.write(request.as_bytes()).await;
        self.answer().await
    }

    /// The answer to a request; status 0 where the connection ended without one.
    ///
    /// # Errors
    /// As [`Raw::request`].
    pub async fn answer(&mut self) -> anyhow::Result<(u16, String)> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.fill().await? {
                return Ok((0, String::new()));
            }
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let head = String::from_utf8(head)?;
        let status = head.split(' ').nth(1).context("a status")?.parse()?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        // A refusal without a length ends with the connection.
        let length: usize = length.unwrap_or(if status < 400 { 0 } else { usize::MAX });
        while self.read.len() < length && self.fill().await? {}
        let body: Vec<u8> = self.read.drain(..length.min(self.read.len())).collect();
        Ok((status, head + &String::from_utf8_lossy(&body)))
    }

    /// False: the end.
    async fn fill(&mut self) -> anyhow::Result<bool> {
        let mut bytes = [0; 16 * 1024];
        match within(ANSWER, "an answer", self.stream.read(&mut bytes)).await? {
            Ok(n) => {
                self.read.extend(&bytes[..n]);
                Ok(n > 0)
            }
            // A reset is an end, too.
            Err(_) => Ok(false),
        }
    }

    /// The next frame. A server's frames are never masked, reserved or, as Wardlink writes
    /// them, fragmented.
    ///
    /// # Errors
    /// None in time, or one that a server must not send.
    pub async fn next(&mut self) -> anyhow::Result<Came> {
        loop {
            if let Some((opcode, payload, length)) = parse(&self.read)? {
                self.read.drain(..length);
                if opcode != CLOSE {
                    return Ok(Came::Frame(opcode, payload));
                }
                let Some((code, reason)) = payload.split_first_chunk() else {
                    return Ok(Came::Close(1005, String::new()));
                };
                let reason = String::from_utf8(reason.to_vec())?;
                return Ok(Came::Close(u16::from_be_bytes(*code), reason));
            }
            if !self.fill().await? {
                return Ok(Came::End);
            }
        }
    }

    /// The next text, whatever control frames come before it.
    ///
    /// # Errors
    /// Something else comes.
    pub async fn text(&mut self) -> anyhow::Result<String> {
        loop {
            match self.next().await? {
                Came::Frame(TEXT, payload) => return Ok(String::from_utf8(payload)?),
                Came::Frame(PING | PONG, _) => {}
                other => bail!("no text came but {other:?}"),
            }
        }
    }

    /// How it ends: all frames before it are passed over.
    ///
    /// # Errors
    /// It has no end in time.
    pub async fn end(&mut self) -> anyhow::Result<Came> {
        loop {
            match self.next().await? {
                Came::Frame(..) => {}
                other => return Ok(other),
            }
        }
    }
}

/// Opcode, payload, and what the frame takes; `None`: not all of it is there.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<(u8, Vec<u8>, usize)>> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    ensure!(first & 0x70 == 0, "reserved bits are set");
    ensure!(first & 0x80 != 0, "a fragment");
    ensure!(second & 0x80 == 0, "a server must not mask");
    let (length, head) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 4),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize, 10)
        }
        (126 | 127, _) => return Ok(None),
        (length, _) => (usize::from(length), 2),
    };
    if bytes.len() < head + length {
        return Ok(None);
    }
    Ok(Some((first & 0x0f, bytes[head..head + length].to_vec(), head + length)))
}

/// An upgrade request that is right, with further headers.
pub fn upgrade(port: u16, path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
}
