//! Whose links are, by a real API server: servers as processes of this machine, with the tokens
//! of pods that exist without running.

mod ward;

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;
use wardlink_cluster_tests::{Answer, Cluster, Fault, Proxy, Security};
use wardlink_tests::cluster::{Flow, PATIENCE, Process, Tally, Terminal, eventually};

use self::ward::{Ward, knock};

const CLOSES: &str = "wardlink_message_server_link_closes_total";
/// The line of an MS's log that says that a BS is linked.
const LINKED: &str = "business server linked";
/// Messages that flow while something happens: some at each step.
const AHEAD: usize = 8;

/// The links that an MS closed with this code.
async fn closed(ms: &Process, code: &str) -> anyhow::Result<f64> {
    ms.metric(&format!("{CLOSES}{{code=\"{code}\"}}")).await
}

/// Messages from one terminal to the other, each with a result, in order, once.
async fn round(sender: &Terminal, target: &mut Terminal) -> anyhow::Result<Tally> {
    let mut flow = Flow::begin(sender.client().clone(), target.end().clone(), AHEAD * 4, AHEAD);
    while !flow.arrived() {
        let message = target.next().await?;
        flow.take(&message)?;
    }
    flow.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_of_the_business_servers_is_let_in_under_its_uid_and_all_others_are_refused()
-> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Any, async |ns| {
            let ward = Ward::open(&ns).await?;
            let pod = ward.pod("bs-0", "bs").await?;
            let token = ward.token("bs", &[ward.audience()], Some(&pod)).await?;
            let servers = ward.servers(&token, ward.kubeconfig(), &[]).await?;
            let ms = servers.cluster.ms(0);
            ensure!(ms.log_text().contains(&pod.uid), "the server id is not the pod's UID");
            ensure!(knock(ms, Some(&token)).await?.0 == 101, "a good token is refused");

            let other_pod = ward.pod("other-0", "other").await?;
            let gone = ward.pod("bs-gone", "bs").await?;
            let of_gone = ward.token("bs", &[ward.audience()], Some(&gone)).await?;
            ward.delete(&gone).await?;
            let not_valid = "the link's token is not valid, or no longer\n";
            let audience = "the link's token is for another audience\n";
            let expired = ward.signed(&token, |claims| {
                for (name, ago) in [("exp", 90), ("iat", 700), ("nbf", 700)] {
                    claims[name] = json!(ward::now() - ago);
                }
            })?;
            for (what, shown, text) in [
                (
                    "another service account",
                    ward.token("other", &[ward.audience()], Some(&other_pod)).await?,
                    "the link's token is of another service account\n",
                ),
                (
                    "the same name in another namespace",
                    ward.signed(&token, |claims| {
                        claims["sub"] = json!("system:serviceaccount:default:bs");
                        claims["kubernetes.io"]["namespace"] = json!("default");
                    })?,
                    "the link's token is of another service account\n",
                ),
                ("another audience", ward.token("bs", &["other"], Some(&pod)).await?, audience),
                ("the API server's audience", ward.token("bs", &[], Some(&pod)).await?, audience),
                (
                    "no pod",
                    ward.token("bs", &[ward.audience()], None).await?,
                    "the link's token is bound to no pod\n",
                ),
                ("an expired one", expired, not_valid),
                ("a deleted pod", of_gone, not_valid),
                (
                    "a pod that never was",
                    ward.signed(&token, |claims| {
                        claims["kubernetes.io"]["pod"]["uid"] =
                            json!("00000000-0000-4000-8000-000000000000");
                    })?,
                    not_valid,
                ),
                ("a signature of another key", ward::forged(&token)?, not_valid),
                ("HS256 with the public key", ward.confused(&token)?, not_valid),
                ("no signature", ward::unsigned(&token)?, not_valid),
                ("no token", "garbage".into(), "the link's token is none of a service account\n"),
            ] {
                let answer = knock(ms, Some(&shown)).await?;
                ensure!(answer == (401, text.to_owned()), "{what}: {answer:?}");
            }
            let nothing = knock(ms, None).await?;
            ensure!(nothing.0 == 401 && nothing.1.contains("needs a secret"), "{nothing:?}");
            // The link beside all this is the first one.
            ensure!(ms.log_text().matches(LINKED).count() == 1);
            servers.end(&[&token]).await?;
            ward.close().await
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_exchanged_under_traffic_and_no_link_and_no_session_is_lost()
-> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Any, async |ns| {
            let ward = Ward::open(&ns).await?;
            let pod = ward.pod("bs-0", "bs").await?;
            let long = ward.token("bs", &[ward.audience()], Some(&pod)).await?;
            // The API server issues none for less than ten minutes.
            let lives = Duration::from_secs(25);
            let short = ward.shortened(&long, lives)?;
            let begun = Instant::now();
            let servers = ward.servers(&short, ward.kubeconfig(), &[]).await?;
            let sender = servers.cluster.terminal("H1-A2-nurse").await?;
            let mut target = servers.cluster.terminal("H1-A2-pump").await?;
            let (mut sent, mut exchanged) = (0, false);
            // Until the first token has been refused for certain.
            while begun.elapsed() < lives + Duration::from_secs(20) {
                if !exchanged && begun.elapsed() > Duration::from_secs(10) {
                    servers.show(&long)?;
                    exchanged = true;
                }
                let tally = round(&sender, &mut target).await?;
                ensure!(tally.marked == 0, "a link or a session was lost: {tally}");
                ensure!(tally.stored == 0, "a message went the long way: {tally}");
                sent += tally.delivered;
            }
            let ms = servers.cluster.ms(0);
            ensure!(ms.log_text().matches(LINKED).count() == 1, "the link was opened anew");
            println!("{sent} messages delivered over an exchange of the token");
            servers.end(&[&short, &long]).await?;
            ward.close().await
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_ends_with_its_token_and_a_fresh_one_opens_the_next() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Any, async |ns| {
            let ward = Ward::open(&ns).await?;
            let pod = ward.pod("bs-0", "bs").await?;
            let long = ward.token("bs", &[ward.audience()], Some(&pod)).await?;
            let short = ward.shortened(&long, Duration::from_secs(8))?;
            let servers = ward.servers(&short, ward.kubeconfig(), &[]).await?;
            let (ms, bs) = (servers.cluster.ms(0), servers.cluster.bs(0));
            let expired = async || closed(ms, "identity_expired").await.unwrap_or(0.0) == 1.0;
            eventually(PATIENCE, "the link ends with its token", expired).await?;
            let refused = "the link's token is not valid, or no longer";
            let told = async || bs.log_text().contains(refused);
            eventually(PATIENCE, "the next one is refused", told).await?;
            servers.show(&long)?;
            let back = async || {
                let log = ms.log_text();
                let linked = log.lines().filter(|line| line.contains(LINKED));
                linked.filter(|line| line.contains(&pod.uid)).count() == 2
            };
            eventually(PATIENCE, "the BS is back under its server id", back).await?;
            servers.end(&[&short, &long]).await?;
            ward.close().await
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_pod_loses_its_link_and_one_beside_it_keeps_its_own() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Any, async |ns| {
            let ward = Ward::open(&ns).await?;
            let (pod, beside) = (ward.pod("bs-0", "bs").await?, ward.pod("bs-1", "bs").await?);
            let token = ward.token("bs", &[ward.audience()], Some(&pod)).await?;
            let other = ward.token("bs", &[ward.audience()], Some(&beside)).await?;
            let review = ["--link-review", "2s"];
            let mut servers = ward.servers(&token, ward.kubeconfig(), &review).await?;
            let second = servers.add_bs(&other).await?;
            let begun = Instant::now();
            ward.delete(&pod).await?;
            let ms = servers.cluster.ms(0);
            let gone = async || closed(ms, "bad_identity").await.unwrap_or(0.0) == 1.0;
            eventually(PATIENCE, "the pod loses its link", gone).await?;
            println!("a deleted pod lost its link after {:?}", begun.elapsed());
            // A few more reviews.
            let reviews = "wardlink_message_server_link_reviews_total{outcome=\"accepted\"}";
            let before = ms.metric(reviews).await?;
            let more = async || ms.metric(reviews).await.unwrap_or(0.0) >= before + 3.0;
            eventually(PATIENCE, "the other one is reviewed", more).await?;
            ensure!(
                closed(ms, "bad_identity").await? == 1.0
                    && servers.cluster.bs(second).ready().await
            );
            servers.end(&[&token, &other]).await?;
            ward.close().await
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_api_server_nobody_new_gets_in_and_open_links_stay() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Any, async |ns| {
            let ward = Ward::open(&ns).await?;
            let pod = ward.pod("bs-0", "bs").await?;
            let token = ward.token("bs", &[ward.audience()], Some(&pod)).await?;
            let proxy = Proxy::start(&cluster).await?;
            let through = ward.access().through(&proxy).await?;
            let review = ["--link-review", "1s"];
            let servers = ward.servers(&token, through.kubeconfig(), &review).await?;
            let ms = servers.cluster.ms(0);
            let sender = servers.cluster.terminal("H1-A2-nurse").await?;
            let mut target = servers.cluster.terminal("H1-A2-pump").await?;
            for (outcome, answer) in [
                ("unreachable", None),
                ("busy", Some(Answer::Status(429))),
                ("forbidden", Some(Answer::Status(403))),
                ("failed", Some(Answer::Status(500))),
                ("slow", Some(Answer::Hang)),
            ] {
                let fault = match answer {
                    None => {
                        proxy.go_down();
                        None
                    }
                    Some(answer) => Some(proxy.add(Fault::new(answer))),
                };
                let series =
                    format!("wardlink_message_server_link_reviews_total{{outcome=\"{outcome}\"}}");
                // The open link is reviewed in vain, twice, and goes on.
                let in_vain = async || ms.metric(&series).await.unwrap_or(0.0) >= 2.0;
                eventually(PATIENCE, outcome, in_vain).await?;
                let newcomer = ward.token("bs", &[ward.audience()], Some(&pod)).await?;
                let begun = Instant::now();
                let answer = knock(ms, Some(&newcomer)).await?;
                ensure!(answer.0 == 503, "{outcome}: {answer:?}");
                ensure!(begun.elapsed() < Duration::from_secs(4), "after {:?}", begun.elapsed());
                let tally = round(&sender, &mut target).await?;
                ensure!(tally.marked == 0, "{outcome}: {tally}");
                match fault {
                    None => proxy.come_up(),
                    Some(fault) => proxy.remove(fault),
                }
                let lets_in = async || matches!(knock(ms, Some(&newcomer)).await, Ok((101, _)));
                eventually(PATIENCE, "newcomers are let in again", lets_in).await?;
            }
            ensure!(ms.log_text().matches(LINKED).count() == 1, "a link was lost");
            ensure!(ms.log_text().contains("link's token could not be reviewed"));
            servers.end(&[&token]).await?;
            ward.close().await
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_restarts_in_its_pod_takes_its_place_at_once() -> anyhow::Result<()> {
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Any, async |ns| {
            let ward = Ward::open(&ns).await?;
            let (pod, beside) = (ward.pod("bs-0", "bs").await?, ward.pod("bs-1", "bs").await?);
            let token = ward.token("bs", &[ward.audience()], Some(&pod)).await?;
            let other = ward.token("bs", &[ward.audience()], Some(&beside)).await?;
            let mut servers = ward.servers(&token, ward.kubeconfig(), &[]).await?;
            let second = servers.add_bs(&other).await?;
            let sender = servers.cluster.terminal_at(second, "H1-A2-nurse").await?;
            let mut target = servers.cluster.terminal_at(0, "H1-A2-pump").await?;
            round(&sender, &mut target).await?;
            // Frozen, its old link stays open: the new process must not wait for its end.
            servers.cluster.bs(0).pause()?;
            let again = servers.again(&token).await?;
            let begun = Instant::now();
            servers.cluster.bs_mut(again).launch()?;
            let ms = servers.cluster.ms(0);
            let linked = async || ms.log_text().matches(&pod.uid).count() == 2;
            eventually(PATIENCE, "it is linked under the same server id", linked).await?;
            let took = begun.elapsed();
            let replaced = async || closed(ms, "link_replaced").await.unwrap_or(0.0) == 1.0;
            eventually(PATIENCE, "it takes the place of the one before", replaced).await?;
            println!("linked again {took:?} after its start");
            ensure!(took < Duration::from_secs(2), "after {took:?}");
            servers.cluster.bs_mut(0).kill();
            servers.cluster.bs_mut(again).until_ready().await?;
            let mut target = servers.cluster.terminal_at(again, "H1-A2-pump").await?;
            round(&sender, &mut target).await?;
            servers.end(&[&token, &other]).await?;
            ward.close().await
        })
        .await
}

/// A thief with a BS's token and that BS take the place of each other. What is sent meanwhile has
/// honest results and nothing is lost; when the token counts no more, the BS has its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_token_displaces_its_bs_at_a_bounded_rate_and_loses_nothing() -> anyhow::Result<()>
{
    let cluster = Cluster::from_environment().await?;
    cluster
        .with_namespace(Security::Any, async |ns| {
            let ward = Ward::open(&ns).await?;
            let pod = ward.pod("bs-0", "bs").await?;
            let long = ward.token("bs", &[ward.audience()], Some(&pod)).await?;
            let stolen = ward.shortened(&long, Duration::from_secs(20))?;
            let mut servers = ward.servers(&long, ward.kubeconfig(), &[]).await?;
            let sender = servers.cluster.terminal_at(0, "H1-A2-nurse").await?;
            let mut target = servers.cluster.terminal_at(0, "H1-A2-pump").await?;
            let thief = servers.add_stopped_bs(&stolen).await?;
            servers.cluster.bs_mut(thief).launch()?;
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(12) {
                // Each has its result and arrives once, in order; some wait for a link.
                round(&sender, &mut target).await?;
            }
            let ms = servers.cluster.ms(0);
            let taken = closed(ms, "link_replaced").await?;
            let rate = taken / begun.elapsed().as_secs_f64();
            println!("{taken} times displaced, {rate:.1} a second");
            ensure!((1.0..=20.0).contains(&rate), "{rate} a second");
            let refused = "the link's token is not valid, or no longer";
            let over = async || servers.cluster.bs(thief).log_text().contains(refused);
            eventually(PATIENCE, "the stolen token counts no more", over).await?;
            let before = closed(servers.cluster.ms(0), "link_replaced").await?;
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(3) {
                let tally = round(&sender, &mut target).await?;
                ensure!(tally.marked == 0, "{tally}");
            }
            ensure!(closed(servers.cluster.ms(0), "link_replaced").await? == before);
            servers.end(&[&long, &stolen]).await?;
            ward.close().await
        })
        .await
}
