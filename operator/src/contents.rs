//! What is in the Secrets that a cluster names.
//!
//! Of all Secrets only the metadata is watched; the content of one that a cluster names is read
//! when its metadata shows that it is another one than before. Content is in no log and no
//! `Debug`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use serde_json::Value;
use wardlink_operator_api::{MessagingCluster, SecretKeyRef};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::model::{ClusterKey, Problem};
use crate::observe::World;
use crate::secrets;

/// Where a resource names Secrets.
const POINTERS: [&str; 6] = [
    "/spec/storage/mongodb/uriSecretRef/name",
    "/spec/storage/mongodb/tls/caSecretRef/name",
    "/spec/businessServer/identity/keysSecretRef/name",
    "/spec/linkAuthentication/secretRef/name",
    "/spec/tls/terminals/secretName",
    "/spec/tls/links/secretName",
];

/// Names of all Secrets that a resource names, whether or not it can be read as a cluster.
pub fn names(resource: &Value) -> impl Iterator<Item = &str> {
    POINTERS.iter().filter_map(|pointer| resource.pointer(pointer)?.as_str())
}

/// A key of a Secret that pods cannot do without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// The Secret.
    pub secret: String,
    /// The key in it.
    pub key: String,
    /// What it is for.
    pub purpose: &'static str,
}

/// What pods mount, beside what the storage part reports on: that is not asked for here.
pub fn needed(cluster: &MessagingCluster) -> Vec<Needed> {
    let spec = &cluster.spec;
    let mut needed = Vec::new();
    let mut need = |secret: &str, key: &str, purpose| {
        needed.push(Needed { secret: secret.to_owned(), key: key.to_owned(), purpose });
    };
    if spec.business_server.identity.keys_secret_ref.is_some()
        && let Some(SecretKeyRef { name, key: Some(key) }) = secrets::identity(cluster)
    {
        need(&name, &key, "keys of terminals' tokens");
    }
    if spec.link_authentication.secret_ref.is_some()
        && let Some(SecretKeyRef { name, key: Some(key) }) = secrets::link(cluster)
    {
        need(&name, &key, "secret of the links");
    }
    for key in ["tls.crt", "tls.key"] {
        if let Some(tls) = &spec.tls.terminals {
            need(&tls.secret_name, key, "TLS for terminals");
        }
    }
    for key in ["tls.crt", "tls.key", "ca.crt"] {
        if let Some(tls) = &spec.tls.links {
            need(&tls.secret_name, key, "TLS for links");
        }
    }
    needed
}

/// What one Secret holds.
struct Content {
    /// Its uid and resource version when it was read.
    version: (String, String),
    data: BTreeMap<String, Vec<u8>>,
}

/// Contents of the Secrets that one cluster names, at most six.
#[derive(Default)]
pub struct Contents(HashMap<String, Content>);

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Contents {
    /// Reads what changed and drops what is not named any more. Where a Secret cannot be read
    /// what was read before stays.
    ///
    /// # Errors
    /// The first Secret that could not be read.
    pub async fn refresh(
        &mut self,
        client: &Client,
        world: &World,
        key: &ClusterKey,
        resource: &Value,
    ) -> Result<(), Problem> {
        let named: Vec<&str> = names(resource).collect();
        self.0.retain(|name, _| named.contains(&name.as_str()));
        let mut result = Ok(());
        for name in named {
            let Some(meta) = world.secret(&key.namespace, name) else {
                self.0.remove(name);
                continue;
            };
            let version = (
                meta.metadata.uid.clone().unwrap_or_default(),
                meta.metadata.resource_version.clone().unwrap_or_default(),
            );
            if self.0.get(name).is_some_and(|content| content.version == version) {
                continue;
            }
            let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
            match secrets.get_opt(name).await {
                Ok(Some(secret)) => {
                    let data = secret.data.unwrap_or_default();
                    let data = data.into_iter().map(|(key, value)| (key, value.0)).collect();
                    self.0.insert(name.to_owned(), Content { version, data });
                }
                Ok(None) => {
                    self.0.remove(name);
                }
                Err(error) => {
                    let message = format!("Secret {name} cannot be read: {error}");
                    result = result.and(Err(Problem::Unavailable { message }));
                }
            }
        }
        result
    }

    /// The content of one key.
    pub fn value(&self, secret: &str, key: &str) -> Option<Vec<u8>> {
        self.0.get(secret)?.data.get(key).cloned()
    }

    /// A hash of the content of each of these keys, where it is there.
    ///
    /// It stands in a pod template, where many may read it, and passwords are guessed: so the hash
    /// begins with the Secret's uid, which is random and known only to those who may read the
    /// Secret. A Secret that is made anew has another hash, whatever is in it. Of 32 bits one
    /// change in four thousand million goes unnoticed.
    pub fn hashes(
        &self,
        references: impl IntoIterator<Item = SecretKeyRef>,
    ) -> BTreeMap<SecretKeyRef, String> {
        let hash = |reference: SecretKeyRef| {
            let content = self.0.get(&reference.name)?;
            let value = content.data.get(reference.key.as_deref()?)?;
            let (uid, _) = &content.version;
            let short = xxh3_64_with_seed(value, xxh3_64(uid.as_bytes())) >> 32;
            Some((reference, format!("{short:08x}")))
        };
        references.into_iter().filter_map(hash).collect()
    }

    /// What is needed and not there.
    pub fn missing(&self, cluster: &MessagingCluster) -> Vec<Problem> {
        let there = |needed: &Needed| {
            self.0.get(&needed.secret).is_some_and(|content| content.data.contains_key(&needed.key))
        };
        let missing = needed(cluster).into_iter().filter(|needed| !there(needed));
        missing
            .map(|Needed { secret, key, purpose }| Problem::SecretNotFound {
                secret: format!("{secret}, key {key}"),
                purpose,
            })
            .collect()
    }
}
