//! What a BS shows of itself where links are authenticated by tokens.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a token may have: a header's worth. Those of Kubernetes have 1 KiB.
pub const LINK_TOKEN_MAX_BYTES: usize = 8 * 1024;

/// A BS's token: visible ASCII, up to 8 KiB. It does not show itself in logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkToken(String);

/// Why a text is no token of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one token of up to 8 KiB")]
pub struct LinkTokenError;

impl LinkToken {
    /// The token itself, for who checks it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for LinkToken {
    type Err = LinkTokenError;

    fn from_str(text: &str) -> Result<Self, LinkTokenError> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for LinkToken {
    type Error = LinkTokenError;

    fn try_from(text: String) -> Result<Self, LinkTokenError> {
        let fits = (1..=LINK_TOKEN_MAX_BYTES).contains(&text.len());
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits && visible { Ok(Self(text)) } else { Err(LinkTokenError) }
    }
}

impl From<LinkToken> for String {
    fn from(token: LinkToken) -> Self {
        token.0
    }
}

impl fmt::Debug for LinkToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_visible_ascii_of_bearable_length_and_does_not_show_itself() {
        let longest = "x".repeat(LINK_TOKEN_MAX_BYTES);
        for good in ["a.b.c", "x", &longest] {
            assert_eq!(good.parse::<LinkToken>().unwrap().expose(), good);
        }
        for bad in ["", "a b", "a\n", "ä", &format!("{longest}x")] {
            assert!(bad.parse::<LinkToken>().is_err(), "{bad}");
        }
        assert_eq!(format!("{:?}", "a.b.c".parse::<LinkToken>().unwrap()), "LinkToken(…)");
    }
}
