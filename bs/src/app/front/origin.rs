//! Which web pages may talk to this port. Programs that are no browsers send no `Origin` and are
//! not meant: what they may do is decided by who they are.

use std::net::IpAddr;
use std::str::FromStr;

use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::http::uri::Authority;

/// The pages that may connect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origins {
    /// Those of the host that they connect to.
    #[default]
    Same,
    /// Those of this machine: in development mode, where whoever connects is believed. A name
    /// that leads to this machine is not enough, for anybody can make one.
    Loopback,
    /// Those named.
    Named(Vec<Origin>),
    /// All.
    Any,
}

/// An origin, such as `https://ward.hospital.example`; lower case, as browsers send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

/// The text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an origin such as https://ward.hospital.example, or *")]
pub struct BadOrigin;

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let (scheme, authority) = text.split_once("://").ok_or(BadOrigin)?;
        let scheme = scheme.to_ascii_lowercase();
        let default = default_port(&scheme).ok_or(BadOrigin)?;
        if authority.contains('@') {
            return Err(BadOrigin);
        }
        let authority: Authority = authority.parse().map_err(|_| BadOrigin)?;
        let (host, port) = host_and_port(&authority, default).ok_or(BadOrigin)?;
        Ok(Self { scheme, host, port })
    }
}

impl Origin {
    fn is_loopback(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn host_and_port(authority: &Authority, default: u16) -> Option<(String, u16)> {
    let host = authority.host().to_ascii_lowercase();
    let rest = authority.as_str().get(host.len()..)?;
    let port = match rest.strip_prefix(':') {
        None => default,
        Some(port) => port.parse().ok()?,
    };
    (!host.is_empty()).then_some((host, port))
}

impl Origins {
    /// Whether a request with these headers may be served.
    pub(super) fn allow(&self, headers: &HeaderMap) -> bool {
        let mut sent = headers.get_all(ORIGIN).into_iter();
        let Some(first) = sent.next() else { return true };
        if *self == Self::Any {
            return true;
        }
        let Some(origin) = first.to_str().ok().and_then(|text| text.parse::<Origin>().ok()) else {
            // `null`, or what no browser sends.
            return false;
        };
        sent.next().is_none()
            && match self {
                Self::Any => true,
                Self::Same => Some((origin.host.clone(), origin.port)) == host(headers, &origin),
                Self::Loopback => origin.is_loopback(),
                Self::Named(named) => named.contains(&origin),
            }
    }

    /// Whether an answer says to a browser that a page of another origin may read it.
    pub(super) fn crosses(&self) -> bool {
        matches!(self, Self::Named(_) | Self::Any)
    }
}

/// Whom the request is for. An ingress may have ended TLS, so its port is that of the origin.
fn host(headers: &HeaderMap, origin: &Origin) -> Option<(String, u16)> {
    let authority: Authority = headers.get(HOST)?.to_str().ok()?.parse().ok()?;
    host_and_port(&authority, default_port(&origin.scheme)?)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn allowed(origins: &Origins, origin: Option<&'static str>, host: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        origins.allow(&headers)
    }

    fn named(list: &[&str]) -> Origins {
        Origins::Named(list.iter().map(|origin| origin.parse().unwrap()).collect())
    }

    #[test]
    fn by_default_pages_of_the_same_host_may_connect() {
        for (origin, host, good) in [
            ("https://bs.ward", "bs.ward", true),
            ("https://bs.ward:443", "bs.ward", true),
            ("https://BS.ward", "bs.WARD", true),
            ("http://bs.ward", "bs.ward:80", true),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("https://bs.ward", "bs.ward:8443", false),
            ("https://evil.example", "bs.ward", false),
            ("https://bs.ward.evil.example", "bs.ward", false),
            ("https://user@bs.ward", "bs.ward", false),
            ("null", "bs.ward", false),
            ("", "bs.ward", false),
            ("bs.ward", "bs.ward", false),
        ] {
            assert_eq!(allowed(&Origins::Same, Some(origin), host), good, "{origin} at {host}");
        }
    }

    #[test]
    fn who_is_no_browser_sends_none_and_passes() {
        for origins in [Origins::Same, Origins::Loopback, named(&["https://a.example"])] {
            assert!(allowed(&origins, None, "bs.ward"), "{origins:?}");
        }
    }

    #[test]
    fn in_development_only_pages_of_this_machine_may_connect() {
        for (origin, good) in [
            ("http://127.0.0.1:3000", true),
            ("http://localhost:8081", true),
            ("http://[::1]", true),
            ("http://evil.example:8080", false),
            ("http://127.0.0.1.evil.example", false),
        ] {
            // The name was made to lead here: it is the host as well.
            let host = origin.strip_prefix("http://").unwrap();
            assert_eq!(allowed(&Origins::Loopback, Some(origin), host), good, "{origin}");
        }
    }

    #[test]
    fn named_origins_may_connect_and_no_others() {
        let origins = named(&["https://ward.example", "http://localhost:3000"]);
        assert!(allowed(&origins, Some("https://ward.example"), "bs"));
        assert!(allowed(&origins, Some("http://localhost:3000"), "bs"));
        assert!(!allowed(&origins, Some("http://ward.example"), "bs"));
        assert!(!allowed(&origins, Some("https://ward.example:8443"), "bs"));
        assert!(!allowed(&origins, Some("https://bs"), "bs"));
        assert!(allowed(&Origins::Any, Some("null"), "bs"));
    }

    #[test]
    fn what_is_no_origin_is_refused_as_a_setting() {
        for text in ["", "*", "ward.example", "ftp://a", "https://", "https://a/b", "https://a:x"] {
            assert_eq!(text.parse::<Origin>(), Err(BadOrigin), "{text}");
        }
    }
}
