//! Messages over HTTP, as a hospital's own system posts them: one connection for each call, and
//! nothing between the test and the bytes.

use std::net::Ipv4Addr;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::process::Process;
use super::wait::{PATIENCE, within};

/// Where messages are posted.
const PATH: &str = "/v1/messages";

/// One call, not yet made.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: &'static str,
    /// All but `Host`, `Connection` and `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// What is posted.
    pub body: Vec<u8>,
}

/// What a call was answered.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The head, in lower case.
    pub head: String,
    /// The JSON.
    pub json: Value,
}

impl Call {
    /// Posts this JSON.
    pub fn new(message: &Value) -> Self {
        Self::text(&message.to_string())
    }

    /// Posts this text as JSON.
    pub fn text(body: &str) -> Self {
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        Self { method: "POST", headers, body: body.into() }
    }

    /// With another header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a token.
    pub fn bearer(self, token: &str) -> Self {
        self.with("Authorization", &format!("Bearer {token}"))
    }

    /// Opens a connection to a BS and writes the call, and does not wait for the answer.
    ///
    /// # Errors
    /// The BS cannot be reached.
    pub async fn begin(&self, bs: &Process) -> anyhow::Result<TcpStream> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, bs.port())).await?;
        let mut head = format!("{} {PATH} HTTP/1.1\r\nHost: bs\r\n", self.method);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Connection: close\r\nContent-Length: {}\r\n\r\n", self.body.len()));
        // One write: who refuses the head may close before the body has come.
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        stream.write_all(&bytes).await?;
        Ok(stream)
    }

    /// Makes the call.
    ///
    /// # Errors
    /// No answer, or none that can be read.
    pub async fn make(&self, bs: &Process) -> anyhow::Result<Answered> {
        let stream = self.begin(bs).await?;
        answer(stream).await
    }
}

/// Waits for the answer of a call that was begun.
///
/// # Errors
/// No answer, or none that can be read.
pub async fn answer(mut stream: TcpStream) -> anyhow::Result<Answered> {
    let mut bytes = Vec::new();
    within(PATIENCE, "the answer of a call", stream.read_to_end(&mut bytes)).await??;
    let text = String::from_utf8(bytes)?;
    let (head, body) = text.split_once("\r\n\r\n").context("answer without a head")?;
    let status = head.split(' ').nth(1).context("answer without a status")?.parse()?;
    let head = head.to_ascii_lowercase();
    ensure!(!head.contains("transfer-encoding"), "answers have a length: {head}");
    let json = serde_json::from_str(body).with_context(|| format!("no JSON: {body}"))?;
    Ok(Answered { status, head, json })
}
