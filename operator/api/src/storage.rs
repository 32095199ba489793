//! Where the registry and the mailboxes are kept.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Secret of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One key of a Secret of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in it. Each reference has a default of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: Option<String>,
}

/// Where the registry and the mailboxes are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.deletionPolicy != 'DropIndex' || self.indexManagement == 'Operator'").message("deletionPolicy DropIndex needs indexManagement Operator: what is managed by hand is not dropped"))]
pub struct Storage {
    /// The MongoDB that holds them: a replica set, one node is enough.
    pub mongodb: MongoDb,
    /// Life of a stored message in seconds, and the most that a sender may ask for.
    #[serde(default = "ttl")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub message_ttl_seconds: i32,
    /// Who makes the indexes.
    #[serde(default)]
    pub index_management: IndexManagement,
    /// What becomes of the index when the cluster is deleted. Messages and registry always stay
    /// until they expire.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

fn ttl() -> i32 {
    600
}

/// Who makes and repairs the indexes of the collections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum IndexManagement {
    /// The operator.
    #[default]
    Operator,
    /// Somebody else. The Message Servers wait until the indexes are there.
    Manual,
}

/// What becomes of the TTL index when the cluster is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays, so waiting messages expire.
    #[default]
    Retain,
    /// It is dropped, if the database can be reached in time.
    DropIndex,
}

/// A MongoDB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.database == oldSelf.database").message("database is immutable: messages that wait would be left behind"),
    validation = Rule::new("self.collections == oldSelf.collections").message("collections are immutable: messages that wait would be left behind")
)]
pub struct MongoDb {
    /// Secret with the connection string (mongodb:// or mongodb+srv://); key `uri` unless another
    /// is named.
    pub uri_secret_ref: SecretKeyRef,
    /// Name of the database. It can not be changed.
    #[serde(default = "database")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    #[x_kube(validation = Rule::new("!(self in ['admin', 'local', 'config'])").message("admin, local and config belong to MongoDB"))]
    pub database: String,
    /// Names of the collections. They can not be changed.
    #[serde(default)]
    pub collections: Collections,
    /// TLS towards MongoDB, beside what the connection string says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<MongoDbTls>,
}

fn database() -> String {
    "wardlink".to_owned()
}

/// TLS towards MongoDB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MongoDbTls {
    /// Secret with the authority of MongoDB's certificate; key `ca.crt` unless another is named.
    pub ca_secret_ref: SecretKeyRef,
}

/// Names of the collections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.registry != self.mailbox && self.registry != self.servers && self.registry != self.views && self.mailbox != self.servers && self.mailbox != self.views && self.servers != self.views").message("the four collections must have different names"),
    validation = Rule::new("!self.registry.startsWith('system.') && !self.mailbox.startsWith('system.') && !self.servers.startsWith('system.') && !self.views.startsWith('system.')").message("collections whose names begin with system. belong to MongoDB")
)]
pub struct Collections {
    /// Who is where.
    #[serde(default = "registry")]
    #[schemars(length(min = 1, max = 120), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_.-]*$"))]
    pub registry: String,
    /// Messages that wait.
    #[serde(default = "mailbox")]
    #[schemars(length(min = 1, max = 120), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_.-]*$"))]
    pub mailbox: String,
    /// Business Servers that were seen.
    #[serde(default = "servers")]
    #[schemars(length(min = 1, max = 120), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_.-]*$"))]
    pub servers: String,
    /// The document that names the members and owners.
    #[serde(default = "views")]
    #[schemars(length(min = 1, max = 120), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_.-]*$"))]
    pub views: String,
}

fn registry() -> String {
    "wsendmaps".to_owned()
}

fn mailbox() -> String {
    "msglists".to_owned()
}

fn servers() -> String {
    "wsservers".to_owned()
}

fn views() -> String {
    "wsviews".to_owned()
}

impl Default for Collections {
    fn default() -> Self {
        Self { registry: registry(), mailbox: mailbox(), servers: servers(), views: views() }
    }
}
