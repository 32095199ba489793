//! Which part answers a request.

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, StatusCode};
use wardlink_wire::terminal::TERMINAL_PATH;

use super::{Answer, Entry, Front, text, upgrade};
use crate::app::{api, playground};

/// Answers one request. A terminal's that is let in is put into `entry` beside its answer.
pub(super) async fn answer(front: &Front, request: Request<Incoming>, entry: &Entry) -> Answer {
    let path = request.uri().path();
    match path {
        TERMINAL_PATH => upgrade::answer(&request.map(drop), entry),
        api::PATH => {
            let caller = front.caller(request.headers());
            front.api.answer(caller, request).await
        }
        _ if playground::owns(path) && request.method() == Method::GET => {
            let page = front.playground.as_ref();
            playground::answer(page, &front.inputs, request.map(drop)).await
        }
        _ if playground::owns(path) => only("GET"),
        _ => text(StatusCode::NOT_FOUND, "not found; terminals connect at /ws"),
    }
}

/// The path is right, the method is not.
pub(super) fn only(method: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, &format!("only {method}"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
    answer
}
