//! The page with which a newcomer tries the system.

use hyper::{Request, StatusCode};

use super::front::{Answer, Front, text};

/// Whether a path is the page's.
pub(super) fn owns(path: &str) -> bool {
    path == "/" || path.starts_with("/playground/")
}

/// Answers a GET for such a path.
pub(super) fn answer<B>(_front: &Front, _request: &Request<B>) -> Answer {
    text(StatusCode::NOT_FOUND, "not found; terminals connect at /ws")
}
