//! `make demo`: a hospital in small, with real processes that are killed while messages flow.
//!
//! Two MSs, two BSs and a database, each a process of its own. Prints what it does and what came
//! of it, ends by itself, and its exit code says whether all was as promised.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use wardlink_client::{AckMode, Status};
use wardlink_tests::cluster::{
    Cluster, Flow, Latencies, PATIENCE, Process, Store, Tally, Terminal, eventually, within,
};
use wardlink_tests::database::Database;
use wardlink_wire::{EndId, Outcome};

/// Messages of the first act, one after the other.
const CALLS: usize = 200;
/// Messages for somebody who is away.
const WAITING: usize = 10;
/// Messages that flow while a server is killed.
const FLOWING: usize = 300;
/// The server is killed after so many of them.
const KILL_AT: usize = 100;
/// The sender is so far ahead of what has arrived at most.
const AHEAD: usize = 16;

#[tokio::main]
async fn main() -> ExitCode {
    match Demo::run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nNot as promised: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What all acts have in common.
struct Demo {
    cluster: Cluster,
    nurse: Terminal,
    act: usize,
    total: Tally,
}

impl Demo {
    async fn run() -> anyhow::Result<()> {
        println!("Wardlink: two MSs, two BSs and a database, each a process of its own.");
        println!("They start; 10 s after the last change the MSs share out the partitions evenly.");
        let begun = Instant::now();
        let database = Database::start().await?;
        let cluster = Cluster::start(Store::Mongo(&database), 2, 2).await?;
        cluster.until_spread().await?;
        let nurse = cluster.terminal_at(0, "H1-A2-nurse").await?;
        let mut demo = Self { cluster, nurse, act: 0, total: Tally::default() };
        demo.title("The cluster stands");
        demo.show_cluster(begun).await?;
        demo.across_servers().await?;
        demo.away().await?;
        demo.seen_once().await?;
        demo.bs_killed().await?;
        demo.ms_killed().await?;
        demo.end(begun).await
    }

    fn title(&mut self, text: &str) {
        self.act += 1;
        println!("\n{}. {text}", self.act);
    }

    async fn show_cluster(&self, begun: Instant) -> anyhow::Result<()> {
        let servers =
            [self.cluster.ms(0), self.cluster.ms(1), self.cluster.bs(0), self.cluster.bs(1)];
        for server in servers {
            let pid = server.pid().context("it does not run")?;
            let owns = match owned(server).await {
                Some(count) => format!(", owns {count} of 256 partitions"),
                None => String::new(),
            };
            say(format!("{} is process {pid} on port {}{owns}", server.name(), server.port()));
        }
        say(format!("started and evened out in {:.1?}", begun.elapsed()));
        Ok(())
    }

    /// A message from a terminal of one BS to a terminal of the other.
    async fn across_servers(&mut self) -> anyhow::Result<()> {
        self.title("A nurse at bs0 calls a pump at bs1");
        let mut pump = self.cluster.terminal_at(1, "H1-A2-pump").await?;
        let mut times = Latencies::default();
        for i in 0..CALLS {
            times.push(self.nurse.deliver(&mut pump, &format!("call {i}")).await?);
        }
        self.total.delivered += CALLS;
        say(format!("{times}, from send to `delivered`"));
        done("delivered: each was acknowledged by the pump's terminal");
        pump.close().await;
        Ok(())
    }

    /// Messages for who is away are in the database, and come on arrival.
    async fn away(&mut self) -> anyhow::Result<()> {
        self.title("A doctor is away");
        let peek = self.cluster.peek().await?;
        let doctor: EndId = "H1-A2-doctor".parse()?;
        for i in 0..WAITING {
            self.nurse.send_and_expect(&doctor, &format!("note {i}"), Outcome::Stored).await?;
        }
        let waiting = peek.waiting_count(&doctor).await?;
        ensure!(waiting == WAITING, "{waiting} messages are in the mailbox");
        self.total.stored += WAITING;
        done(&format!("stored: {waiting} messages are in the doctor's mailbox in the database"));
        let begun = Instant::now();
        let mut terminal = self.cluster.terminal_at(1, doctor.as_str()).await?;
        for i in 0..WAITING {
            let message = terminal.next().await?;
            message.ack();
            ensure!(
                message.body_text() == format!("\"note {i}\""),
                "note {i} was due: {message:?}"
            );
        }
        say(format!("the doctor connects and has all, in order, after {:.1?}", begun.elapsed()));
        until_empty(&self.cluster, &doctor).await?;
        done("delivered on arrival: the mailbox is empty");
        terminal.close().await;
        Ok(())
    }

    /// A message that was handed out twice is shown once.
    async fn seen_once(&mut self) -> anyhow::Result<()> {
        self.title("A phone gets a message and its BS is killed before the acknowledgement");
        let mut config = self.cluster.config("H1-A2-phone")?;
        config.urls.reverse();
        config.ack = AckMode::Manual;
        let mut phone = Terminal::connect(config).await?;
        ensure!(phone.server().await? == self.cluster.bs(1).terminal_url(), "it is at bs1");
        let sending = self.nurse.send(phone.end(), "once").await?;
        let message = phone.next().await?;
        self.cluster.bs_mut(1).kill();
        let begun = Instant::now();
        say("bs1 is killed (SIGKILL)");
        let result = within(PATIENCE, "the result", sending).await?;
        ensure!(result.outcome == Outcome::Stored, "{result:?}");
        let waiting = self.cluster.peek().await?.waiting(phone.end()).await?;
        ensure!(waiting.len() == 1 && waiting[0].redelivered, "in the mailbox: {waiting:?}");
        done("stored: the message went back to the mailbox, marked redelivered");
        until_at(&self.cluster, &phone, 0).await?;
        let took = begun.elapsed();
        say(format!("the phone's client is connected again, to bs0, after {took:.1?} at most"));
        message.ack();
        until_empty(&self.cluster, phone.end()).await?;
        self.nurse.deliver(&mut phone, "after").await?;
        self.total.stored += 1;
        self.total.delivered += 1;
        done("seen once: it was handed out again, acknowledged, and not shown a second time");
        phone.close().await;
        self.cluster.bs_mut(1).start().await?;
        say("bs1 is started again");
        Ok(())
    }

    /// A BS dies under its terminals.
    async fn bs_killed(&mut self) -> anyhow::Result<()> {
        self.title("A BS is killed while messages flow through it");
        let mut config = self.cluster.config("H1-A2-monitor")?;
        config.urls.reverse();
        let mut monitor = Terminal::connect(config).await?;
        let mut flow = self.flow_to(&monitor);
        let mut killed = None;
        let mut back = None;
        while !flow.arrived() {
            if flow.due() == KILL_AT && killed.is_none() {
                self.cluster.bs_mut(1).kill();
                killed = Some(Instant::now());
                say(format!("bs1 is killed (SIGKILL) after message {KILL_AT} of {FLOWING}"));
            }
            flow.take(&monitor.next().await?)?;
            if let Some(killed) = killed.filter(|_| back.is_none())
                && let Status::Connected { url, .. } = &*monitor.client().status().borrow()
                && self.cluster.bs_at(url) == Some(0)
            {
                back = Some(killed.elapsed());
            }
        }
        let back = back.context("the monitor stayed at bs1")?;
        say(format!("the monitor's client went to bs0 by itself; messages came after {back:.1?}"));
        self.account(flow).await?;
        monitor.close().await;
        self.cluster.bs_mut(1).start().await?;
        say("bs1 is started again");
        Ok(())
    }

    /// The owner of the target's partition dies.
    async fn ms_killed(&mut self) -> anyhow::Result<()> {
        self.title("An MS is killed while messages flow through it");
        let mut monitor = self.cluster.terminal_at(1, "H1-A2-monitor2").await?;
        let end = monitor.end().clone();
        let owner = self.cluster.owner_of(&end).await.context("nobody owns the monitor")?;
        let heir = 1 - owner;
        let before = number(self.cluster.ms(heir)).await?;
        let mut flow = self.flow_to(&monitor);
        let mut longest = Duration::ZERO;
        let mut killed = false;
        while !flow.arrived() {
            if flow.due() == KILL_AT && !killed {
                self.cluster.ms_mut(owner).kill();
                killed = true;
                let text = format!("ms{owner}, which owns the monitor's partition, is killed");
                say(format!("{text} (SIGKILL) after message {KILL_AT} of {FLOWING}"));
            }
            let begun = Instant::now();
            flow.take(&monitor.next().await?)?;
            longest = longest.max(begun.elapsed());
        }
        let after = number(self.cluster.ms(heir)).await?;
        ensure!(before != after, "the view did not change");
        let owns = owned(self.cluster.ms(heir)).await.unwrap_or_default();
        say(format!("the view moved from {before} to {after}: ms{heir} owns {owns} of 256"));
        say(format!("the longest silence for the monitor was {longest:.1?}"));
        self.account(flow).await?;
        self.cluster.ms_mut(owner).start().await?;
        say(format!("ms{owner} is started again"));
        monitor.close().await;
        Ok(())
    }

    async fn end(mut self, begun: Instant) -> anyhow::Result<()> {
        self.title("The end");
        let Tally { delivered, stored, marked } = self.total;
        say(format!(
            "{} messages sent: {delivered} delivered, {stored} stored",
            delivered + stored
        ));
        say("none rejected, none unknown, none lost, none out of order, none shown twice");
        say(format!("{marked} came marked redelivered: handed out before, and first shown then"));
        self.nurse.close().await;
        self.cluster.end().await?;
        done(&format!("all processes stopped when told to; {:.0?} in all", begun.elapsed()));
        Ok(())
    }

    fn flow_to(&self, target: &Terminal) -> Flow {
        Flow::begin(self.nurse.client().clone(), target.end().clone(), FLOWING, AHEAD)
    }

    async fn account(&mut self, flow: Flow) -> anyhow::Result<()> {
        let tally = flow.finish().await?;
        self.total.delivered += tally.delivered;
        self.total.stored += tally.stored;
        self.total.marked += tally.marked;
        done(&format!("{FLOWING} sent, {FLOWING} seen, each once and in order: {tally}"));
        Ok(())
    }
}

fn say(text: impl AsRef<str>) {
    println!("     {}", text.as_ref());
}

fn done(text: &str) {
    println!("   + {text}");
}

/// Partitions that an MS owns, by its own view.
async fn owned(ms: &Process) -> Option<usize> {
    let view = ms.view().await?;
    let partitions = view["partitions"].as_array()?;
    Some(partitions.iter().filter(|partition| partition["owner"] == view["me"]).count())
}

/// The number of the view that an MS knows.
async fn number(ms: &Process) -> anyhow::Result<String> {
    let view = ms.view().await.context("the MS does not say its view")?;
    Ok(view["number"].as_str().context("a view without a number")?.to_owned())
}

/// Waits until a terminal is connected to this BS.
async fn until_at(cluster: &Cluster, terminal: &Terminal, bs: usize) -> anyhow::Result<()> {
    let wanted = cluster.bs(bs).terminal_url();
    let mut status = terminal.client().status();
    let there =
        |status: &Status| matches!(status, Status::Connected { url, .. } if **url == *wanted);
    within(PATIENCE, "the client connects again", status.wait_for(there)).await??;
    Ok(())
}

async fn until_empty(cluster: &Cluster, end: &EndId) -> anyhow::Result<()> {
    let peek = cluster.peek().await?;
    let empty = || async { matches!(peek.waiting_count(end).await, Ok(0)) };
    eventually(PATIENCE, "the mailbox becomes empty", empty).await
}
