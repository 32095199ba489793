//! Which pods are this cluster's BSs: what a token must be for, and what the review of one must
//! say. Pure.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use uuid::Uuid;
use wardlink_wire::ServerId;
use wardlink_wire::link::LinkToken;

/// What Kubernetes takes as the name of a namespace: a DNS label.
const NAMESPACE_MAX_BYTES: usize = 63;
/// What it takes as the name of a service account: a DNS name.
const NAME_MAX_BYTES: usize = 253;
/// An audience is a URL or a name.
const AUDIENCE_MAX_BYTES: usize = 253;

/// A service account of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    namespace: String,
    name: String,
}

impl FromStr for Account {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            "expected NAMESPACE/NAME of a service account, each of small letters, digits and \
             dashes, the name with dots too"
                .to_owned()
        };
        let (namespace, name) = text.split_once('/').ok_or_else(expected)?;
        let fits = is_label(namespace)
            && name.len() <= NAME_MAX_BYTES
            && name.split('.').all(|part| !part.is_empty() && is_dashed(part));
        if !fits {
            return Err(expected());
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Account {
    /// Its name as a user.
    fn username(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

fn is_label(text: &str) -> bool {
    (1..=NAMESPACE_MAX_BYTES).contains(&text.len()) && is_dashed(text)
}

/// Small letters, digits and dashes, the dashes within.
fn is_dashed(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.bytes().all(known) && !text.starts_with('-') && !text.ends_with('-')
}

/// Reads an audience, for `value_parser`.
///
/// # Errors
/// What is expected, in words.
pub fn parse_audience(text: &str) -> Result<String, String> {
    let fits = (1..=AUDIENCE_MAX_BYTES).contains(&text.len());
    if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!("expected 1 to {AUDIENCE_MAX_BYTES} visible ASCII characters"))
    }
}

/// Which pods are this cluster's BSs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRules {
    /// What their tokens are for. No other program's tokens must be for it.
    pub audience: String,
    /// Whose they are.
    pub account: Account,
}

/// What an API server's review of a token found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Review {
    pub(super) authenticated: bool,
    pub(super) audiences: Vec<String>,
    pub(super) username: String,
    pub(super) pod_uids: Vec<String>,
}

/// Why a token is none of a BS of this cluster. The set is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) enum Refused {
    /// No token of a service account.
    Shape,
    /// Forged, expired, withdrawn, or its pod is gone.
    NotValid,
    /// For something else.
    Audience,
    /// Of another service account.
    Account,
    /// Of no pod.
    NoPod,
}

impl Refused {
    /// For who showed it, and for logs.
    pub(in crate::app) fn text(self) -> &'static str {
        match self {
            Self::Shape => "the link's token is none of a service account",
            Self::NotValid => "the link's token is not valid, or no longer",
            Self::Audience => "the link's token is for another audience",
            Self::Account => "the link's token is of another service account",
            Self::NoPod => "the link's token is bound to no pod",
        }
    }
}

/// What a token says of itself. Nothing of it counts before a review.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    aud: Audiences,
    exp: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl PodRules {
    /// Looks at what a token says of itself, so that what is certain to be refused costs no
    /// review. Returns when it says that it expires, in Unix seconds.
    pub(super) fn look(&self, token: &LinkToken) -> Result<Option<u64>, Refused> {
        let claims = claims(token).ok_or(Refused::Shape)?;
        let ours = match &claims.aud {
            Audiences::One(audience) => *audience == self.audience,
            Audiences::Many(audiences) => audiences.contains(&self.audience),
        };
        if claims.sub != self.account.username() {
            return Err(Refused::Account);
        }
        if !ours {
            return Err(Refused::Audience);
        }
        // What is no number of this century is not used.
        Ok(claims.exp.filter(|exp| (0.0..1e10).contains(exp)).map(|exp| exp as u64))
    }

    /// Whose a token is, by its review.
    pub(super) fn judge(&self, review: &Review) -> Result<ServerId, Refused> {
        if !review.authenticated {
            return Err(Refused::NotValid);
        }
        // An API server that knows no audiences names none.
        if !review.audiences.contains(&self.audience) {
            return Err(Refused::Audience);
        }
        if review.username != self.account.username() {
            return Err(Refused::Account);
        }
        let [uid] = &review.pod_uids[..] else { return Err(Refused::NoPod) };
        Uuid::try_parse(uid).map(ServerId).map_err(|_| Refused::NoPod)
    }
}

fn claims(token: &LinkToken) -> Option<Claims> {
    let mut parts = token.expose().split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::app) fn rules() -> PodRules {
        PodRules { audience: "wardlink-a".to_owned(), account: "ward/a-bs".parse().unwrap() }
    }

    /// A token that says this of itself.
    pub(in crate::app) fn token(claims: &serde_json::Value) -> LinkToken {
        let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
        format!("e30.{payload}.c2ln").parse().unwrap()
    }

    fn good() -> Review {
        Review {
            authenticated: true,
            audiences: vec!["wardlink-a".to_owned()],
            username: "system:serviceaccount:ward:a-bs".to_owned(),
            pod_uids: vec![Uuid::from_u128(7).to_string()],
        }
    }

    #[test]
    fn accounts_are_read_and_others_refused() {
        let longest = format!("{}/{}", "n".repeat(63), "s".repeat(253));
        for good in ["a/b", "ward-7/wardlink-bs", "0/a.b-c.d", &longest] {
            assert_eq!(good.parse::<Account>().unwrap().to_string(), good);
        }
        let long = format!("{}/a", "n".repeat(64));
        for bad in [
            "",
            "a",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "A/b",
            "a/B",
            "a.b/c",
            "-a/b",
            "a-/b",
            "a/-b",
            "a/b.",
            "a/.b",
            "a/b..c",
            "a /b",
            "a/b:c",
            "system:serviceaccount:a:b",
            &long,
        ] {
            assert!(bad.parse::<Account>().unwrap_err().contains("NAMESPACE/NAME"), "{bad}");
        }
        assert_eq!(parse_audience("wardlink.dev/ns/a").as_deref(), Ok("wardlink.dev/ns/a"));
        for bad in ["", "a b", "ä", &"x".repeat(254)] {
            assert!(parse_audience(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_review_that_says_all_of_it_names_a_server() {
        let judge = |change: fn(&mut Review)| {
            let mut review = good();
            change(&mut review);
            rules().judge(&review)
        };
        assert_eq!(judge(|_| {}), Ok(ServerId(Uuid::from_u128(7))));
        assert!(judge(|it| it.audiences.push("other".into())).is_ok());
        assert_eq!(judge(|it| it.authenticated = false), Err(Refused::NotValid));
        assert_eq!(judge(|it| it.audiences.clear()), Err(Refused::Audience));
        assert_eq!(judge(|it| it.audiences = vec!["other".into()]), Err(Refused::Audience));
        for other in ["system:serviceaccount:ward:a-ms", "system:serviceaccount:bed:a-bs", "a-bs"] {
            let review = Review { username: other.to_owned(), ..good() };
            assert_eq!(rules().judge(&review), Err(Refused::Account), "{other}");
        }
        assert_eq!(judge(|it| it.pod_uids.clear()), Err(Refused::NoPod));
        assert_eq!(judge(|it| it.pod_uids.push(it.pod_uids[0].clone())), Err(Refused::NoPod));
        assert_eq!(judge(|it| it.pod_uids = vec!["7".into()]), Err(Refused::NoPod));
    }

    #[test]
    fn what_a_token_says_of_itself_is_looked_at_first() {
        let sub = "system:serviceaccount:ward:a-bs";
        let look = |claims: serde_json::Value| rules().look(&token(&claims));
        for aud in [serde_json::json!("wardlink-a"), serde_json::json!(["x", "wardlink-a"])] {
            let exp = serde_json::json!({"sub": sub, "aud": aud, "exp": 1_795_478_400_u64});
            assert_eq!(look(exp), Ok(Some(1_795_478_400)));
            assert_eq!(look(serde_json::json!({"sub": sub, "aud": aud})), Ok(None));
            for far in [-1.0, 1e300] {
                assert_eq!(look(serde_json::json!({"sub": sub, "aud": aud, "exp": far})), Ok(None));
            }
        }
        assert_eq!(look(serde_json::json!({"sub": sub, "aud": []})), Err(Refused::Audience));
        let other = serde_json::json!({"sub": "a-bs", "aud": "wardlink-a"});
        assert_eq!(look(other), Err(Refused::Account));
        assert_eq!(look(serde_json::json!({"aud": "wardlink-a"})), Err(Refused::Shape));
        for text in ["a", "a.b", "a.e30.c.d", "a.%.c", "..", "a-secret-of-the-cluster"] {
            assert_eq!(rules().look(&text.parse().unwrap()), Err(Refused::Shape), "{text}");
        }
    }
}
