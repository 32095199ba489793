//! Who may open a link, and that secrets and certificates are exchanged while messages flow.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};
use tokio::net::TcpStream;
use wardlink_tests::cluster::{
    Cluster, Flow, Links, PATIENCE, Plan, Process, Store, Tally, Terminal, eventually,
};
use wardlink_tests::pki::Pki;
use wardlink_tls::{CertificateFiles, Connector, Stream};

const OLD: &str = "the-old-secret-of-the-links";
const NEW: &str = "the-new-secret-of-the-links";
const WRONG: &str = "a-secret-of-another-cluster";
/// The name in the MSs' certificates, which no name service knows.
const NAME: &str = "ms.ward.example";
/// Messages that flow while something is exchanged: some at each step.
const AHEAD: usize = 8;

/// Flags with the path of a file.
fn file(flag: &str, path: &std::path::Path) -> Vec<String> {
    vec![flag.to_owned(), path.display().to_string()]
}

fn certificate(files: &CertificateFiles) -> Vec<String> {
    [file("--tls-cert", &files.cert), file("--tls-key", &files.key)].concat()
}

/// The BS says once why it has no link, and is not ready.
async fn refused(bs: &Process, why: &str) -> anyhow::Result<()> {
    let what = format!("{} says: {why}", bs.name());
    eventually(PATIENCE, &what, || async { bs.log_text().contains(why) }).await?;
    let reason =
        |reason| format!("wardlink_business_server_dial_failures_total{{reason=\"{reason}\"}}");
    eventually(PATIENCE, "a second attempt", || async {
        let (refused, tls) = (bs.metric(&reason("refused")).await, bs.metric(&reason("tls")).await);
        refused.unwrap_or(0.0) + tls.unwrap_or(0.0) >= 2.0
    })
    .await?;
    ensure!(bs.log_text().matches(why).count() == 1, "{} says it again and again", bs.name());
    ensure!(!bs.ready().await, "{} is ready", bs.name());
    Ok(())
}

async fn logs(process: &Process, text: &str, times: usize) -> anyhow::Result<()> {
    let what = format!("{} logs {text:?} {times} times", process.name());
    let logged = || async { process.log_text().matches(text).count() >= times };
    eventually(PATIENCE, &what, logged).await
}

/// No log holds a secret.
fn ensure_silent(cluster: &Cluster, processes: &[&Process]) -> anyhow::Result<()> {
    for process in processes.iter().copied().chain(cluster.mss()) {
        let text = process.log_text();
        for secret in [OLD, NEW, WRONG] {
            ensure!(!text.contains(secret), "{} logs a secret", process.name());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bs_without_the_secret_is_refused_and_one_beside_it_serves() -> anyhow::Result<()> {
    let pki = Pki::new()?;
    let right = file("--link-secret-file", &pki.put("secret", OLD)?);
    let wrong = file("--link-secret-file", &pki.put("wrong", WRONG)?);
    let plan =
        Plan { links: Links::Flags, ms_flags: right.clone(), bs_flags: right, ..Plan::default() };
    let mut cluster = Cluster::build(Store::Embedded, plan.clone()).await?;
    let without = cluster.add_bs(&plan, &[]).await?;
    let other = cluster.add_bs(&plan, &wrong).await?;
    for bs in [without, other] {
        cluster.bs_mut(bs).launch()?;
    }
    let missing = "refused with HTTP status 401: a link needs a secret";
    refused(cluster.bs(without), missing).await?;
    let mistaken = "refused with HTTP status 401: the link's secret is a wrong one";
    refused(cluster.bs(other), mistaken).await?;
    let counted =
        |reason| format!("wardlink_message_server_links_refused_total{{reason=\"{reason}\"}}");
    for reason in ["no_secret", "wrong_secret"] {
        ensure!(cluster.ms(0).metric(&counted(reason)).await? >= 2.0, "{reason} is not counted");
    }
    let warnings = cluster.ms(0).log_text().matches("link refused").count();
    ensure!((1..=4).contains(&warnings), "{warnings} warnings for many refusals");

    let sender = cluster.terminal_at(0, "H1-A2-nurse").await?;
    let mut target = cluster.terminal_at(0, "H1-A2-pump").await?;
    sender.deliver(&mut target, "beside").await?;
    ensure_silent(&cluster, &[cluster.bs(0), cluster.bs(without), cluster.bs(other)])?;
    cluster.end().await
}

/// Messages from one BS to the other while `exchange` goes on, each with a result, in order, once;
/// how many.
async fn under_traffic(
    cluster: &Cluster,
    exchange: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<usize> {
    let sender = cluster.terminal_at(0, "H1-A2-nurse").await?;
    let mut target = cluster.terminal_at(1, "H1-A2-pump").await?;
    let done = AtomicBool::new(false);
    let traffic = async {
        let mut sent = 0;
        while !done.load(Ordering::Relaxed) {
            let tally = round(&sender, &mut target).await?;
            ensure!(tally.marked == 0, "a link or a session was lost: {tally}");
            sent += tally.delivered + tally.stored;
        }
        anyhow::Ok(sent)
    };
    let exchange = async {
        let result = exchange.await;
        done.store(true, Ordering::Relaxed);
        result
    };
    let (sent, ()) = tokio::try_join!(traffic, exchange)?;
    Ok(sent)
}

/// A few messages, taken as they come.
async fn round(sender: &Terminal, target: &mut Terminal) -> anyhow::Result<Tally> {
    let mut flow = Flow::begin(sender.client().clone(), target.end().clone(), AHEAD * 4, AHEAD);
    while !flow.arrived() {
        let message = target.next().await?;
        flow.take(&message)?;
    }
    flow.finish().await
}

/// Each of these BSs has the link that it opened first.
fn ensure_no_link_lost(cluster: &Cluster, bss: Range<usize>) -> anyhow::Result<()> {
    for i in bss {
        let connects = cluster.bs(i).log_text().matches("connected to a message server").count();
        ensure!(connects == 1, "bs{i} has connected {connects} times");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_exchanged_under_traffic_and_no_link_is_lost() -> anyhow::Result<()> {
    let pki = Pki::new()?;
    let ms_file = pki.put("ms", OLD)?;
    let bs_file = pki.put("bs", OLD)?;
    let plan = Plan {
        bs: 2,
        links: Links::Flags,
        ms_flags: file("--link-secret-file", &ms_file),
        bs_flags: file("--link-secret-file", &bs_file),
        ..Plan::default()
    };
    let mut cluster = Cluster::build(Store::Embedded, plan.clone()).await?;
    let ms = cluster.ms(0);
    let sent = under_traffic(&cluster, async {
        pki.put("ms", &format!("{OLD}\n{NEW}\n"))?;
        logs(ms, "files have changed", 1).await?;
        pki.put("bs", NEW)?;
        pki.put("ms", NEW)?;
        logs(ms, "files have changed", 2).await
    })
    .await?;
    println!("{sent} messages while the secret was exchanged");
    ensure_no_link_lost(&cluster, 0..2)?;

    // A new link needs the new one; who has both finds it.
    cluster.bs_mut(1).restart().await?;
    let both = file("--link-secret-file", &pki.put("both", &format!("{OLD}\n{NEW}"))?);
    let both = cluster.add_bs(&plan, &both).await?;
    cluster.bs_mut(both).start().await?;
    let old = file("--link-secret-file", &pki.put("old", OLD)?);
    let old = cluster.add_bs(&plan, &old).await?;
    cluster.bs_mut(old).launch()?;
    refused(cluster.bs(old), "refused with HTTP status 401").await?;
    let all: Vec<&Process> = (0..=old).map(|i| cluster.bs(i)).collect();
    ensure_silent(&cluster, &all)?;
    cluster.end().await
}

/// What a cluster with certificates on both sides of its links is made of.
struct Encrypted {
    pki: Pki,
    plan: Plan,
}

impl Encrypted {
    fn new(ms: usize, bs: usize) -> anyhow::Result<Self> {
        let pki = Pki::new()?;
        let ca = pki.ca();
        let mut ms_flags = certificate(&Self::ms(&pki)?);
        ms_flags.extend(file("--tls-ca", &ca));
        let mut bs_flags = certificate(&Self::bs(&pki)?);
        bs_flags.extend(file("--tls-ca", &ca));
        bs_flags.extend(["--link-server-name".to_owned(), NAME.to_owned()]);
        for flags in [&mut ms_flags, &mut bs_flags] {
            flags.extend(file("--link-secret-file", &pki.put("secret", OLD)?));
        }
        let terminals = Some(Connector::new(Some(ca), None)?);
        let links = Links::Tls;
        let plan = Plan { ms, bs, links, terminals, ms_flags, bs_flags, ..Plan::default() };
        Ok(Self { pki, plan })
    }

    /// A new certificate of the MSs.
    fn ms(pki: &Pki) -> anyhow::Result<CertificateFiles> {
        pki.issue("ms", &[NAME])
    }

    /// A new certificate of the BSs.
    fn bs(pki: &Pki) -> anyhow::Result<CertificateFiles> {
        pki.issue("bs", &["127.0.0.1"])
    }

    /// The plan's flags of a BS with another value for one of them, or without it.
    fn changed(&self, flag: &str, value: Option<&str>) -> Vec<String> {
        let mut flags = self.plan.bs_flags.clone();
        let at = flags.iter().position(|it| it == flag).expect("a flag of the plan");
        match value {
            Some(value) => value.clone_into(&mut flags[at + 1]),
            None => drop(flags.drain(at..at + 2)),
        }
        flags
    }

    /// The certificate that a server shows in a new handshake.
    async fn shown(&self, name: &str, port: u16) -> anyhow::Result<Vec<u8>> {
        let own = CertificateFiles {
            cert: self.pki.dir().join("bs.crt"),
            key: self.pki.dir().join("bs.key"),
        };
        let connector = Connector::new(Some(self.pki.ca()), Some(own))?;
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let Stream::Tls(stream) = connector.connect(&name.parse()?, stream).await? else {
            anyhow::bail!("clear text");
        };
        let certificates = stream.get_ref().1.peer_certificates().context("no certificate")?;
        Ok(certificates[0].to_vec())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_servers_with_the_right_certificates_have_links() -> anyhow::Result<()> {
    let it = Encrypted::new(1, 1)?;
    let mut cluster = Cluster::build(Store::Embedded, it.plan.clone()).await?;
    let mut anonymous = it.changed("--tls-cert", None);
    let key = anonymous.iter().position(|flag| flag == "--tls-key").context("no key")?;
    anonymous.drain(key..key + 2);
    let stranger = Pki::new()?;
    let foreign = stranger.issue("bs", &["127.0.0.1"])?;
    let mut foreign_flags = it.changed("--tls-cert", Some(&foreign.cert.display().to_string()));
    let key = foreign_flags.iter().position(|flag| flag == "--tls-key").context("no key")?;
    foreign_flags[key + 1] = foreign.key.display().to_string();
    let strangers_ca = stranger.ca().display().to_string();
    for (what, flags, why) in [
        (
            "shows no certificate",
            anonymous,
            "TLS failed: received fatal alert: CertificateRequired",
        ),
        ("shows one of another authority", foreign_flags, "TLS failed: received fatal alert"),
        (
            "expects another name",
            it.changed("--link-server-name", Some("other.ward.example")),
            "certificate not valid for name",
        ),
        (
            "expects the address as the name",
            it.changed("--link-server-name", None),
            "certificate not valid for name",
        ),
        (
            "trusts another authority",
            it.changed("--tls-ca", Some(&strangers_ca)),
            "TLS failed: invalid peer certificate",
        ),
    ] {
        let bs = cluster.add_bs(&it.plan, &flags).await?;
        cluster.bs_mut(bs).launch()?;
        refused(cluster.bs(bs), why).await.with_context(|| format!("a BS that {what}"))?;
    }
    let sender = cluster.terminal_at(0, "H1-A2-nurse").await?;
    let mut target = cluster.terminal_at(0, "H1-A2-pump").await?;
    sender.deliver(&mut target, "beside").await?;
    cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_exchanged_under_load_and_no_connection_is_dropped() -> anyhow::Result<()>
{
    let it = Encrypted::new(1, 2)?;
    let mut cluster = Cluster::build(Store::Embedded, it.plan.clone()).await?;
    let (ms, bs) = (cluster.ms(0).port(), cluster.bs(0).port());
    let before = (it.shown(NAME, ms).await?, it.shown("127.0.0.1", bs).await?);
    let sent = under_traffic(&cluster, async {
        // First a certificate without its key: it is not used, and said so.
        let key = std::fs::read_to_string(it.pki.dir().join("ms.key"))?;
        Encrypted::ms(&it.pki)?;
        let next = std::fs::read_to_string(it.pki.dir().join("ms.key"))?;
        it.pki.put("ms.key", &key)?;
        logs(cluster.ms(0), "do not belong together", 1).await?;
        ensure!(it.shown(NAME, ms).await? == before.0, "half an exchange was used");
        it.pki.put("ms.key", &next)?;
        Encrypted::bs(&it.pki)?;
        logs(cluster.ms(0), "files have changed", 1).await?;
        for i in 0..2 {
            // For terminals, and for links.
            logs(cluster.bs(i), "files have changed", 2).await?;
        }
        ensure!(it.shown(NAME, ms).await? != before.0, "the MS shows the old certificate");
        ensure!(it.shown("127.0.0.1", bs).await? != before.1, "the BS shows the old certificate");
        Ok(())
    })
    .await?;
    println!("{sent} messages while certificates were exchanged");
    ensure_no_link_lost(&cluster, 0..2)?;

    // New links and new sessions, with the new ones.
    cluster.bs_mut(1).restart().await?;
    let sender = cluster.terminal_at(0, "H1-A2-nurse").await?;
    let mut target = cluster.terminal_at(1, "H1-A2-pump").await?;
    sender.deliver(&mut target, "afterwards").await?;
    cluster.end().await
}
