//! Which document a key names, in each form it may have, and deletes by key.

use ::mongodb::bson::{Bson, RawArrayBuf, RawDocumentBuf, oid::ObjectId, rawdoc};
use wardlink_wire::EndId;
use xxhash_rust::xxh3::xxh3_128;

use super::MongoStore;
use super::call::first_batch;
use crate::store::layout::doc_id;
use crate::store::{DocKey, OpTime, Reply, StoreError, StoreResult};

/// Most keys of one command: an `_id` is below 400 bytes.
const KEYS_MAX: usize = 1_000;
/// Begins the id of a document whose `_id` cannot be written as one; a hash follows.
const HASHED: &str = "legacy:";
/// Most documents of one mailbox that are looked at for such an `_id`. Above its bound.
const LOOK_MAX: i64 = 20_000;

/// An id for an `_id` that is none: too long, or of another type than text and `ObjectId`.
pub(super) fn hashed(id: &Bson) -> String {
    let bytes = ::mongodb::bson::serialize_to_vec(&::mongodb::bson::doc! { "_id": id.clone() });
    format!("{HASHED}{:032x}", xxh3_128(&bytes.unwrap_or_default()))
}

/// Finds the document that `key` names.
pub(super) fn id_filter(end: &EndId, key: &DocKey) -> RawDocumentBuf {
    let ours = doc_id(end, key);
    if key.from.is_some() {
        return rawdoc! { "_id": ours };
    }
    let mut forms = RawArrayBuf::new();
    forms.push(ours);
    forms.push(key.id.as_str());
    if let Ok(id) = ObjectId::parse_str(key.id.as_str()) {
        forms.push(id);
    }
    rawdoc! { "_id": { "$in": forms }, "endIdentifer": end.as_str() }
}

impl MongoStore {
    pub(super) async fn remove_documents(&self, keys: Vec<(EndId, DocKey)>) -> StoreResult<()> {
        let mut time = OpTime::default();
        for chunk in keys.chunks(KEYS_MAX) {
            let mut ids = RawArrayBuf::new();
            let mut statements = RawArrayBuf::new();
            let mut count = 0;
            for (end, key) in chunk {
                if key.from.is_some() {
                    ids.push(doc_id(end, key));
                    continue;
                }
                statements.push(rawdoc! { "q": id_filter(end, key), "limit": 0 });
                count += 1;
                if key.id.as_str().starts_with(HASHED) {
                    for id in self.unhash(end, key).await? {
                        let id = RawDocumentBuf::try_from(&::mongodb::bson::doc! { "_id": id })
                            .map_err(|_| StoreError::NotDone)?;
                        statements.push(rawdoc! { "q": id, "limit": 1 });
                        count += 1;
                    }
                }
            }
            if !ids.is_empty() {
                // One statement with many ids costs far less than one for each.
                statements.push(rawdoc! { "q": { "_id": { "$in": ids } }, "limit": 0 });
                count += 1;
            }
            let command = rawdoc! { "delete": self.names.mailbox.as_str(), "ordered": false };
            // Gone half-way is no harm: the same keys are deleted again.
            time = time.max(self.write(command, statements, count).await?.all()?.time);
        }
        Ok(Reply { value: (), time })
    }

    /// The `_id`s in this mailbox that were given as this hash.
    async fn unhash(&self, end: &EndId, key: &DocKey) -> Result<Vec<Bson>, StoreError> {
        let command = rawdoc! {
            "find": self.names.mailbox.as_str(),
            "filter": { "endIdentifer": end.as_str() }, "projection": { "_id": 1 },
            "limit": LOOK_MAX, "batchSize": LOOK_MAX, "singleBatch": true,
        };
        let done = self.read(command, OpTime(0)).await?;
        let ids = first_batch(done.body)?.0.into_iter().filter_map(|mut doc| doc.remove("_id"));
        Ok(ids.filter(|id| hashed(id) == key.id.as_str()).collect())
    }
}
