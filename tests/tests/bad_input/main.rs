//! Bad input: what is sent, what comes back, and that an ordinary terminal beside it notices
//! nothing. Tables: each row is one input. The peers are made of bytes ([`wardlink_tests::raw`]).

mod frames;
mod links;
mod ports;
mod terminals;

use wardlink_tests::cluster::{Beside, Cluster, Plan, Store};

/// A cluster, and two ordinary terminals whose sessions last from its beginning to its end.
struct Ward {
    cluster: Cluster,
    beside: Beside,
}

impl Ward {
    async fn open() -> anyhow::Result<Self> {
        let cluster = Cluster::build(Store::Embedded, Plan { bs: 2, ..Plan::default() }).await?;
        let nurse = cluster.terminal_at(0, "H1-A2-nurse").await?;
        let pump = cluster.terminal_at(1, "H1-A2-pump").await?;
        Ok(Self { cluster, beside: Beside::new(nurse, pump).await? })
    }

    async fn unharmed(&mut self, after: &str) -> anyhow::Result<()> {
        self.beside.unharmed(after).await
    }

    async fn close(self) -> anyhow::Result<()> {
        self.cluster.end().await
    }
}
