//! The handshake that makes a connection a terminal's.

use hyper::Request;
use hyper::header::{
    CONTENT_LENGTH, HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING,
};
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use wardlink_wire::terminal::TERMINAL_SUBPROTOCOL;

use super::origin::Origins;
use super::{Answer, Arrival, Entry, Front, Query, Refusal, query, token};
use crate::app::auth::{Auth, Holder};

/// Answers a request for the terminals' path: 101, or what is wrong with it.
pub(super) async fn answer(front: &Front, request: &Request<()>, entry: &Entry) -> Answer {
    let result = match check(request, &front.config.origins) {
        Ok((answer, query)) => match holder(&front.auth, request).await {
            Ok(holder) => Ok((answer, Arrival { query, holder })),
            Err(refusal) => Err(refusal),
        },
        Err(refusal) => Err(refusal),
    };
    match result {
        Ok((answer, arrival)) => {
            entry.put(arrival);
            answer
        }
        Err(refusal) => {
            front.metrics.front.refused(&refusal);
            refusal.answer()
        }
    }
}

/// Decides a handshake but for who it is.
fn check(request: &Request<()>, origins: &Origins) -> Result<(Answer, Query), Refusal> {
    let switching = create_response(request).map_err(Refusal::of)?;
    let headers = request.headers();
    if has_body(headers) {
        return Err(Refusal::Body);
    }
    if !origins.allow(headers) {
        return Err(Refusal::Origin);
    }
    let query = Query::parse(request.uri().query().unwrap_or_default()).map_err(Refusal::Query)?;
    let mut answer = switching.map(|()| Default::default());
    if token::subprotocols(headers).any(|name| name == TERMINAL_SUBPROTOCOL) {
        let name = HeaderValue::from_static(TERMINAL_SUBPROTOCOL);
        answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
    }
    Ok((answer, query))
}

/// Who it is; `None` where its first frame is to tell.
async fn holder(auth: &Auth, request: &Request<()>) -> Result<Option<Holder>, Refusal> {
    match auth {
        Auth::Development => {
            let end = query::end(request.uri().query().unwrap_or_default());
            Ok(Some(Holder { end: end.map_err(Refusal::Query)?, proof: None }))
        }
        Auth::Jwt(keys) => {
            match token::of_handshake(request.headers()).map_err(Refusal::Carrier)? {
                Some(token) => {
                    let (identity, proof) = keys.verify(token).await?;
                    Ok(Some(Holder { end: identity.end, proof: Some(proof) }))
                }
                None => Ok(None),
            }
        }
    }
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use hyper::StatusCode;
    use hyper::header::{
        ALLOW, AUTHORIZATION, CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    };

    use wardlink_identity::Rules;

    use super::*;
    use crate::app::auth::KeyRing;

    const URI: &str = "/ws?hospitalCode=H1&hosareaCode=A2&uid=u7&n=2";

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
        match check(&request, &Origins::Same) {
            Ok((answer, _)) => answer.status(),
            Err(refusal) => refusal.answer().status(),
        }
    }

    fn set(request: &mut Request<()>, name: hyper::header::HeaderName, value: &'static str) {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }

    #[test]
    fn a_handshake_is_answered_with_the_key_of_the_standard() {
        let (answer, query) = check(&handshake(), &Origins::Same).unwrap();
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(answer.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!answer.headers().contains_key(SEC_WEBSOCKET_PROTOCOL));
        assert_eq!(query, Query { client: None, n: 2, acks: true });
    }

    #[test]
    fn only_our_subprotocol_is_answered() {
        let mut request = handshake();
        set(&mut request, SEC_WEBSOCKET_PROTOCOL, "other, wardlink.v1");
        let (answer, _) = check(&request, &Origins::Same).unwrap();
        assert_eq!(answer.headers()[SEC_WEBSOCKET_PROTOCOL], TERMINAL_SUBPROTOCOL);
        set(&mut request, SEC_WEBSOCKET_PROTOCOL, "other");
        assert!(
            !check(&request, &Origins::Same)
                .unwrap()
                .0
                .headers()
                .contains_key(SEC_WEBSOCKET_PROTOCOL)
        );
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
        let status_of = |origin| status(|request| set(request, ORIGIN, origin));
        assert_eq!(status_of("https://evil.example"), StatusCode::FORBIDDEN);
        for key in ["", "short", "dGhlIHNhbXBsZSBub25jZQ=!"] {
            let status = status(|request| set(request, SEC_WEBSOCKET_KEY, key));
            assert_eq!(status, StatusCode::BAD_REQUEST, "{key}");
        }
        assert_eq!(status(|request| set(request, CONTENT_LENGTH, "2")), StatusCode::BAD_REQUEST);
        assert_eq!(
            status(|request| *request.uri_mut() = "/ws?n=u".parse().unwrap()),
            StatusCode::BAD_REQUEST
        );
    }

    #[tokio::test]
    async fn in_development_the_query_says_who_it_is() {
        let holder = async |request: &Request<()>| holder(&Auth::Development, request).await;
        let end = holder(&handshake()).await.unwrap().unwrap().end;
        assert_eq!(end.as_str(), "H1-A2-u7");
        let nobody = Request::get("/ws?uid=u").body(()).unwrap();
        assert!(matches!(holder(&nobody).await, Err(Refusal::Query(_))));
    }

    #[tokio::test]
    async fn with_tokens_the_query_means_nothing_and_the_first_frame_may_tell() {
        let keys = KeyRing::new(Rules::default(), Duration::from_secs(10));
        let auth = Auth::Jwt(Arc::new(keys));
        assert!(matches!(holder(&auth, &handshake()).await, Ok(None)));
        let mut request = handshake();
        set(&mut request, AUTHORIZATION, "Basic YTpi");
        assert!(matches!(holder(&auth, &request).await, Err(Refusal::Carrier(_))));
    }

    #[test]
    fn a_wrong_version_and_a_wrong_method_are_told_the_right_one() {
        let mut request = handshake();
        set(&mut request, SEC_WEBSOCKET_VERSION, "8");
        assert_eq!(
            check(&request, &Origins::Same).unwrap_err().answer().headers()[SEC_WEBSOCKET_VERSION],
            "13"
        );
        let mut request = handshake();
        *request.method_mut() = hyper::Method::POST;
        let refusal = check(&request, &Origins::Same).unwrap_err().answer();
        assert_eq!(refusal.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refusal.headers()[ALLOW], "GET");
    }
}
