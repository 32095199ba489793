//! Tokens and where they come from.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tokio::time::timeout;
use wardlink_wire::terminal::Token;

use crate::core::Credential;

/// Largest token; a server takes no larger one.
const TOKEN_MAX_BYTES: usize = 8 * 1024;
/// Time that a source may take.
const SOURCE_WAIT: Duration = Duration::from_secs(10);
/// How often a token's file is looked at while connected.
const FILE_RECHECK: Duration = Duration::from_secs(10);

/// A token for `Authorization: Bearer`, and how long it counts. It does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken {
    pub(crate) token: Token,
    pub(crate) life: Option<Duration>,
}

impl BearerToken {
    /// A token whose end is its own claim `exp`, by this machine's clock. The claim is only read
    /// to know when to ask for the next token; nothing is verified. Blanks around the token are
    /// not part of it.
    ///
    /// # Errors
    /// When the text cannot be a token: empty, larger than 8 KiB, or not of visible ASCII.
    pub fn new(text: &str) -> Result<Self, TokenSourceError> {
        let text = text.trim();
        let sound = !text.is_empty()
            && text.len() <= TOKEN_MAX_BYTES
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !sound {
            return Err(TokenSourceError::NoToken);
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Self { token: Token(text.to_owned()), life: life(text, now) })
    }

    /// The same token with a time that its source tells, for one whose `exp` nobody here can
    /// read, or where this machine's clock is not to be relied on.
    pub fn with_life(mut self, life: Duration) -> Self {
        self.life = Some(life);
        self
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerToken").field("life", &self.life).finish_non_exhaustive()
    }
}

/// How long a token counts from `now`, the time since 1970; `None` where it has no `exp` that
/// can be read.
fn life(token: &str, now: Duration) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    let exp = Duration::try_from_secs_f64(exp.max(0.0)).unwrap_or(Duration::MAX);
    Some(exp.saturating_sub(now))
}

type Fetched = Pin<Box<dyn Future<Output = Result<BearerToken, TokenSourceError>> + Send>>;

/// Where the tokens of a terminal come from. Clones share it.
///
/// It is asked before each connection, and again before the token ends while connected: the
/// session stays, with the new token.
#[derive(Clone)]
pub struct TokenSource(Kind);

#[derive(Clone)]
enum Kind {
    Fixed(BearerToken),
    File(Arc<Path>),
    Asked(Arc<dyn Fn() -> Fetched + Send + Sync>),
}

impl TokenSource {
    /// Always the same token. When a server refuses it, or it has expired, the client ends.
    pub fn fixed(token: BearerToken) -> Self {
        Self(Kind::Fixed(token))
    }

    /// A file that holds the token, for one that another program renews. It is read before each
    /// connection, and every 10 s while connected: what is new in it goes to the server.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kind::File(Arc::from(path.into())))
    }

    /// Whatever `ask` says, an identity provider's answer say. It may take 10 s, and may be
    /// dropped before it is done.
    pub fn asked<F, A, E>(ask: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<BearerToken, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self(Kind::Asked(Arc::new(move || {
            let answer = ask();
            Box::pin(async move { answer.await.map_err(|e| TokenSourceError::Source(e.into())) })
        })))
    }

    /// The token of the moment, within 10 s. Cancel safe.
    pub(crate) async fn fetch(&self) -> Result<BearerToken, TokenSourceError> {
        let fetched = async {
            match &self.0 {
                Kind::Fixed(token) => Ok(token.clone()),
                Kind::File(path) => {
                    let path = path.clone();
                    let read = tokio::task::spawn_blocking(move || read(&path));
                    // It is cut off only where the runtime ends.
                    read.await.unwrap_or(Err(TokenSourceError::TimedOut))
                }
                Kind::Asked(ask) => ask().await,
            }
        };
        timeout(SOURCE_WAIT, fetched).await.unwrap_or(Err(TokenSourceError::TimedOut))
    }

    pub(crate) fn credential(&self) -> Credential {
        match self.0 {
            Kind::Fixed(_) => Credential::Fixed,
            Kind::File(_) => Credential::Renewable { recheck: Some(FILE_RECHECK) },
            Kind::Asked(_) => Credential::Renewable { recheck: None },
        }
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Fixed(token) => f.debug_tuple("TokenSource").field(token).finish(),
            Kind::File(path) => f.debug_tuple("TokenSource").field(path).finish(),
            Kind::Asked(_) => f.debug_tuple("TokenSource").finish_non_exhaustive(),
        }
    }
}

fn read(path: &Path) -> Result<BearerToken, TokenSourceError> {
    let mut text = String::new();
    // A file of any size is not read whole.
    let limit = 2 * TOKEN_MAX_BYTES as u64;
    let read =
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text));
    match read {
        Ok(_) => BearerToken::new(&text),
        Err(source) => Err(TokenSourceError::File { path: path.to_owned(), source }),
    }
}

/// Why there is no token. No variant holds any part of one.
#[derive(Debug, thiserror::Error)]
pub enum TokenSourceError {
    /// What there is cannot be a token.
    #[error("no token: expected one of at most {TOKEN_MAX_BYTES} visible characters")]
    NoToken,
    /// The file cannot be read.
    #[error("token file {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The program's own source failed.
    #[error("token source failed")]
    Source(#[source] Box<dyn Error + Send + Sync>),
    /// The source took longer than 10 s.
    #[error("no token in time")]
    TimedOut,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("x.{}.y", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn the_life_of_a_token_is_read_from_its_claims() {
        let now = Duration::from_secs(1_000);
        for (claims, wanted) in [
            (r#"{"exp":1060}"#, Some(Duration::from_secs(60))),
            (r#"{"exp":1000.5,"a":[1]}"#, Some(Duration::from_millis(500))),
            (r#"{"exp":900}"#, Some(Duration::ZERO)),
            (r#"{"exp":-1}"#, Some(Duration::ZERO)),
            (r#"{"exp":1e300}"#, Some(Duration::MAX - now)),
            (r#"{"exp":"soon"}"#, None),
            ("{}", None),
            ("x", None),
        ] {
            assert_eq!(life(&token(claims), now), wanted, "{claims}");
        }
        assert_eq!(life("x", now), None);
        assert_eq!(life("x.!.y", now), None);
    }

    #[test]
    fn only_what_fits_a_header_is_a_token() {
        assert_eq!(BearerToken::new(" a.b.c\r\n").expect("token").token.0, "a.b.c");
        for text in ["", " \n", "a b", "a\nb", "ä", &"x".repeat(TOKEN_MAX_BYTES + 1)] {
            assert!(matches!(BearerToken::new(text), Err(TokenSourceError::NoToken)));
        }
    }

    #[test]
    fn a_token_does_not_show_itself() {
        let token = BearerToken::new("MARK").expect("token");
        assert!(!format!("{:?} {:?}", token, TokenSource::fixed(token.clone())).contains("MARK"));
    }
}
