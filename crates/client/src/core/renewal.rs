//! When the token of a session is asked for anew. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use wardlink_wire::terminal::Token;

use super::event::{Credential, Held};

/// Shortest time before a token is asked for that replaces one that still counts.
const RENEW_MIN: Duration = Duration::from_secs(1);
/// Shortest time before it is asked for again where there was no new one, or one that seems to
/// have expired, as all do where this machine's clock is wrong.
const RETRY_MIN: Duration = Duration::from_secs(5);

/// The token of a session.
#[derive(Debug)]
pub(super) struct Renewal {
    recheck: Option<Duration>,
    /// A token's hash stands for it, so that no client keeps it in memory.
    shown: u64,
    ends: Option<Duration>,
    next: Option<Duration>,
}

impl Renewal {
    /// A session that was opened with this token; `None` where there is nothing to renew.
    pub(super) fn new(held: &Held, credential: Credential, now: Duration) -> Option<Self> {
        let Credential::Renewable { recheck } = credential else { return None };
        let mut renewal = Self { recheck, shown: hash(&held.token), ends: None, next: None };
        renewal.hold(held.life, now);
        Some(renewal)
    }

    /// When the source is to be asked; never while it is being asked.
    pub(super) fn due(&self) -> Option<Duration> {
        self.next
    }

    /// The source is being asked.
    pub(super) fn ask(&mut self) {
        self.next = None;
    }

    /// What the source said; gives back the token if the server does not know it.
    pub(super) fn answer(&mut self, held: Option<Held>, now: Duration) -> Option<Token> {
        match held {
            Some(held) if hash(&held.token) != self.shown => {
                self.shown = hash(&held.token);
                self.hold(held.life, now);
                Some(held.token)
            }
            Some(_) | None => {
                let left = self.ends.map(|ends| ends.saturating_sub(now));
                self.plan(left.map(|left| (left / 2).max(RETRY_MIN)), now);
                None
            }
        }
    }

    /// Four fifths of its life lets a slow source answer in the last one.
    fn hold(&mut self, life: Option<Duration>, now: Duration) {
        self.ends = life.map(|life| now.saturating_add(life));
        let wait = life.map(|life| match life {
            life if life < RENEW_MIN => RETRY_MIN,
            life => (life / 5).saturating_mul(4).max(RENEW_MIN),
        });
        self.plan(wait, now);
    }

    fn plan(&mut self, wait: Option<Duration>, now: Duration) {
        let wait = [wait, self.recheck].into_iter().flatten().min();
        self.next = wait.map(|wait| now.saturating_add(wait));
    }
}

fn hash(token: &Token) -> u64 {
    let mut hasher = DefaultHasher::new();
    token.0.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Credential = Credential::Renewable { recheck: None };

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn held(token: &str, life: Option<u64>) -> Held {
        Held { token: Token(token.to_owned()), life: life.map(s) }
    }

    fn renewal(life: Option<u64>, credential: Credential) -> Renewal {
        Renewal::new(&held("a", life), credential, s(100)).expect("renewable")
    }

    #[test]
    fn a_token_is_asked_for_in_the_last_fifth_of_its_life_and_a_file_is_looked_at_besides() {
        let file = Credential::Renewable { recheck: Some(s(10)) };
        for (life, credential, wanted) in [
            (Some(100), ASKED, Some(s(180))),
            (Some(1), ASKED, Some(s(101))),
            (Some(0), ASKED, Some(s(105))),
            (None, ASKED, None),
            (Some(100), file, Some(s(110))),
            (Some(5), file, Some(s(104))),
            (None, file, Some(s(110))),
        ] {
            assert_eq!(renewal(life, credential).due(), wanted, "{life:?}");
        }
        assert!(Renewal::new(&held("a", Some(1)), Credential::Fixed, s(0)).is_none());
        let endless = Held { token: Token("a".into()), life: Some(Duration::MAX) };
        assert!(Renewal::new(&endless, ASKED, s(1)).expect("renewable").due() > Some(s(1 << 60)));
    }

    #[test]
    fn only_a_new_token_goes_to_the_server() {
        let mut renewal = renewal(Some(100), ASKED);
        renewal.ask();
        assert_eq!(renewal.due(), None);
        assert_eq!(renewal.answer(Some(held("a", Some(20))), s(180)), None);
        assert_eq!(renewal.due(), Some(s(190)), "half of what is left");
        renewal.ask();
        assert_eq!(renewal.answer(None, s(198)), None);
        assert_eq!(renewal.due(), Some(s(203)), "not at once");
        renewal.ask();
        let new = renewal.answer(Some(held("b", Some(50))), s(204));
        assert_eq!(new, Some(Token("b".into())));
        assert_eq!(renewal.due(), Some(s(244)));
    }
}
