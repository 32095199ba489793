//! Which part answers a request.

use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Request, StatusCode};
use wardlink_wire::terminal::TERMINAL_PATH;

use super::{Answer, Entry, Front, text, upgrade};
use crate::app::{api, playground};

/// Answers one request. A terminal's that is let in is put into `entry` beside its answer.
pub(super) async fn answer(front: &Front, request: Request<Incoming>, entry: &Entry) -> Answer {
    let path = request.uri().path();
    match path {
        TERMINAL_PATH => upgrade::answer(front, &request.map(drop), entry).await,
        api::PATH => crossing(front, request).await,
        _ if playground::owns(path) && request.method() == Method::GET => {
            let page = front.playground.as_ref();
            playground::answer(page, &front.inputs, request.map(drop)).await
        }
        _ if playground::owns(path) => only("GET"),
        _ => text(StatusCode::NOT_FOUND, "terminals connect at /ws"),
    }
}

/// The HTTP API, for pages of other origins too where the settings allow them.
async fn crossing(front: &Front, request: Request<Incoming>) -> Answer {
    let origins = &front.config.origins;
    if !origins.allow(request.headers()) {
        return front.api.foreign();
    }
    let origin = request.headers().get(ORIGIN).filter(|_| origins.crosses()).cloned();
    let mut answer = match &origin {
        Some(_) if request.method() == Method::OPTIONS => preflight(),
        _ => match front.api.check(&request) {
            None => {
                let caller = front.caller(request.headers()).await;
                front.api.answer(caller, request).await
            }
            Some(answer) => answer,
        },
    };
    if let Some(origin) = origin {
        answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer.headers_mut().append(VARY, HeaderValue::from_static("origin"));
    }
    answer
}

/// What a browser asks before it lets a page of another origin call.
fn preflight() -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::NO_CONTENT;
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, "POST"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, idempotency-key"),
        (ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// The path is right, the method is not.
pub(super) fn only(method: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, &format!("only {method}"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
    answer
}
