//! The story of an issuer that changes its key while a ward works: tokens of a short life are
//! renewed by the client library all the time, the new key comes, the old one goes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;
use wardlink_client::{BearerToken, TokenSource};
use wardlink_tests::cluster::{PATIENCE, eventually, within};
use wardlink_tests::load::{Load, LoadPlan, Tokens};
use wardlink_tests::raw::Came;
use wardlink_wire::EndId;

use super::keys::{ec, jwks, rsa};
use super::mint::{Mint, now, until};
use super::{Gate, authorization, closes, enter, handshake, stands};

/// Pairs of terminals.
const PAIRS: usize = 15;
/// Life of a token: it is renewed after four fifths of it.
const LIFE: u64 = 8;
/// A BS reads the file every 5 s, and spreads the closes over 2 s; the rest is a busy machine's.
const WITHDRAWN: Duration = Duration::from_secs(12);

/// An issuer: signs with the key of the moment, and knows who has a token of which.
#[derive(Clone)]
struct Issuer(Arc<Mutex<Issued>>);

struct Issued {
    mint: Mint,
    /// How often the key has changed, and after how many changes each end had its last token.
    changes: usize,
    last: HashMap<EndId, usize>,
    tokens: usize,
}

impl Issuer {
    fn new(mint: Mint) -> Self {
        Self(Arc::new(Mutex::new(Issued { mint, changes: 0, last: HashMap::new(), tokens: 0 })))
    }

    fn with<T>(&self, f: impl FnOnce(&mut Issued) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, mint: Mint) {
        self.with(|issued| {
            issued.mint = mint;
            issued.changes += 1;
        });
    }

    fn token(&self, end: &EndId) -> String {
        self.with(|issued| {
            issued.last.insert(end.clone(), issued.changes);
            issued.tokens += 1;
            issued.mint.token(end.as_str(), now() + LIFE)
        })
    }

    fn all_have_the_newest(&self) -> bool {
        self.with(|issued| issued.last.values().all(|at| *at == issued.changes))
    }

    /// How a terminal of the load gets its tokens.
    fn tokens(&self) -> Tokens {
        let issuer = self.clone();
        Tokens::new(move |end| {
            let (issuer, end) = (issuer.clone(), end.clone());
            TokenSource::asked(move || {
                let token = BearerToken::new(&issuer.token(&end)).expect("a token");
                std::future::ready(Ok::<_, Infallible>(token))
            })
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_and_keys_change_under_load_and_only_those_without_leave() -> anyhow::Result<()> {
    let pair = ec();
    let (a, b) = (Mint::rsa(rsa(), Some("2026-1")), Mint::ec(&pair, Some("2026-2")));
    let (key_a, key_b) = (rsa().jwk("2026-1"), pair.jwk("2026-2"));
    let keys = jwks(std::slice::from_ref(&key_a));
    let gate = Gate::open(&keys, &["--jwt-leeway", "1s"]).await?;
    let issuer = Issuer::new(a.clone());
    let plan = LoadPlan { pairs: PAIRS, ..LoadPlan::new(gate.cluster.urls()) };
    let load = Load::start(LoadPlan { tokens: Some(issuer.tokens()), ..plan }).await?;

    // Two that do not renew theirs: one that ends soon, one of the key that will go.
    let exp = now() + 2;
    let (mut short, _) = enter(gate.bs(), &a.token("H1-A2-short", exp)).await?;
    let stale = a.lasting("H1-A2-stale");
    let (mut old, _) = enter(gate.bs(), &stale).await?;
    let end = short.end().await?;
    ensure!(matches!(end, Came::Close(4506, _)) && now() > exp, "{end:?} at {}", now());

    // A second key. Who comes with it first makes the BS read it at once.
    gate.rotate(&jwks(&[key_a, key_b.clone()]))?;
    issuer.change(b.clone());
    let (mut new, _) = enter(gate.bs(), &b.lasting("H1-A2-new")).await?;
    let renewed = || std::future::ready(issuer.all_have_the_newest());
    eventually(PATIENCE, "all have a token of the new key", renewed).await?;
    // What a terminal sends or acknowledges now, it does after the frame with its new token.
    load.until_flowing(load.now(), PATIENCE).await?;
    stands(&mut old).await?;

    // The old key goes.
    gate.rotate(&jwks(&[key_b]))?;
    let gone = Instant::now();
    let end = within(WITHDRAWN, "who has a token of the old key leaves", old.end()).await??;
    ensure!(matches!(end, Came::Close(4007, _)), "{end:?}");
    println!("the old key was gone after {:.1?}", gone.elapsed());
    let (status, text) = handshake(gate.bs(), "/ws", &authorization(&stale)).await?;
    ensure!(status == 401 && text.contains("kid names no key known here"), "{text}");
    stands(&mut new).await?;
    // Twice the life of a token later the same sessions stand.
    until(now() + 2 * LIFE + 2).await;
    load.until_flowing(load.now(), Duration::from_secs(5)).await?;
    stands(&mut new).await?;

    ensure!(load.reconnects() == 0, "{} sessions were lost", load.reconnects());
    for (label, wanted) in [
        ("identity_expired", 1.0),
        ("key_withdrawn", 1.0),
        ("bad_identity", 0.0),
        ("session_lost", 0.0),
        ("too_slow", 0.0),
        ("replaced", 0.0),
    ] {
        let count = closes(gate.bs(), label).await?;
        ensure!(count == wanted, "{count} sessions closed by {label}");
    }
    let pauses = load.pauses(Duration::ZERO, load.now());
    let report = load.finish().await?;
    let tokens = issuer.with(|issued| issued.tokens);
    println!("{report}; {tokens} tokens for {} terminals; pauses: {pauses}", 2 * PAIRS);
    ensure!(tokens > 4 * 2 * PAIRS, "{tokens} tokens: they were not renewed");
    ensure!(report.results.rejected + report.results.unknown == 0, "{report}");
    ensure!(report.repeats == 0, "{report}");
    gate.cluster.end().await
}
