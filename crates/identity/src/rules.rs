//! What tokens must say to count here, and who their holder is then.

use std::time::Duration;

use wardlink_wire::EndId;

use crate::send_for::SendFor;

/// What tokens must say to count here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The issuer: `iss` must be this. `None`: any, or none.
    pub issuer: Option<String>,
    /// The audiences that are served here: `aud` must name one of them. Empty: a token that
    /// names an audience is refused, for it is meant for somebody else (RFC 7519, section
    /// 4.1.3); one without `aud` counts.
    pub audiences: Vec<String>,
    /// By how much the issuer's clock and this one may differ: a token counts until `exp` plus
    /// this, and from `nbf` and `iat` minus this.
    pub leeway: Duration,
    /// Which claims are read.
    pub claims: ClaimNames,
}

impl Default for Rules {
    /// Any issuer, no audience, 30 s of leeway, the default names.
    fn default() -> Self {
        Self {
            issuer: None,
            audiences: Vec::new(),
            leeway: Duration::from_secs(30),
            claims: ClaimNames::default(),
        }
    }
}

/// Names of the claims that are Wardlink's own: top-level members of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimNames {
    /// First part of the end id.
    pub hospital_code: String,
    /// Second part of the end id.
    pub hosarea_code: String,
    /// Third part of the end id.
    pub uid: String,
    /// For whom else its holder may send over HTTP: a [`SendFor`], or a list of them.
    pub send_for: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            hospital_code: "hospitalCode".to_owned(),
            hosarea_code: "hosareaCode".to_owned(),
            uid: "uid".to_owned(),
            send_for: "sendFor".to_owned(),
        }
    }
}

/// Who the holder of a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its end.
    pub end: EndId,
    /// The second from which the token counts no more: `exp` plus the leeway, in seconds since
    /// 1970, at most the year 9999.
    pub expires_at: u64,
    /// For whom else it may send; at most [`SEND_FOR_MAX`](crate::SEND_FOR_MAX).
    pub send_for: Vec<SendFor>,
}

impl Identity {
    /// Whether it may send in the name of this end: its own, or one that `sendFor` covers.
    pub fn may_send_as(&self, end: &EndId) -> bool {
        self.end == *end || self.send_for.iter().any(|entry| entry.covers(end))
    }
}
