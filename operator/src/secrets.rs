//! The Secrets that a cluster's pods use: the only place where their names and keys are decided.
//!
//! Whoever reads, watches, hashes or mounts one asks here. A key that the resource does not name
//! is filled in, so that two references to the same key of a Secret are equal.

use kube::ResourceExt;
use wardlink_operator_api::{LinkMode, MessagingCluster, SecretKeyRef};

use crate::names;

/// Key of MongoDB's connection string, unless another is named.
const URI_KEY: &str = "uri";
/// Key of the authority of MongoDB's certificate, unless another is named.
const CA_KEY: &str = "ca.crt";
/// Key of what verifies terminals' tokens, unless another is named.
pub const IDENTITY_KEY: &str = "key";
/// Key of the links' shared secret, unless another is named.
pub const LINK_KEY: &str = "secret";

/// MongoDB's connection string. Message Servers read it only at start.
pub fn mongodb_uri(cluster: &MessagingCluster) -> SecretKeyRef {
    with_key(&cluster.spec.storage.mongodb.uri_secret_ref, URI_KEY)
}

/// The authority of MongoDB's certificate, where one is named. Message Servers read it only at
/// start.
pub fn mongodb_ca(cluster: &MessagingCluster) -> Option<SecretKeyRef> {
    let tls = cluster.spec.storage.mongodb.tls.as_ref()?;
    Some(with_key(&tls.ca_secret_ref, CA_KEY))
}

/// What verifies terminals' tokens: the Secret that is named, else the one that is generated.
/// `None`: keys come from a URL. Business Servers read it again when it changes.
pub fn identity(cluster: &MessagingCluster) -> Option<SecretKeyRef> {
    let identity = &cluster.spec.business_server.identity;
    match (&identity.keys_secret_ref, &identity.jwks_url) {
        (Some(named), _) => Some(with_key(named, IDENTITY_KEY)),
        (None, Some(_)) => None,
        (None, None) => Some(generated(names::identity_secret(&cluster.name_any()), IDENTITY_KEY)),
    }
}

/// The links' shared secret: the Secret that is named, else the one that is generated. `None`:
/// pods show tokens of their own. All servers read it again when it changes.
pub fn link(cluster: &MessagingCluster) -> Option<SecretKeyRef> {
    let authentication = &cluster.spec.link_authentication;
    match (authentication.mode, &authentication.secret_ref) {
        (LinkMode::PodIdentity, _) => None,
        (LinkMode::SharedSecret, Some(named)) => Some(with_key(named, LINK_KEY)),
        (LinkMode::SharedSecret, None) => {
            Some(generated(names::link_secret(&cluster.name_any()), LINK_KEY))
        }
    }
}

fn with_key(named: &SecretKeyRef, default: &str) -> SecretKeyRef {
    let key = named.key.clone().unwrap_or_else(|| default.to_owned());
    SecretKeyRef { name: named.name.clone(), key: Some(key) }
}

fn generated(name: String, key: &str) -> SecretKeyRef {
    SecretKeyRef { name, key: Some(key.to_owned()) }
}
