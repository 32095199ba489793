//! Messages over HTTP, for the hospital's own systems.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use wardlink_wire::terminal::TERMINAL_FRAME_MAX_BYTES;

use super::front::{Answer, Front, body, text};

/// Where messages are posted.
pub(super) const PATH: &str = "/v1/messages";

/// Answers a POST to [`PATH`].
pub(super) async fn answer(_front: &Front, request: Request<Incoming>) -> Answer {
    if let Err(status) = body(request.into_body(), TERMINAL_FRAME_MAX_BYTES).await {
        return text(status, "body");
    }
    text(StatusCode::NOT_FOUND, "not found; terminals connect at /ws")
}
