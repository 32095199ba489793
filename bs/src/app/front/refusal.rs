//! Why a request for a terminal's session is refused: one closed table of status, text and
//! metric label.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{
    ALLOW, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use wardlink_identity::TokenError;

use super::token::BadCarrier;
use super::{Answer, text};
use crate::app::auth::Unproven;

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
    /// The page that connects is of another origin.
    Origin,
    /// A token is not sent as it should be.
    Carrier(BadCarrier),
    /// The token does not count.
    Token(TokenError),
    /// There are no keys yet to verify tokens by.
    NoKeys,
    /// The first frame of a terminal that was to show its token is none, or has not come.
    FirstFrame(&'static str),
}

impl From<Unproven> for Refusal {
    fn from(error: Unproven) -> Self {
        match error {
            Unproven::NoKeys => Self::NoKeys,
            Unproven::Token(error) => Self::Token(error),
        }
    }
}

impl Refusal {
    /// What [`Refusal::reason`] can be, in its order.
    pub(in crate::app) const REASONS: [&'static str; 10] = [
        "method",
        "no_web_socket",
        "handshake",
        "body",
        "query",
        "origin",
        "carrier",
        "token",
        "no_keys",
        "first_frame",
    ];

    /// Its place in [`Refusal::REASONS`], for metrics.
    pub(in crate::app) fn index(&self) -> usize {
        match self {
            Self::Method => 0,
            Self::NoWebSocket => 1,
            Self::Handshake(_) => 2,
            Self::Body => 3,
            Self::Query(_) => 4,
            Self::Origin => 5,
            Self::Carrier(_) => 6,
            Self::Token(_) => 7,
            Self::NoKeys => 8,
            Self::FirstFrame(_) => 9,
        }
    }

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
            Self::Handshake(_) | Self::Body | Self::Query(_) | Self::FirstFrame(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Carrier(_) | Self::Token(_) => StatusCode::UNAUTHORIZED,
            Self::NoKeys => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What is wrong, for the terminal's developer.
    pub(in crate::app) fn text(&self) -> Cow<'static, str> {
        match self {
            Self::Method => "only GET".into(),
            Self::NoWebSocket => "terminals connect by WebSocket, version 13".into(),
            Self::Handshake(error) => format!("no WebSocket handshake: {error}").into(),
            Self::Body => "a handshake has no body".into(),
            Self::Query(problem) => problem.clone().into(),
            Self::Origin => "pages of this origin may not connect".into(),
            Self::Carrier(problem) => problem.text().into(),
            Self::Token(error) => error.to_string().into(),
            Self::FirstFrame(problem) => (*problem).into(),
            Self::NoKeys => "the keys for tokens have not been read yet".into(),
        }
    }

    /// The answer. The connection of a token that does not count ends: the next one costs another
    /// connection, and those are limited.
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
            Self::Carrier(_) => drop(say(WWW_AUTHENTICATE, "Bearer realm=\"wardlink\"")),
            Self::Token(_) => {
                let challenge = "Bearer realm=\"wardlink\", error=\"invalid_token\"";
                say(WWW_AUTHENTICATE, challenge);
            }
            Self::NoKeys => drop(say(RETRY_AFTER, "5")),
            Self::Handshake(_)
            | Self::Body
            | Self::Query(_)
            | Self::Origin
            | Self::FirstFrame(_) => {}
        }
        answer
    }
}
