//! A look into the database beside the programs, and a hand to remove what they rely on.

use std::time::SystemTime;

use anyhow::Context;
use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use mongodb::{Client, Collection, Database};
use wardlink_wire::EndId;

/// A message in the mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The sender's id of the message.
    pub id: String,
    /// The sender; `None` for a plain BS.
    pub from: Option<String>,
    /// JSON text of the body.
    pub body: String,
    /// Whether it was handed out before.
    pub redelivered: bool,
    /// When it was accepted.
    pub created_at: SystemTime,
}

/// A row of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The BS that has the end.
    pub server: String,
    /// Its session there.
    pub session: String,
}

/// A connection to a cluster's database.
#[derive(Debug, Clone)]
pub struct Peek {
    database: Database,
}

impl Peek {
    pub(super) async fn open(uri: &str) -> anyhow::Result<Self> {
        let client = Client::with_uri_str(uri).await?;
        let database = client.default_database().context("the URI names no database")?;
        Ok(Self { database })
    }

    /// The collection of waiting messages.
    pub fn mailboxes(&self) -> Collection<Document> {
        self.database.collection("msglists")
    }

    /// The collection of who is where.
    pub fn registry(&self) -> Collection<Document> {
        self.database.collection("wsendmaps")
    }

    /// The collection that holds the view.
    pub fn views(&self) -> Collection<Document> {
        self.database.collection("wsviews")
    }

    /// What waits for an end, oldest first.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn waiting(&self, end: &EndId) -> anyhow::Result<Vec<Waiting>> {
        let filter = doc! { "endIdentifer": end.as_str() };
        let found = self.mailboxes().find(filter).sort(doc! { "stamp": 1 }).await?;
        let documents: Vec<Document> = found.try_collect().await?;
        documents.iter().map(waiting).collect()
    }

    /// How many messages wait for an end.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn waiting_count(&self, end: &EndId) -> anyhow::Result<usize> {
        Ok(self.waiting(end).await?.len())
    }

    /// An end's row.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn row(&self, end: &EndId) -> anyhow::Result<Option<Row>> {
        let found = self.registry().find_one(doc! { "endIdentifer": end.as_str() }).await?;
        found
            .map(|row| {
                Ok(Row { server: text(&row, "serverIdentifer")?, session: text(&row, "session")? })
            })
            .transpose()
    }

    /// Removes an end's row, as nobody of the cluster would.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn delete_row(&self, end: &EndId) -> anyhow::Result<()> {
        self.registry().delete_many(doc! { "endIdentifer": end.as_str() }).await?;
        Ok(())
    }

    /// Number of the view and ids of its members; `None` where there is no document.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn view(&self) -> anyhow::Result<Option<(u64, Vec<String>)>> {
        let Some(view) = self.views().find_one(doc! {}).await? else { return Ok(None) };
        let number = view.get_timestamp("number")?;
        let number = u64::from(number.time) << 32 | u64::from(number.increment);
        Ok(Some((number, view.get_document("members")?.keys().cloned().collect())))
    }

    /// Removes the view, as nobody of the cluster would.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn delete_view(&self) -> anyhow::Result<()> {
        self.views().delete_many(doc! {}).await?;
        Ok(())
    }
}

fn waiting(document: &Document) -> anyhow::Result<Waiting> {
    Ok(Waiting {
        id: text(document, "id")?,
        from: document.get_str("from").ok().map(str::to_owned),
        body: text(document, "messageContent")?,
        redelivered: matches!(document.get("redelivered"), Some(Bson::Boolean(true))),
        created_at: document.get_datetime("createAt")?.to_system_time(),
    })
}

fn text(document: &Document, field: &str) -> anyhow::Result<String> {
    Ok(document.get_str(field).with_context(|| format!("field {field}"))?.to_owned())
}
