//! Reviews by an API server that the test plays.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use uuid::Uuid;
use wardlink_service::metrics::Registry;
use wardlink_wire::ServerId;

use super::super::CHECK;
use super::super::rules::Review;
use super::super::rules::tests::{rules, token};
use super::*;

/// What the API server does with a token.
#[derive(Debug, Clone, Copy)]
pub(in crate::app::identity) enum Play {
    /// It is this pod's.
    Pod(u128),
    /// It is none.
    No,
    Forbidden,
    Busy,
    Unreachable,
    /// It does not answer.
    Hang,
    /// It is this pod's, and the answer comes when the test says so.
    Held(u128),
}

#[derive(Debug, Default)]
pub(in crate::app::identity) struct Played {
    plays: Mutex<HashMap<String, Play>>,
    asked: Mutex<Vec<String>>,
    release: Notify,
}

impl Played {
    pub(in crate::app::identity) fn play(&self, token: &LinkToken, play: Play) {
        self.plays.lock().unwrap().insert(token.expose().to_owned(), play);
    }

    /// Reviews so far.
    pub(in crate::app::identity) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

#[async_trait]
impl Reviewer for Played {
    async fn review(&self, token: &LinkToken, audience: &str) -> Result<Review, Unreviewed> {
        self.asked.lock().unwrap().push(token.expose().to_owned());
        let play = self.plays.lock().unwrap().get(token.expose()).copied().unwrap_or(Play::No);
        let text = || "a fault of the test".to_owned();
        let pod = match play {
            Play::Pod(pod) => pod,
            Play::No => return Ok(Review::default()),
            Play::Forbidden => return Err(Unreviewed::Forbidden(text())),
            Play::Busy => return Err(Unreviewed::Busy(text())),
            Play::Unreachable => return Err(Unreviewed::Unreachable(text())),
            Play::Hang => std::future::pending().await,
            Play::Held(pod) => {
                self.release.notified().await;
                pod
            }
        };
        Ok(Review {
            authenticated: true,
            audiences: vec![audience.to_owned()],
            username: "system:serviceaccount:ward:a-bs".to_owned(),
            pod_uids: vec![Uuid::from_u128(pod).to_string()],
        })
    }
}

pub(in crate::app::identity) fn rig() -> (Arc<Pods>, Arc<Played>) {
    let played = Arc::new(Played::default());
    let metrics = Metrics::new(&Registry::new());
    let minute = Duration::from_secs(60);
    (Pods::new(rules(), minute, played.clone(), metrics), played)
}

/// A token of the account, different for each `n`, that lives so many seconds.
pub(in crate::app::identity) fn good(n: usize, lives_s: u64) -> LinkToken {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    token(&json!({
        "sub": "system:serviceaccount:ward:a-bs", "aud": ["wardlink-a"],
        "exp": now + lives_s, "jti": n,
    }))
}

fn from(n: u32) -> Whose {
    Whose::New(Ipv4Addr::from(n).into())
}

fn server(verdict: Verdict) -> Option<u128> {
    match verdict {
        Verdict::Is(Proven { server: ServerId(uuid), .. }) => Some(uuid.as_u128()),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_yes_is_asked_for_once_a_minute_and_a_no_once_in_five_seconds() {
    let (pods, played) = rig();
    let (yes, no) = (good(1, 3_600), good(2, 3_600));
    played.play(&yes, Play::Pod(7));
    for _ in 0..3 {
        assert_eq!(server(pods.check(&yes, from(1)).await), Some(7));
        assert_eq!(pods.check(&no, from(1)).await, Verdict::Not(Refused::NotValid));
    }
    assert_eq!(played.asked(), 2);
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(pods.check(&no, from(1)).await, Verdict::Not(Refused::NotValid));
    assert_eq!(server(pods.check(&yes, from(1)).await), Some(7));
    assert_eq!(played.asked(), 3);
    tokio::time::advance(Duration::from_secs(55)).await;
    played.play(&yes, Play::No);
    assert_eq!(pods.check(&yes, from(1)).await, Verdict::Not(Refused::NotValid));
    assert_eq!(pods.metrics().count(Decided::Remembered), 3);
    assert_eq!(pods.metrics().count(Decided::RememberedRefusal), 2);
}

#[tokio::test(start_paused = true)]
async fn a_yes_does_not_outlive_its_token() {
    let (pods, played) = rig();
    let yes = good(1, 20);
    played.play(&yes, Play::Pod(7));
    assert_eq!(server(pods.check(&yes, from(1)).await), Some(7));
    played.play(&yes, Play::No);
    tokio::time::advance(Duration::from_secs(21)).await;
    assert_eq!(pods.check(&yes, from(1)).await, Verdict::Not(Refused::NotValid));
}

#[tokio::test(start_paused = true)]
async fn many_with_one_token_make_one_review_and_who_leaves_takes_nothing_from_the_others() {
    let (pods, played) = rig();
    let yes = good(1, 3_600);
    played.play(&yes, Play::Held(7));
    let mut waiting = JoinSet::new();
    for n in 0..100 {
        let (pods, yes) = (pods.clone(), yes.clone());
        waiting.spawn(async move { pods.check(&yes, from(n)).await });
    }
    let first = {
        let (pods, yes) = (pods.clone(), yes.clone());
        tokio::spawn(async move { pods.check(&yes, from(200)).await })
    };
    while played.asked() == 0 || pods.metrics().count(Decided::Joined) < 100 {
        tokio::task::yield_now().await;
    }
    first.abort();
    played.release.notify_one();
    while let Some(verdict) = waiting.join_next().await {
        assert_eq!(server(verdict.unwrap()), Some(7));
    }
    assert_eq!(played.asked(), 1);
    assert!(pods.flights().under_way.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_review_for_which_nobody_waits_is_given_up_and_leaves_no_trace() {
    let (pods, played) = rig();
    let yes = good(1, 3_600);
    played.play(&yes, Play::Hang);
    let soon = Duration::from_millis(10);
    assert!(timeout(soon, pods.check(&yes, from(1))).await.is_err());
    assert!(pods.flights().under_way.is_empty());
    assert_eq!(pods.metrics().waiting.get(), 0);
    played.play(&yes, Play::Pod(7));
    assert_eq!(server(pods.check(&yes, from(1)).await), Some(7));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_reviewed_lets_nobody_in_and_is_asked_for_again() {
    let (pods, played) = rig();
    let yes = good(1, 3_600);
    for (play, outcome) in [
        (Play::Forbidden, Outcome::Forbidden),
        (Play::Busy, Outcome::Busy),
        (Play::Unreachable, Outcome::Unreachable),
        (Play::Hang, Outcome::Slow),
    ] {
        played.play(&yes, play);
        let begun = Instant::now();
        assert_eq!(pods.check(&yes, from(1)).await, Verdict::Unchecked, "{play:?}");
        assert!(begun.elapsed() < CHECK, "{play:?} takes {:?}", begun.elapsed());
        assert_eq!(pods.metrics().ended(outcome), 1);
    }
    played.play(&yes, Play::Pod(7));
    assert_eq!(server(pods.check(&yes, from(1)).await), Some(7));
}

#[tokio::test(start_paused = true)]
async fn what_a_token_says_of_itself_costs_no_review() {
    let (pods, played) = rig();
    for (claims, refused) in [
        (json!({"sub": "x", "aud": "wardlink-a"}), Refused::Account),
        (json!({"sub": "system:serviceaccount:ward:a-bs", "aud": "x"}), Refused::Audience),
        (json!([]), Refused::Shape),
    ] {
        assert_eq!(pods.check(&token(&claims), from(1)).await, Verdict::Not(refused));
    }
    assert_eq!(played.asked(), 0);
    assert_eq!(pods.metrics().count(Decided::Looked), 3);
}

/// Somebody knocks from 20 addresses as fast as answers come, with a token of its own each time
/// that looks right. Reviews keep to their rate, and a BS gets in at its first attempt.
#[tokio::test(start_paused = true)]
async fn a_flood_of_forged_tokens_is_bounded_and_a_good_one_gets_in() {
    let (pods, played) = rig();
    let begun = Instant::now();
    let mut flood = JoinSet::new();
    for n in 0..400_u32 {
        let pods = pods.clone();
        flood.spawn(async move {
            for i in 0.. {
                let forged = good(n as usize * 1_000_000 + i, 3_600);
                let _ = timeout(CHECK, pods.check(&forged, from(n % 20))).await;
                // Another connection takes as long.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    let mut slowest = Duration::ZERO;
    for n in 0..20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let yes = good(900_000_000 + n, 3_600);
        played.play(&yes, Play::Pod(7));
        let asked = Instant::now();
        let verdict = timeout(CHECK, pods.check(&yes, from(99))).await;
        assert_eq!(verdict.ok().and_then(server), Some(7), "attempt {n}");
        slowest = slowest.max(asked.elapsed());
    }
    let most = 50 * (begun.elapsed().as_secs() as usize + 2);
    assert!(played.asked() <= most, "{} reviews, {most} are the most", played.asked());
    assert!(slowest < Duration::from_secs(2), "a good one waited {slowest:?}");
    assert!(pods.metrics().count(Decided::TurnedAway) > 1_000);
    flood.shutdown().await;
}
