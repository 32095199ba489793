//! When to connect again, by what ended the last attempt. Pure.

use std::time::Duration;

use wardlink_wire::CloseCode;
use wardlink_wire::close::should_reconnect;

use super::backoff::Backoff;
use super::event::{CoreConfig, Credential, Ended};

/// Ceilings of the first and the longest delay where the identity was refused before: neither the
/// server that refuses it nor who gives tokens is asked more often.
const IDENTITY_BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What ended an attempt or a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The server answered the request with this HTTP status.
    Status(u16),
    /// The server closed the session with this code.
    Code(u16),
    /// There was no token.
    NoToken,
    /// Anything else.
    Other,
}

/// What the delay before the next attempt is drawn from.
enum Wait {
    /// The identity was refused, and another may be had.
    Refused,
    NoToken,
    Usual,
}

#[derive(Debug)]
pub(super) struct Retry {
    credential: Credential,
    backoff: Backoff,
    identity_backoff: Backoff,
    /// Whether the identity was refused since a session last held.
    refused: bool,
}

impl Retry {
    pub(super) fn new(config: &CoreConfig) -> Self {
        let (min, max) = IDENTITY_BACKOFF;
        Self {
            credential: config.credential,
            backoff: Backoff::new(config.backoff_min, config.backoff_max, config.seed),
            identity_backoff: Backoff::new(min, max, !config.seed),
            refused: false,
        }
    }

    /// A session has held: the next delays are short again.
    pub(super) fn steady(&mut self) {
        self.backoff.reset();
        self.identity_backoff.reset();
        self.refused = false;
    }

    /// How long to wait before the next attempt.
    ///
    /// Where another token may be had, a refused identity makes one attempt at once, for which a
    /// new one is asked for; if that is refused as well, ever longer waits follow.
    ///
    /// # Errors
    /// Where there is to be none.
    pub(super) fn after(&mut self, cause: Cause) -> Result<Duration, Ended> {
        match self.wait(cause)? {
            Wait::Refused => Ok(self.refused()),
            Wait::NoToken => Ok(self.identity_backoff.next_delay()),
            Wait::Usual => Ok(self.backoff.next_delay()),
        }
    }

    /// Whether there is to be another attempt. To ask changes no delay.
    pub(super) fn allows(&self, cause: Cause) -> bool {
        self.wait(cause).is_ok()
    }

    fn wait(&self, cause: Cause) -> Result<Wait, Ended> {
        let renewable = matches!(self.credential, Credential::Renewable { .. });
        match cause {
            Cause::Status(401 | 403) if renewable => Ok(Wait::Refused),
            Cause::Code(code) if renewable && concerns_identity(code) => Ok(Wait::Refused),
            Cause::NoToken => Ok(Wait::NoToken),
            // What is wrong with the request is wrong at the next attempt as well.
            Cause::Status(status @ (400 | 401 | 403 | 404)) => Err(Ended::Refused(status)),
            Cause::Code(code) if !should_reconnect(code) => Err(Ended::Closed(code)),
            Cause::Status(_) | Cause::Code(_) | Cause::Other => Ok(Wait::Usual),
        }
    }

    fn refused(&mut self) -> Duration {
        let again = std::mem::replace(&mut self.refused, true);
        if again { self.identity_backoff.next_delay() } else { Duration::ZERO }
    }
}

fn concerns_identity(code: u16) -> bool {
    matches!(CloseCode::from_code(code), Some(CloseCode::BadIdentity | CloseCode::IdentityExpired))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(credential: Credential) -> Retry {
        Retry::new(&CoreConfig { credential, seed: 1, ..CoreConfig::default() })
    }

    const RENEWABLE: Credential = Credential::Renewable { recheck: None };

    fn identity_causes() -> [Cause; 4] {
        let codes = [CloseCode::BadIdentity, CloseCode::IdentityExpired].map(CloseCode::code);
        [Cause::Status(401), Cause::Status(403), Cause::Code(codes[0]), Cause::Code(codes[1])]
    }

    #[test]
    fn a_refused_identity_that_cannot_be_renewed_is_the_end() {
        for cause in identity_causes() {
            let wanted = match cause {
                Cause::Status(status) => Ended::Refused(status),
                Cause::Code(code) => Ended::Closed(code),
                Cause::NoToken | Cause::Other => panic!("no refusal"),
            };
            assert_eq!(retry(Credential::Fixed).after(cause), Err(wanted));
        }
    }

    #[test]
    fn a_refused_identity_that_can_be_renewed_gets_one_attempt_at_once_and_then_waits() {
        for first in identity_causes() {
            for second in identity_causes() {
                let mut retry = retry(RENEWABLE);
                assert_eq!(retry.after(first), Ok(Duration::ZERO));
                let mut waits = (0..40).map(|_| retry.after(second).expect("a delay"));
                assert!(waits.by_ref().take(8).all(|wait| !wait.is_zero()));
                let longest = waits.max().expect("delays");
                assert!(longest > Duration::from_secs(30) && longest <= Duration::from_secs(60));
                retry.steady();
                assert_eq!(retry.after(second), Ok(Duration::ZERO));
                assert!(retry.after(first).expect("a delay") <= Duration::from_secs(1));
            }
        }
    }

    #[test]
    fn to_ask_whether_another_attempt_is_allowed_changes_no_delay() {
        let mut asked = retry(RENEWABLE);
        let mut other = retry(RENEWABLE);
        let causes = [Cause::Status(401), Cause::NoToken, Cause::Other, Cause::Code(4500)];
        for cause in identity_causes().into_iter().chain(causes) {
            for _ in 0..3 {
                assert_eq!(asked.allows(cause), other.after(cause).is_ok());
                asked.after(cause).ok();
                asked.allows(cause);
            }
        }
        assert_eq!(asked.after(Cause::Other), other.after(Cause::Other));
        assert_eq!(asked.after(Cause::NoToken), other.after(Cause::NoToken));
    }

    #[test]
    fn a_source_without_a_token_is_asked_ever_more_rarely() {
        let mut retry = retry(RENEWABLE);
        let waits = (0..40).map(|_| retry.after(Cause::NoToken).expect("a delay"));
        assert!(waits.max() > Some(Duration::from_secs(30)));
    }

    #[test]
    fn what_does_not_concern_the_identity_is_decided_by_status_and_range() {
        for credential in [Credential::Fixed, RENEWABLE] {
            for code in CloseCode::ALL.into_iter().filter(|code| !concerns_identity(code.code())) {
                let next = retry(credential).after(Cause::Code(code.code()));
                assert_eq!(next.is_ok(), code.reconnect(), "{code:?}");
            }
            for status in [400, 404] {
                let next = retry(credential).after(Cause::Status(status));
                assert_eq!(next, Err(Ended::Refused(status)));
            }
            for cause in [Cause::Status(429), Cause::Status(503), Cause::Code(1006), Cause::Other] {
                let next = retry(credential).after(cause).expect("a delay");
                assert!(next <= Duration::from_millis(50), "{cause:?}");
            }
        }
    }
}
