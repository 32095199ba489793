//! Secrets that are made where the resource names none.

use wardlink_operator_api::LinkMode;

use super::Plan;
use crate::model::Generated;
use crate::names::{self, Tier};
use crate::secrets::{IDENTITY_KEY, LINK_KEY};

/// Random bytes of a secret: 256 bits. As text they are 43 bytes, above the 32 that a key for
/// HS256 needs and the 16 that a link's secret needs.
const RANDOM_BYTES: usize = 32;

/// The Secrets that are to be there. They are never changed, and a Secret that is no longer
/// needed is taken away with what is no longer rendered.
pub(super) fn build(plan: &Plan<'_>) -> Vec<Generated> {
    let spec = &plan.cluster().spec;
    let identity = &spec.business_server.identity;
    let links = &spec.link_authentication;
    let mut generated = Vec::new();
    if identity.keys_secret_ref.is_none() && identity.jwks_url.is_none() {
        generated.push(Generated {
            name: names::identity_secret(plan.name),
            key: IDENTITY_KEY,
            random_bytes: RANDOM_BYTES,
            labels: names::tier_labels(plan.name, Tier::BusinessServer),
        });
    }
    if links.mode == LinkMode::SharedSecret && links.secret_ref.is_none() {
        generated.push(Generated {
            name: names::link_secret(plan.name),
            key: LINK_KEY,
            random_bytes: RANDOM_BYTES,
            labels: names::labels(plan.name),
        });
    }
    generated
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::desired::fixtures::{cluster, render};
    use crate::secrets;

    #[test]
    fn a_secret_is_generated_only_where_none_is_named() {
        let named = json!({"name": "named"});
        let identity = |identity: Value| json!({"businessServer": {"identity": identity}});
        let shared = json!({"linkAuthentication": {"mode": "SharedSecret"}});
        let secret = json!({"linkAuthentication": {"mode": "SharedSecret", "secretRef": named}});
        for (spec, expected) in [
            (json!({}), &["ward-identity"][..]),
            (identity(json!({"keysSecretRef": named})), &[]),
            (identity(json!({"jwksUrl": "https://id.example/keys"})), &[]),
            (shared, &["ward-identity", "ward-link"]),
            (secret, &["ward-identity"]),
        ] {
            let generated = render(&cluster(spec.clone())).generated;
            let names: Vec<&str> = generated.iter().map(|found| found.name.as_str()).collect();
            assert_eq!(names, expected, "{spec}");
        }
    }

    #[test]
    fn what_is_generated_is_what_pods_read_and_long_enough_for_both() {
        let cluster = cluster(json!({"linkAuthentication": {"mode": "SharedSecret"}}));
        let generated = render(&cluster).generated;
        let read = [secrets::identity(&cluster).unwrap(), secrets::link(&cluster).unwrap()];
        for (made, read) in generated.iter().zip(read) {
            assert_eq!(
                (made.name.as_str(), Some(made.key)),
                (read.name.as_str(), read.key.as_deref())
            );
            let text_bytes = (made.random_bytes * 8).div_ceil(6);
            assert!(text_bytes >= 32, "{text_bytes}");
        }
    }
}
