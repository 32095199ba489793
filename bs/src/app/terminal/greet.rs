//! A terminal that did not show its token in the handshake: its first frame must.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use wardlink_identity::{TOKEN_MAX_BYTES, TokenError};
use wardlink_wire::CloseCode;
use wardlink_wire::terminal::{Down, TerminalError, Up};

use super::Socket;
use crate::app::auth::{Holder, KeyRing, Unproven};
use crate::app::front::Refusal;

/// The token must be here within this.
const TOKEN: Duration = Duration::from_secs(10);
/// The first frame, in bytes: the largest token and what is around it.
const FRAME_MAX_BYTES: usize = TOKEN_MAX_BYTES + 256;
/// What is read until it is whole, in bytes: itself, the control frames before it, and what fragments
/// need. The library would hold a frame of 66 KiB for whoever sends one.
pub(super) const READ_MAX_BYTES: usize = 16 * 1_024;
/// Control frames before it; a proxy may ping meanwhile.
const CONTROLS_MAX: usize = 16;

/// Why a terminal that is not known yet is sent away. Its text is for the terminal's developer.
#[derive(Debug)]
pub(super) struct Unknown {
    code: CloseCode,
    why: Refusal,
}

impl Unknown {
    fn new(code: CloseCode, why: Refusal) -> Self {
        Self { code, why }
    }

    /// As what it is counted.
    pub(super) fn why(&self) -> &Refusal {
        &self.why
    }

    /// How it is closed.
    pub(super) fn code(&self) -> CloseCode {
        self.code
    }

    /// What it is told before.
    pub(super) fn frame(&self) -> Message {
        let (code, text) = (TerminalError::BadToken, self.why.text().into_owned());
        Message::text(Down::Error { code, text, id: None }.to_json())
    }
}

/// Who the terminal is by its first frame. `None`: it has left.
///
/// # Errors
/// Nothing else is accepted, and not for longer than 10 s.
pub(super) async fn greet(socket: &mut Socket, keys: &KeyRing) -> Result<Option<Holder>, Unknown> {
    let token = match timeout(TOKEN, first(socket)).await {
        Ok(Ok(Some(token))) => token,
        Ok(Ok(None)) => return Ok(None),
        Ok(Err((code, problem))) => return Err(Unknown::new(code, Refusal::FirstFrame(problem))),
        Err(_) => {
            let why = Refusal::FirstFrame("no token within 10 s");
            return Err(Unknown::new(CloseCode::BadIdentity, why));
        }
    };
    match keys.verify(&token).await {
        Ok((identity, proof)) => Ok(Some(Holder { end: identity.end, proof: Some(proof) })),
        Err(unproven) => {
            let code = match &unproven {
                Unproven::Token(TokenError::Expired) => CloseCode::IdentityExpired,
                Unproven::Token(_) => CloseCode::BadIdentity,
                Unproven::NoKeys => CloseCode::Overloaded,
            };
            Err(Unknown::new(code, unproven.into()))
        }
    }
}

/// What a first frame is told that could hold no token.
const TOO_LARGE: &str = "the first frame is too large for a token";

/// The token of the first frame. `None`: the terminal has left.
async fn first(socket: &mut Socket) -> Result<Option<String>, (CloseCode, &'static str)> {
    let bad = |problem| Err((CloseCode::BadIdentity, problem));
    for _ in 0..CONTROLS_MAX {
        match socket.next().await {
            Some(Ok(Message::Text(text))) if text.len() > FRAME_MAX_BYTES => {
                return bad(TOO_LARGE);
            }
            Some(Ok(Message::Text(text))) => match Up::decode(&text) {
                Ok(Up::Token(token)) => return Ok(Some(token.0)),
                _ => return bad("the first frame must be a token"),
            },
            Some(Ok(Message::Binary(_))) => return bad("the first frame must be a token"),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                // The library has queued the pong.
                if socket.flush().await.is_err() {
                    return Ok(None);
                }
            }
            Some(Err(error)) if wardlink_link::is_broken_protocol(&error) => {
                return Err((CloseCode::ProtocolError, "the first frame breaks the protocol"));
            }
            Some(Err(_)) if socket.get_ref().is_over() => return bad(TOO_LARGE),
            Some(Ok(Message::Close(_) | Message::Frame(_)) | Err(_)) | None => return Ok(None),
        }
    }
    bad("too many control frames before a token")
}
