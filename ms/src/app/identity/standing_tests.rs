//! Open links whose tokens are reviewed again, with time played.

use tokio::task::JoinHandle;
use wardlink_wire::link::LinkToken;

use super::super::pods::tests::{Play, Played, good, rig};
use super::*;

struct Rig {
    pods: Arc<Pods>,
    played: Arc<Played>,
    fresh: watch::Sender<Option<LinkToken>>,
    begun: Instant,
    link: JoinHandle<CloseCode>,
}

impl Rig {
    /// A link of pod 7 with this token, opened just now.
    async fn open(token: &LinkToken) -> Self {
        let (pods, played) = rig();
        played.play(token, Play::Pod(7));
        let knocks = Whose::New(std::net::Ipv4Addr::LOCALHOST.into());
        let Verdict::Is(proven) = pods.check(token, knocks).await else { panic!("refused") };
        let (fresh, shown) = watch::channel(None);
        let standing = Standing::new(pods.clone(), token.clone(), proven);
        let begun = Instant::now();
        Self { pods, played, fresh, begun, link: tokio::spawn(standing.keep(shown)) }
    }

    /// So many seconds after the link was opened.
    async fn at(&self, seconds: u64) {
        sleep_until(self.begun + Duration::from_secs(seconds)).await;
        // What is due now has its turn.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    async fn is_open_at(&self, seconds: u64) -> bool {
        self.at(seconds).await;
        !self.link.is_finished()
    }

    /// With which code the link ends, and after how many seconds.
    async fn end(self) -> (CloseCode, u64) {
        let code = self.link.await.unwrap();
        (code, self.begun.elapsed().as_secs())
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_gone_loses_its_link_at_the_next_review() {
    let token = good(1, 3_600);
    let rig = Rig::open(&token).await;
    assert!(rig.is_open_at(125).await);
    assert_eq!(rig.played.asked(), 3, "at the opening, and once a minute");
    rig.played.play(&token, Play::No);
    assert!(rig.is_open_at(179).await);
    let knocks = Whose::New(std::net::Ipv4Addr::LOCALHOST.into());
    let pods = rig.pods.clone();
    assert_eq!(rig.end().await, (CloseCode::BadIdentity, 180));
    assert!(matches!(pods.check(&token, knocks).await, Verdict::Not(_)), "the yes is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_yes_that_was_remembered_counts_no_longer_for_the_link_that_it_let_in() {
    let token = good(1, 3_600);
    let Rig { pods, played, begun, link, .. } = Rig::open(&token).await;
    link.abort();
    played.play(&token, Play::No);
    sleep_until(begun + Duration::from_secs(59)).await;
    let knocks = Whose::New(std::net::Ipv4Addr::LOCALHOST.into());
    let Verdict::Is(proven) = pods.check(&token, knocks).await else { panic!("not remembered") };
    let (_fresh, shown) = watch::channel(None);
    let code = Standing::new(pods, token, proven).keep(shown).await;
    assert_eq!((code, begun.elapsed().as_secs()), (CloseCode::BadIdentity, 60));
}

#[tokio::test(start_paused = true)]
async fn reviews_that_cannot_be_made_end_no_link_before_its_token_expires() {
    for play in [Play::Unreachable, Play::Busy, Play::Forbidden, Play::Hang] {
        let token = good(1, 600);
        let rig = Rig::open(&token).await;
        rig.played.play(&token, play);
        assert!(rig.is_open_at(595).await, "{play:?}");
        let (code, after) = rig.end().await;
        assert_eq!(code, CloseCode::IdentityExpired);
        assert!((599..=604).contains(&after), "{play:?}: {after} s");
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_comes_back_finds_the_link_where_it_was() {
    let token = good(1, 3_600);
    let rig = Rig::open(&token).await;
    rig.played.play(&token, Play::Unreachable);
    assert!(rig.is_open_at(300).await);
    rig.played.play(&token, Play::Pod(7));
    assert!(rig.is_open_at(306).await);
    let asked = rig.played.asked();
    assert!(rig.is_open_at(360).await);
    assert!(rig.played.asked() <= asked + 1, "once a minute again");
}

#[tokio::test(start_paused = true)]
async fn a_fresh_token_takes_the_place_of_the_one_before() {
    // The wall clock stands still meanwhile: what is shown at 470 s expires at 1,185 s.
    let (first, second) = (good(1, 600), good(2, 715));
    let rig = Rig::open(&first).await;
    rig.played.play(&second, Play::Pod(7));
    rig.at(470).await;
    rig.fresh.send_replace(Some(second.clone()));
    rig.at(475).await;
    rig.played.play(&first, Play::No);
    assert!(rig.is_open_at(1_180).await);
    rig.played.play(&second, Play::No);
    let (code, after) = rig.end().await;
    assert_eq!(code, CloseCode::IdentityExpired);
    assert!((1_184..=1_185).contains(&after), "{after}");
}

#[tokio::test(start_paused = true)]
async fn without_a_fresh_token_the_link_ends_when_its_token_expires() {
    let token = good(1, 600);
    let rig = Rig::open(&token).await;
    assert!(rig.is_open_at(598).await);
    rig.played.play(&token, Play::No);
    let (code, after) = rig.end().await;
    assert_eq!(code, CloseCode::IdentityExpired);
    assert!((599..=600).contains(&after), "{after}");
}

/// Where the API server's clock is behind, it is the one that counts.
#[tokio::test(start_paused = true)]
async fn a_token_that_the_api_server_takes_for_valid_is_valid() {
    let token = good(1, 600);
    let rig = Rig::open(&token).await;
    assert!(rig.is_open_at(620).await);
    rig.played.play(&token, Play::No);
    let (code, after) = rig.end().await;
    assert_eq!(code, CloseCode::IdentityExpired);
    assert!(after <= 626, "{after}");
}

#[tokio::test(start_paused = true)]
async fn a_fresh_token_of_another_pod_ends_the_link_and_a_bad_one_is_passed_over() {
    let (first, bad, other) = (good(1, 3_600), good(2, 3_600), good(3, 3_600));
    let rig = Rig::open(&first).await;
    rig.played.play(&other, Play::Pod(8));
    rig.fresh.send_replace(Some(bad));
    assert!(rig.is_open_at(20).await);
    assert_eq!(rig.pods.metrics().passed_over.get(), 1);
    rig.fresh.send_replace(Some(other));
    assert_eq!(rig.end().await, (CloseCode::BadIdentity, 20));
}

#[tokio::test(start_paused = true)]
async fn a_fresh_token_that_cannot_be_reviewed_yet_is_tried_again() {
    let (first, second) = (good(1, 600), good(2, 1_200));
    let rig = Rig::open(&first).await;
    rig.played.play(&second, Play::Busy);
    rig.fresh.send_replace(Some(second.clone()));
    rig.at(500).await;
    rig.played.play(&second, Play::Pod(7));
    rig.at(510).await;
    rig.played.play(&first, Play::No);
    assert!(rig.is_open_at(1_190).await);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_shows_token_after_token_has_one_reviewed_in_five_seconds() {
    let rig = Rig::open(&good(0, 3_600)).await;
    for n in 1..=1_000 {
        rig.fresh.send_replace(Some(good(n, 3_600)));
        rig.at(n as u64 / 20).await;
    }
    assert!(rig.is_open_at(60).await);
    assert!(rig.played.asked() <= 15, "{} reviews in a minute", rig.played.asked());
}
