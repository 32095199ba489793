//! Why a request for a terminal's session is refused: one closed table of status, text and
//! metric label.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderValue, SEC_WEBSOCKET_VERSION, UPGRADE};
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use super::{Answer, text};

/// Why a handshake is refused.
#[derive(Debug)]
pub(in crate::app) enum Refusal {
    /// Another method than GET.
    Method,
    /// No WebSocket, or of another version.
    NoWebSocket,
    /// A WebSocket's request that is ill formed.
    Handshake(Box<WsError>),
    /// A handshake with a body.
    Body,
    /// The query is ill formed; for the terminal's developer.
    Query(String),
}

impl Refusal {
    /// What the library says of a request.
    pub(super) fn of(error: WsError) -> Self {
        match error {
            WsError::Protocol(ProtocolError::WrongHttpMethod) => Self::Method,
            WsError::Protocol(
                ProtocolError::MissingConnectionUpgradeHeader
                | ProtocolError::MissingUpgradeWebSocketHeader
                | ProtocolError::MissingSecWebSocketVersionHeader,
            ) => Self::NoWebSocket,
            error => Self::Handshake(Box::new(error)),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoWebSocket => StatusCode::UPGRADE_REQUIRED,
            Self::Handshake(_) | Self::Body | Self::Query(_) => StatusCode::BAD_REQUEST,
        }
    }

    fn text(&self) -> Cow<'static, str> {
        match self {
            Self::Method => "only GET".into(),
            Self::NoWebSocket => "terminals connect by WebSocket, version 13".into(),
            Self::Handshake(error) => format!("no WebSocket handshake: {error}").into(),
            Self::Body => "a handshake has no body".into(),
            Self::Query(problem) => problem.clone().into(),
        }
    }

    /// The answer.
    pub(in crate::app) fn answer(&self) -> Answer {
        let mut answer = text(self.status(), &self.text());
        let mut say =
            |name, value| answer.headers_mut().insert(name, HeaderValue::from_static(value));
        match self {
            Self::Method => drop(say(ALLOW, "GET")),
            Self::NoWebSocket => {
                say(UPGRADE, "websocket");
                say(SEC_WEBSOCKET_VERSION, "13");
            }
            _ => {}
        }
        answer
    }
}
