//! The handshake that makes a connection a terminal's.

use hyper::Request;
use hyper::header::{
    CONTENT_LENGTH, HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING,
};
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use wardlink_wire::terminal::TERMINAL_SUBPROTOCOL;

use super::{Answer, Entry, Query, Refusal};

/// Answers a request for the terminals' path: 101, or what is wrong with it.
pub(super) fn answer(request: &Request<()>, entry: &Entry) -> Answer {
    match check(request) {
        Ok((answer, query)) => {
            entry.put(query);
            answer
        }
        Err(refusal) => refusal.answer(),
    }
}

/// Decides a handshake.
fn check(request: &Request<()>) -> Result<(Answer, Query), Refusal> {
    let switching = create_response(request).map_err(Refusal::of)?;
    if has_body(request.headers()) {
        return Err(Refusal::Body);
    }
    let query = Query::parse(request.uri().query().unwrap_or_default()).map_err(Refusal::Query)?;
    let mut answer = switching.map(|()| Default::default());
    if names_subprotocol(request.headers()) {
        let name = HeaderValue::from_static(TERMINAL_SUBPROTOCOL);
        answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
    }
    Ok((answer, query))
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}

/// The entries of the request's sub-protocol lists.
fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter();
    lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim)
}

fn names_subprotocol(headers: &HeaderMap) -> bool {
    subprotocols(headers).any(|name| name == TERMINAL_SUBPROTOCOL)
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;
    use hyper::header::{
        ALLOW, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
    };

    use super::*;

    const URI: &str = "/ws?hospitalCode=H1&hosareaCode=A2&uid=u7";

    fn handshake() -> Request<()> {
        Request::get(URI)
            .header(CONNECTION, "keep-alive, Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            // The example of RFC 6455, section 1.3.
            .header(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap()
    }

    fn status(change: impl FnOnce(&mut Request<()>)) -> StatusCode {
        let mut request = handshake();
        change(&mut request);
        let entry = Entry::default();
        let answer = answer(&request, &entry);
        assert_eq!(entry.take().is_some(), answer.status() == StatusCode::SWITCHING_PROTOCOLS);
        answer.status()
    }

    fn set(request: &mut Request<()>, name: hyper::header::HeaderName, value: &'static str) {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }

    #[test]
    fn a_handshake_is_answered_with_the_key_of_the_standard() {
        let entry = Entry::default();
        let answer = answer(&handshake(), &entry);
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(answer.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!answer.headers().contains_key(SEC_WEBSOCKET_PROTOCOL));
        assert_eq!(entry.take().unwrap().end.as_str(), "H1-A2-u7");
    }

    #[test]
    fn only_our_subprotocol_is_answered() {
        let mut request = handshake();
        set(&mut request, SEC_WEBSOCKET_PROTOCOL, "other, wardlink.v1");
        let (answer, _) = check(&request).unwrap();
        assert_eq!(answer.headers()[SEC_WEBSOCKET_PROTOCOL], TERMINAL_SUBPROTOCOL);
        set(&mut request, SEC_WEBSOCKET_PROTOCOL, "other");
        assert!(!check(&request).unwrap().0.headers().contains_key(SEC_WEBSOCKET_PROTOCOL));
    }

    #[test]
    fn what_is_no_handshake_is_refused_with_its_status() {
        assert_eq!(status(|_| {}), StatusCode::SWITCHING_PROTOCOLS);
        for version in ["8", "13, 8", ""] {
            let status = status(|request| set(request, SEC_WEBSOCKET_VERSION, version));
            assert_eq!(status, StatusCode::UPGRADE_REQUIRED, "{version}");
        }
        assert_eq!(status(|request| set(request, UPGRADE, "h2c")), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(
            status(|request| set(request, CONNECTION, "close")),
            StatusCode::UPGRADE_REQUIRED
        );
        for key in ["", "short", "dGhlIHNhbXBsZSBub25jZQ=!"] {
            let status = status(|request| set(request, SEC_WEBSOCKET_KEY, key));
            assert_eq!(status, StatusCode::BAD_REQUEST, "{key}");
        }
        assert_eq!(status(|request| set(request, CONTENT_LENGTH, "2")), StatusCode::BAD_REQUEST);
        assert_eq!(
            status(|request| *request.uri_mut() = "/ws?uid=u".parse().unwrap()),
            StatusCode::BAD_REQUEST
        );
    }

    #[test]
    fn a_wrong_version_and_a_wrong_method_are_told_the_right_one() {
        let mut request = handshake();
        set(&mut request, SEC_WEBSOCKET_VERSION, "8");
        assert_eq!(check(&request).unwrap_err().answer().headers()[SEC_WEBSOCKET_VERSION], "13");
        let mut request = handshake();
        *request.method_mut() = hyper::Method::POST;
        let refusal = check(&request).unwrap_err().answer();
        assert_eq!(refusal.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refusal.headers()[ALLOW], "GET");
    }
}
