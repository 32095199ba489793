//! The page with which a newcomer tries the system, and what it shows of this server.
//!
//! Only in development mode. The page's files are part of the program; they load nothing from
//! elsewhere, and their Content-Security-Policy lets them reach this machine alone.

use std::time::Duration;

use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST,
    HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Request, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use wardlink_wire::{EndId, PARTITIONS};

use super::front::{Answer, text};
use super::input::Input;
use crate::core::Snapshot;

/// Longest wait for the engine.
const LOOK: Duration = Duration::from_secs(1);
/// Ends whose partition one request may ask for: twice what the page shows.
const ENDS_MAX: usize = 16;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// `connect-src` names what a page of a BS on loopback may need: other BSs on loopback. Trusted
/// types: no text of a message can become markup.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self' ws://127.0.0.1:* ws://localhost:* http://127.0.0.1:* http://localhost:*; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'",
);

/// What the page is told once.
#[derive(Debug, Clone, Default)]
pub struct Playground {
    /// Where terminals connect, of this BS and others, as `ws://host:port/ws`.
    pub servers: Vec<String>,
}

/// Whether a path is the page's.
pub(super) fn owns(path: &str) -> bool {
    path == "/" || path.starts_with("/playground/")
}

/// Answers a GET for such a path; without a `playground` there is nothing.
pub(super) async fn answer(
    playground: Option<&Playground>,
    inputs: &mpsc::Sender<Input>,
    request: Request<()>,
) -> Answer {
    let path = request.uri().path();
    let Some(playground) = playground else { return not_found() };
    if !asked_by_its_name(request.headers()) {
        return text(StatusCode::FORBIDDEN, "the playground is at 127.0.0.1 or localhost");
    }
    if path == "/playground/state" {
        let query = request.uri().query().unwrap_or_default();
        let mut answer = state(inputs, playground, query).await;
        share(request.headers(), answer.headers_mut());
        return answer;
    }
    match file(path) {
        Some((kind, content)) => page(kind, content.into()),
        None => not_found(),
    }
}

fn not_found() -> Answer {
    text(StatusCode::NOT_FOUND, "not found; terminals connect at /ws")
}

fn file(path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        "/" => (HTML, include_str!("playground/index.html")),
        "/playground/style.css" => {
            ("text/css; charset=utf-8", include_str!("playground/style.css"))
        }
        "/playground/icon.svg" => ("image/svg+xml", include_str!("playground/icon.svg")),
        "/playground/app.js" => (SCRIPT, include_str!("playground/app.js")),
        "/playground/card.js" => (SCRIPT, include_str!("playground/card.js")),
        "/playground/servers.js" => (SCRIPT, include_str!("playground/servers.js")),
        "/playground/terminal.js" => (SCRIPT, include_str!("playground/terminal.js")),
        _ => return None,
    })
}

fn page(kind: &'static str, content: String) -> Answer {
    let mut answer = Answer::new(content.into());
    let set: [(HeaderName, HeaderValue); 5] = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        // The next program on this port may have another page.
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    answer.headers_mut().extend(set);
    answer
}

/// The pages of other BSs on loopback may read the state, too.
fn share(request: &HeaderMap, answer: &mut HeaderMap) {
    answer.insert(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = request.get(ORIGIN).filter(|origin| on_loopback(origin)) {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

fn on_loopback(origin: &HeaderValue) -> bool {
    let host = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
    host.is_some_and(names_loopback)
}

/// Whether the request names this machine. A page of elsewhere, whose name was made to lead here
/// after it was loaded, names its own.
fn asked_by_its_name(request: &HeaderMap) -> bool {
    request.get(HOST).and_then(|host| host.to_str().ok()).is_some_and(names_loopback)
}

fn names_loopback(authority: &str) -> bool {
    let port = authority.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    matches!(port.map_or(authority, |(host, _)| host), "127.0.0.1" | "localhost" | "[::1]")
}

async fn state(inputs: &mpsc::Sender<Input>, playground: &Playground, query: &str) -> Answer {
    let (reply, answer) = oneshot::channel();
    let asked = inputs.try_send(Input::Snapshot(reply)).is_ok();
    match timeout(LOOK, answer).await {
        Ok(Ok(snapshot)) if asked => {
            let state = describe(&snapshot, &playground.servers, query);
            page("application/json", state.to_string())
        }
        _ => text(StatusCode::SERVICE_UNAVAILABLE, "not serving yet"),
    }
}

/// What the page shows: this server, the view that it uses, and the partitions of the ends that
/// `query` names.
fn describe(snapshot: &Snapshot, servers: &[String], query: &str) -> Value {
    let view = snapshot.view.as_ref().map(|view| {
        let members = snapshot.members.iter().map(|member| {
            json!({
                "id": member.ms,
                "partitions": view.owned_by(member.ms),
                "links": member.links,
                "heardMs": member.heard,
            })
        });
        let item = view.to_item();
        debug_assert_eq!(item.partitions.len(), PARTITIONS);
        json!({
            "number": view.number.to_string(),
            "members": members.collect::<Vec<_>>(),
            "owners": item.partitions.iter().map(|(owner, _)| owner).collect::<Vec<_>>(),
        })
    });
    let named = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "end");
    let ends = named.take(ENDS_MAX).filter_map(|(_, value)| value.parse::<EndId>().ok());
    let ends: Map<String, Value> =
        ends.map(|end| (end.as_str().to_owned(), end.partition().0.into())).collect();
    json!({
        "server": snapshot.server,
        "sessions": snapshot.sessions,
        "openSends": snapshot.open_sends,
        "servers": servers,
        "view": view,
        "ends": ends,
    })
}

#[cfg(test)]
mod tests;
