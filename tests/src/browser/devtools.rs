//! The DevTools protocol: calls and their answers, one at a time, over one WebSocket.

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::cluster::{PATIENCE, within};

/// Problems that are kept; a test fails at the first.
const PROBLEMS_MAX: usize = 100;

/// A page's end of the protocol.
#[derive(Debug)]
pub(super) struct DevTools {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Value,
    number: u64,
    problems: Vec<String>,
}

impl DevTools {
    /// Opens a page and attaches to it; `url` is the browser's own.
    pub(super) async fn connect(url: &str) -> anyhow::Result<Self> {
        let (socket, _) = connect_async(url).await.context("connecting to the browser")?;
        let mut devtools = Self { socket, session: Value::Null, number: 0, problems: Vec::new() };
        let target = devtools.call("Target.createTarget", json!({ "url": "about:blank" })).await?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let mut attached = devtools.call("Target.attachToTarget", attach).await?;
        devtools.session = attached["sessionId"].take();
        Ok(devtools)
    }

    /// The answer to one call, within the deadline. One that comes later is skipped.
    pub(super) async fn call(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        within(PATIENCE, method, self.exchange(method, params)).await?
    }

    async fn exchange(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.number += 1;
        let number = self.number;
        let mut call = json!({ "id": number, "method": method, "params": params });
        if !self.session.is_null() {
            call["sessionId"] = self.session.clone();
        }
        self.socket.send(Message::text(call.to_string())).await?;
        loop {
            let message = self.socket.next().await.context("the browser has gone")??;
            let Message::Text(text) = message else { continue };
            let mut frame: Value = serde_json::from_str(&text)?;
            if frame["id"] == number {
                if let Some(error) = frame.get("error") {
                    bail!("{method}: {error}");
                }
                return Ok(frame["result"].take());
            }
            self.note(&frame);
        }
    }

    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    fn note(&mut self, frame: &Value) {
        let params = &frame["params"];
        let problem = match frame["method"].as_str() {
            Some("Runtime.exceptionThrown") => &params["exceptionDetails"],
            Some("Runtime.consoleAPICalled")
                if matches!(params["type"].as_str(), Some("error" | "warning" | "assert")) =>
            {
                &params["args"]
            }
            Some("Log.entryAdded")
                if matches!(params["entry"]["level"].as_str(), Some("error" | "warning")) =>
            {
                &params["entry"]
            }
            _ => return,
        };
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem.to_string());
        }
    }
}
