//! Where a request says who sends it: in `Authorization`, or in the list of sub-protocols, which
//! is all that a page in a browser can set.

use hyper::header::{AUTHORIZATION, HeaderMap, SEC_WEBSOCKET_PROTOCOL};

/// An entry of the sub-protocol list that carries a token.
const ENTRY: &str = "wardlink.bearer.";

/// What is wrong with how a token is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) enum BadCarrier {
    /// `Authorization` is of another scheme, or ill formed.
    Scheme,
    /// Several tokens.
    Several,
}

impl BadCarrier {
    pub(in crate::app) fn text(self) -> &'static str {
        match self {
            Self::Scheme => "Authorization must be Bearer and a token",
            Self::Several => "several tokens",
        }
    }
}

/// The token in `Authorization: Bearer`.
///
/// # Errors
/// What is wrong with the header.
pub(in crate::app) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, BadCarrier> {
    let mut sent = headers.get_all(AUTHORIZATION).into_iter();
    let Some(first) = sent.next() else { return Ok(None) };
    if sent.next().is_some() {
        return Err(BadCarrier::Several);
    }
    let (scheme, token) =
        first.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(BadCarrier::Scheme)?;
    let token = token.trim();
    match scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' ') {
        true => Ok(Some(token)),
        false => Err(BadCarrier::Scheme),
    }
}

/// The token of a handshake: that of `Authorization`, else that of the sub-protocol list.
///
/// # Errors
/// What is wrong with how it is sent.
pub(super) fn of_handshake(headers: &HeaderMap) -> Result<Option<&str>, BadCarrier> {
    if let Some(token) = bearer(headers)? {
        return Ok(Some(token));
    }
    let mut tokens = subprotocols(headers).filter_map(|entry| entry.strip_prefix(ENTRY));
    match (tokens.next(), tokens.next()) {
        (_, Some(_)) => Err(BadCarrier::Several),
        (token, None) => Ok(token),
    }
}

/// The entries of the request's sub-protocol lists.
pub(super) fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter();
    lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(authorization: &[&str], protocols: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        for value in protocols {
            headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_token_comes_in_authorization_or_in_the_list_of_subprotocols() {
        for (authorization, protocols, found) in [
            (&[][..], &[][..], Ok(None)),
            (&[], &["wardlink.v1"], Ok(None)),
            (&["Bearer a.b.c"], &[], Ok(Some("a.b.c"))),
            (&["bearer  a.b.c "], &["wardlink.v1"], Ok(Some("a.b.c"))),
            (&[], &["wardlink.v1, wardlink.bearer.a.b.c"], Ok(Some("a.b.c"))),
            (&[], &["wardlink.bearer.a.b.c", "wardlink.v1"], Ok(Some("a.b.c"))),
            (&[], &["wardlink.bearer."], Ok(Some(""))),
            (&["Bearer a.b.c"], &["wardlink.bearer.d.e.f"], Ok(Some("a.b.c"))),
            (&[], &["wardlink.bearer.a, wardlink.bearer.b"], Err(BadCarrier::Several)),
            (&["Bearer a", "Bearer a"], &[], Err(BadCarrier::Several)),
            (&["Basic YTpi"], &["wardlink.bearer.a.b.c"], Err(BadCarrier::Scheme)),
            (&["Bearer"], &[], Err(BadCarrier::Scheme)),
            (&["Bearer "], &[], Err(BadCarrier::Scheme)),
            (&["Bearer a b"], &[], Err(BadCarrier::Scheme)),
            (&["a.b.c"], &[], Err(BadCarrier::Scheme)),
        ] {
            let headers = headers(authorization, protocols);
            assert_eq!(of_handshake(&headers), found, "{authorization:?} {protocols:?}");
        }
    }
}
