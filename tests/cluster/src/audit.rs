//! What the API server was asked, by whom, and what it answered.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::Context;
use bytes::Bytes;
use kube::Client;
use serde::Deserialize;

use crate::wait::{PATIENCE, eventually};

/// The audit log of an API server.
#[derive(Clone)]
pub struct Audit {
    client: Client,
    path: PathBuf,
}

/// A place in the log: all that was answered before is before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// One request that was answered. Of a watch there are two: its beginning and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Such as `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// The program, as it calls itself.
    pub user_agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Empty for the core group, and for what is no resource.
    pub group: String,
    /// Plural; empty for what is no resource.
    pub resource: String,
    /// Such as `status`; else empty.
    pub subresource: String,
    /// Empty where there is none.
    pub namespace: String,
    /// Empty where there is none.
    pub name: String,
    /// Path and query.
    pub uri: String,
    /// Status of the answer.
    pub code: u16,
    /// When the request came, by the API server's clock.
    pub received: String,
}

impl Entry {
    /// Whether it changes something, had it been allowed.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch" | "head" | "options")
    }

    /// `RESOURCE.GROUP/SUBRESOURCE`, as rules of RBAC name it, without what is empty.
    pub fn what(&self) -> String {
        let mut text = self.resource.clone();
        for (before, part) in [('.', &self.group), ('/', &self.subresource)] {
            if !part.is_empty() {
                text.push(before);
                text.push_str(part);
            }
        }
        text
    }
}

impl Audit {
    pub(crate) fn new(client: Client, path: PathBuf) -> Self {
        Self { client, path }
    }

    /// Marks the place where the log is now: asks the API server something that nobody else asks
    /// and waits for it in the log.
    ///
    /// # Errors
    /// It does not appear.
    pub async fn mark(&self) -> anyhow::Result<Mark> {
        Ok(Mark(self.write_mark().await?.1))
    }

    /// All that was answered since the API server started, by anybody.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn all(&self) -> anyhow::Result<Vec<Entry>> {
        let text = self.read(0, None)?;
        // The last line may not be whole yet.
        let whole = text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(entry).collect()
    }

    /// All that was answered since the mark, by anybody.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn since(&self, mark: Mark) -> anyhow::Result<Vec<Entry>> {
        let (end, _) = self.write_mark().await?;
        let text = self.read(mark.0, Some(end))?;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(entry).collect()
    }

    /// All that one user was answered since the mark.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn of(&self, user: &str, since: Mark) -> anyhow::Result<Vec<Entry>> {
        let mut entries = self.since(since).await?;
        entries.retain(|entry| entry.user == user);
        Ok(entries)
    }

    /// Where the line of a new mark begins and ends.
    async fn write_mark(&self) -> anyhow::Result<(u64, u64)> {
        let from = std::fs::metadata(&self.path).with_context(|| self.reading())?.len();
        let mark = format!("/version?mark={}", uuid::Uuid::new_v4());
        let request = hyper::http::Request::get(&mark).body(Vec::new())?;
        self.client.request_text(request).await?;
        eventually(PATIENCE, "the mark is in the audit log", async || {
            let text = self.read(from, None)?;
            let mut begin = 0;
            while let Some(length) = text[begin..].iter().position(|byte| *byte == b'\n') {
                let end = begin + length + 1;
                if contains(&text[begin..end], mark.as_bytes()) {
                    return Ok(Some((from + begin as u64, from + end as u64)));
                }
                begin = end;
            }
            Ok(None)
        })
        .await
    }

    fn read(&self, from: u64, to: Option<u64>) -> anyhow::Result<Bytes> {
        let mut file = std::fs::File::open(&self.path).with_context(|| self.reading())?;
        file.seek(SeekFrom::Start(from))?;
        let mut text = Vec::new();
        file.take(to.map_or(u64::MAX, |to| to - from)).read_to_end(&mut text)?;
        Ok(text.into())
    }

    fn reading(&self) -> String {
        format!("reading the audit log {}", self.path.display())
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn entry(line: &[u8]) -> anyhow::Result<Entry> {
    let event: Event = serde_json::from_slice(line).context("a line of the audit log")?;
    Ok(Entry {
        user: event.user.username,
        user_agent: event.user_agent,
        verb: event.verb,
        group: event.object.api_group,
        resource: event.object.resource,
        subresource: event.object.subresource,
        namespace: event.object.namespace,
        name: event.object.name,
        uri: event.uri,
        code: event.response.code,
        received: event.received,
    })
}

/// `audit.k8s.io/v1`, as far as it is used here.
#[derive(Deserialize)]
struct Event {
    user: User,
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    #[serde(default, rename = "userAgent")]
    user_agent: String,
    #[serde(rename = "requestReceivedTimestamp")]
    received: String,
    #[serde(default, rename = "objectRef")]
    object: Object,
    #[serde(default, rename = "responseStatus")]
    response: Response,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Object {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Response {
    code: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_becomes_an_entry() {
        let line = br#"{"kind":"Event","level":"Metadata","stage":"ResponseComplete",
            "requestURI":"/apis/apps/v1/namespaces/n/deployments/d/status?fieldManager=x","verb":"patch",
            "user":{"username":"system:serviceaccount:n:op"},"userAgent":"op/1","responseStatus":{"code":200},
            "objectRef":{"resource":"deployments","namespace":"n","name":"d","apiGroup":"apps","subresource":"status"},
            "requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z"}"#;
        let entry = entry(line).unwrap();
        assert_eq!(entry.what(), "deployments.apps/status");
        assert_eq!((entry.code, entry.is_write()), (200, true));
        assert_eq!(entry.user, "system:serviceaccount:n:op");
    }

    #[test]
    fn what_is_no_resource_has_no_object() {
        let line = br#"{"requestURI":"/version","verb":"get","user":{"username":"admin"},
            "requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z"}"#;
        let entry = entry(line).unwrap();
        assert_eq!((entry.what().as_str(), entry.is_write()), ("", false));
    }
}
