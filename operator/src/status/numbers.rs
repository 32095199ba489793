//! The numbers of a tier, and the Secrets that the operator makes.

use wardlink_operator_api::{GeneratedSecrets, ManagementState, MessagingCluster, TierStatus};

use super::tier::wanted;
use crate::model::StatusInputs;
use crate::names::{Tier, selector};
use crate::secrets;

/// The numbers of one tier.
pub(super) fn numbers(inputs: &StatusInputs<'_>, tier: Tier) -> TierStatus {
    let deployment = inputs.tiers.get(tier).deployment.as_ref();
    let status = deployment.and_then(|deployment| deployment.status.clone()).unwrap_or_default();
    let ready = status.ready_replicas.unwrap_or(0);
    let name = inputs.cluster.metadata.name.as_deref().unwrap_or_default();
    let labels = selector(name, tier);
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    TierStatus {
        image: Some(inputs.images.of(tier).to_owned()),
        replicas: status.replicas.unwrap_or(0),
        ready_replicas: ready,
        updated_replicas: status.updated_replicas.unwrap_or(0),
        ready: Some(format!("{ready}/{}", wanted(inputs, tier))),
        selector: Some(labels.join(",")),
    }
}

/// The Secrets that the operator makes for this cluster, named once it may have made them.
pub(super) fn generated_secrets(cluster: &MessagingCluster) -> GeneratedSecrets {
    let before = cluster.status.as_ref().map(|status| status.generated_secrets.clone());
    if cluster.spec.management_state == ManagementState::Paused {
        return before.unwrap_or_default();
    }
    let identity = &cluster.spec.business_server.identity;
    let links = &cluster.spec.link_authentication;
    GeneratedSecrets {
        identity: secrets::identity(cluster).filter(|_| identity.keys_secret_ref.is_none()),
        link: secrets::link(cluster).filter(|_| links.secret_ref.is_none()),
    }
}
