//! Load of many pairs of terminals, and the check of what was promised to them.
//!
//! Each pair is a stream: its sender, a client of the library, sends numbered messages at an even
//! pace to its target. What was sent, resulted and was shown is recorded; pauses are read from it
//! while the load runs, and [`Load::finish`] judges the whole.
//!
//! ```no_run
//! # async fn story(cluster: &mut wardlink_tests::cluster::Cluster) -> anyhow::Result<()> {
//! use std::time::Duration;
//! use wardlink_tests::load::{Load, LoadPlan};
//!
//! let load = Load::start(LoadPlan::new(cluster.urls())).await?;
//! let killed = load.now();
//! cluster.ms_mut(0).kill();
//! load.until_flowing(load.now(), Duration::from_secs(5)).await?;
//! println!("{}", load.pauses(killed, load.now()));
//! println!("{}", load.finish().await?);
//! # Ok(())
//! # }
//! ```

mod check;
mod record;
mod results;
mod sender;
mod target;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use wardlink_client::{ClientConfig, Identity, TokenSource};
use wardlink_wire::EndId;

use self::check::check;
use self::record::Stream;
pub use self::record::{Sent, Shown};
pub use self::results::{Report, Results};
use crate::cluster::{Latencies, PATIENCE, eventually, within};

/// How long the last results may take: a client's own deadline, and slack.
const RESULTS: Duration = Duration::from_secs(35);

/// What a load is made of.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// Pairs whose target stays; of every other one the target is a client of the library, of
    /// the rest a bare connection that connects again.
    pub pairs: usize,
    /// Further pairs whose target leaves and comes back all the time. They have no pauses.
    pub wandering: usize,
    /// Between two beats of a stream.
    pub interval: Duration,
    /// Messages of a stream at each beat.
    pub burst: usize,
    /// Business Servers, tried in turn by every terminal, each from another one on.
    pub urls: Vec<String>,
    /// Where tokens come from, if the servers want any. A target that wanders asks for one each
    /// time that it comes back.
    pub tokens: Option<Tokens>,
}

/// Gives each end a source of tokens. With tokens all terminals that stay are clients of the
/// library: a bare connection has nobody who renews its token.
#[derive(Clone)]
pub struct Tokens(Arc<dyn Fn(&EndId) -> TokenSource + Send + Sync>);

impl Tokens {
    /// By this function.
    pub fn new(source: impl Fn(&EndId) -> TokenSource + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl LoadPlan {
    /// 50 pairs, ten messages a second each.
    pub fn new(urls: Vec<String>) -> Self {
        let interval = Duration::from_millis(100);
        Self { pairs: 50, wandering: 0, interval, burst: 1, urls, tokens: None }
    }

    /// The servers for terminal `i`, another one first for each.
    fn urls_from(&self, i: usize) -> Vec<String> {
        let mut urls = self.urls.clone();
        urls.rotate_left(i % self.urls.len().max(1));
        urls
    }

    fn identity(&self, end: &EndId) -> Identity {
        match &self.tokens {
            Some(Tokens(source)) => Identity::Bearer(source(end)),
            None => Identity::default(),
        }
    }

    fn config(&self, end: EndId, i: usize) -> ClientConfig {
        let mut config = ClientConfig::new(String::new(), end);
        config.identity = self.identity(&config.end);
        config.urls = self.urls_from(i);
        config.backoff_max = Duration::from_millis(500);
        config
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Nothing new is sent; all targets stay.
    Draining,
    Ended,
}

/// A load that runs.
#[derive(Debug)]
pub struct Load {
    begun: Instant,
    streams: Vec<Arc<Stream>>,
    phase: watch::Sender<Phase>,
    senders: JoinSet<anyhow::Result<()>>,
    targets: JoinSet<anyhow::Result<()>>,
}

impl Load {
    /// Connects all terminals, begins to send, and waits until every stream flows.
    ///
    /// # Errors
    /// Not in time.
    pub async fn start(plan: LoadPlan) -> anyhow::Result<Self> {
        let mut load = Self {
            begun: Instant::now(),
            streams: Vec::new(),
            phase: watch::channel(Phase::Running).0,
            senders: JoinSet::new(),
            targets: JoinSet::new(),
        };
        for i in 0..plan.pairs + plan.wandering {
            load.add_pair(&plan, i).await?;
        }
        load.until_flowing(load.now(), PATIENCE).await?;
        Ok(load)
    }

    async fn add_pair(&mut self, plan: &LoadPlan, i: usize) -> anyhow::Result<()> {
        let stays = i < plan.pairs;
        let stream = Arc::new(Stream::new(i, stays, self.begun)?);
        let phase = self.phase.subscribe();
        // The target comes before the sender, and is at another server but for each third pair.
        let at = i + usize::from(!i.is_multiple_of(3));
        if stays && (i.is_multiple_of(2) || plan.tokens.is_some()) {
            let config = plan.config(stream.to.clone(), at);
            self.targets.spawn(target::client(stream.clone(), config, phase.clone()));
        } else {
            let identity = plan.identity(&stream.to);
            let raw = target::Raw::new(stream.clone(), plan.urls_from(at), identity, phase.clone());
            self.targets.spawn(raw.run(!stays));
        }
        let config = plan.config(stream.from.clone(), i);
        self.senders.spawn(sender::run(stream.clone(), config, plan.clone(), phase));
        self.streams.push(stream);
        Ok(())
    }

    /// Time since the load began: what all other times here are measured in.
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn staying(&self) -> impl Iterator<Item = &Arc<Stream>> {
        self.streams.iter().filter(|stream| stream.stays)
    }

    /// The targets that stay.
    pub fn targets(&self) -> Vec<EndId> {
        self.staying().map(|stream| stream.to.clone()).collect()
    }

    /// The servers of the sender and of the target of pair `i`, as last seen.
    ///
    /// # Panics
    /// There are not so many pairs.
    pub fn servers(&self, i: usize) -> (Option<String>, Option<String>) {
        let record = self.streams[i].record();
        (record.sender_at.clone(), record.target_at.clone())
    }

    /// Waits until of every stream whose target stays a message that was sent after `since` was
    /// shown.
    ///
    /// # Errors
    /// Not within `deadline` from now; the text names the streams.
    pub async fn until_flowing(&self, since: Duration, deadline: Duration) -> anyhow::Result<()> {
        let flows = |stream: &Stream| {
            let record = stream.record();
            let last = record.first_shown.last().map(|(number, _)| record.sent[*number].at);
            last.is_some_and(|at| at >= since)
        };
        let all = || std::future::ready(self.staying().all(|stream| flows(stream)));
        eventually(deadline, "every stream flows", all).await.with_context(|| {
            let still = self.staying().filter(|stream| !flows(stream));
            let still: Vec<String> = still.map(|stream| stream.describe()).collect();
            format!("{} streams stand still: {}", still.len(), still.join("; "))
        })
    }

    /// For each stream whose target stays, the longest time without a message shown for the first
    /// time, of those times that `from` to `to` has a part of.
    pub fn pauses(&self, from: Duration, to: Duration) -> Latencies {
        let mut pauses = Latencies::default();
        for stream in self.staying() {
            pauses.push(stream.record().longest_gap(from, to));
        }
        pauses
    }

    /// The longest of the [`Load::pauses`] of these pairs.
    ///
    /// # Panics
    /// There are not so many pairs.
    pub fn longest_pause(&self, pairs: &[usize], from: Duration, to: Duration) -> Duration {
        let gaps = pairs.iter().map(|i| self.streams[*i].record().longest_gap(from, to));
        gaps.max().unwrap_or_default()
    }

    /// The stream with the longest pause between the two, in words.
    pub fn slowest(&self, from: Duration, to: Duration) -> String {
        let longest = self.staying().max_by_key(|stream| stream.record().longest_gap(from, to));
        longest.map(|stream| stream.describe()).unwrap_or_default()
    }

    /// Sessions that clients of the library have lost: each has had so many more than its first.
    pub fn reconnects(&self) -> usize {
        let of = |stream: &Arc<Stream>| {
            let record = stream.record();
            let targets = record.target_sessions.saturating_sub(1);
            record.welcomed.len().saturating_sub(1) + targets
        };
        self.streams.iter().map(of).sum()
    }

    /// Messages without a result that were sent before `before`.
    pub fn open(&self, before: Duration) -> usize {
        let open = |stream: &Arc<Stream>| {
            stream.record().sent.iter().filter(|s| s.at < before && s.result.is_none()).count()
        };
        self.streams.iter().map(open).sum()
    }

    /// Results of what was sent between the two.
    pub fn results(&self, from: Duration, to: Duration) -> Results {
        Results::of(&self.streams, from, to)
    }

    /// The same, for streams whose target stays.
    pub fn staying_results(&self, from: Duration, to: Duration) -> Results {
        Results::of(self.staying(), from, to)
    }

    /// Ends sending and waits for all results and for all that was promised. The targets stay.
    ///
    /// # Errors
    /// A result is missing.
    pub async fn drain(&mut self) -> anyhow::Result<()> {
        self.phase.send_replace(Phase::Draining);
        let senders = async {
            while let Some(ended) = self.senders.join_next().await {
                ended??;
            }
            anyhow::Ok(())
        };
        within(RESULTS, "all results", senders).await??;
        let kept = || std::future::ready(self.streams.iter().all(|s| s.record().missing() == 0));
        // What is missing is named by the check at the end.
        let _ = eventually(PATIENCE, "all that was promised is shown", kept).await;
        Ok(())
    }

    /// Drains, ends all terminals, and checks.
    ///
    /// # Errors
    /// Every promise that was broken.
    pub async fn finish(mut self) -> anyhow::Result<Report> {
        self.drain().await?;
        self.phase.send_replace(Phase::Ended);
        let targets = async {
            while let Some(ended) = self.targets.join_next().await {
                ended??;
            }
            anyhow::Ok(())
        };
        within(PATIENCE, "all targets end", targets).await??;
        let results = self.results(Duration::ZERO, self.now());
        let mut report = Report { results, repeats: 0, unmarked: 0 };
        let mut broken = Vec::new();
        for stream in &self.streams {
            let record = stream.record();
            let (repeats, unmarked) = record.repeats();
            report.repeats += repeats;
            report.unmarked += unmarked;
            broken.extend(check(&record).into_iter().map(|what| format!("{}: {what}", stream.to)));
        }
        let first = broken.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
        ensure!(broken.is_empty(), "{report}\n{} promises broken:\n{first}", broken.len());
        Ok(report)
    }
}
