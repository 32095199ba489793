//! A MongoDB that pods reach.

use std::net::IpAddr;

use anyhow::Context;
use wardlink_tests::database::Database;

/// The database of one test: a server of MongoDB's wire protocol on this machine, at the address
/// where the lab's pods find it; for another cluster what `WARDLINK_TEST_MONGODB` says.
pub(crate) enum Mongo {
    /// On this machine.
    Here(Database),
    /// Somewhere else: a URI without a database.
    There(String),
}

impl Mongo {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        if let Ok(uri) = std::env::var("WARDLINK_TEST_MONGODB") {
            return Ok(Self::There(uri.trim_end_matches('/').to_owned()));
        }
        let host = std::env::var("WARDLINK_LAB_HOST_IP").context(
            "set WARDLINK_TEST_MONGODB to the URI of a MongoDB replica set that this cluster's pods reach",
        )?;
        let host: IpAddr = host.parse().context("WARDLINK_LAB_HOST_IP")?;
        Ok(Self::Here(Database::start_at(host).await?))
    }

    /// The URI of the database `name` in it.
    pub(crate) fn uri(&self, name: &str) -> String {
        match self {
            Self::Here(database) => database.uri(name),
            Self::There(uri) => format!("{uri}/{name}"),
        }
    }
}
