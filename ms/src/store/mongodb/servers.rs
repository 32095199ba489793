//! Which BSs are linked to anybody: `wsservers`, and the servers that rows name.

use ::mongodb::bson::{DateTime, RawArrayBuf, rawdoc};
use rustc_hash::FxHashSet;
use wardlink_wire::ServerId;

use super::MongoStore;
use super::call::first_batch;
use crate::store::{OpTime, Reply, StoreError, StoreResult};

/// Most servers of one command, and most that are looked at: far above any cluster.
const SERVERS_MAX: usize = 10_000;

impl MongoStore {
    pub(super) async fn set_seen(&self, servers: Vec<ServerId>) -> StoreResult<()> {
        let mut time = OpTime::default();
        for chunk in servers.chunks(1_000) {
            let mut statements = RawArrayBuf::new();
            for server in chunk {
                statements.push(rawdoc! {
                    "q": { "_id": server.to_string() },
                    "u": { "$currentDate": { "seenAt": true } },
                    "upsert": true,
                });
            }
            let command = rawdoc! { "update": self.names.servers.as_str(), "ordered": false };
            time = time.max(self.write(command, statements, chunk.len()).await?.all()?.time);
        }
        Ok(Reply { value: (), time })
    }

    pub(super) async fn find_quiet(
        &self,
        quiet_ms: u64,
        limit: usize,
        after: OpTime,
    ) -> StoreResult<Vec<ServerId>> {
        // The clock first: what is touched meanwhile then counts as touched.
        let clock = self.hello().await?.body.get_datetime("localTime").copied();
        let clock = clock.map_err(|_| StoreError::Unknown)?.timestamp_millis();
        let named = self.named_servers(after).await?;
        let cutoff = clock.saturating_sub(i64::try_from(quiet_ms).unwrap_or(i64::MAX));
        let mut ids = RawArrayBuf::new();
        for server in &named.value {
            ids.push(server.to_string());
        }
        let command = rawdoc! {
            "find": self.names.servers.as_str(),
            "filter": { "_id": { "$in": ids }, "seenAt": { "$gt": DateTime::from_millis(cutoff) } },
            "projection": { "_id": 1 },
            "limit": SERVERS_MAX as i64, "batchSize": SERVERS_MAX as i64, "singleBatch": true,
        };
        let done = self.read(command, after.max(named.time)).await?;
        let (seen, _) = first_batch(done.body)?;
        let seen: FxHashSet<ServerId> =
            seen.iter().filter_map(|doc| doc.get_str("_id").ok()?.parse().ok()).collect();
        let quiet = named.value.into_iter().filter(|id| !seen.contains(id)).take(limit);
        Ok(Reply { value: quiet.collect(), time: done.time })
    }

    /// All servers that rows name, by the index alone.
    async fn named_servers(&self, after: OpTime) -> StoreResult<Vec<ServerId>> {
        let command = rawdoc! {
            "aggregate": self.names.registry.as_str(),
            "pipeline": [
                { "$sort": { "serverIdentifer": 1 } },
                { "$group": { "_id": "$serverIdentifer" } },
                { "$limit": SERVERS_MAX as i64 },
            ],
            "cursor": { "batchSize": SERVERS_MAX as i64 },
        };
        let done = self.read(command, after).await?;
        let (named, _) = first_batch(done.body)?;
        let mut named: Vec<ServerId> =
            named.iter().filter_map(|doc| doc.get_str("_id").ok()?.parse().ok()).collect();
        named.sort_unstable();
        Ok(Reply { value: named, time: done.time })
    }
}
