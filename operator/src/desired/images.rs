//! Which images the pods run.

use wardlink_operator_api::{MessagingCluster, TierStatus};

use crate::model::Images;
use crate::names::Tier;

/// The images of both tiers: what the resource names, else what its status has recorded, else the
/// operator's defaults. So a newer operator with other defaults changes no cluster that it has
/// seen before.
pub fn images(cluster: &MessagingCluster, defaults: &Images) -> Images {
    let of = |tier: Tier, status: Option<&TierStatus>| {
        let named = tier.spec(cluster).image.as_deref();
        let recorded = status.and_then(|status| status.image.as_deref());
        named.or(recorded).unwrap_or(defaults.of(tier)).to_owned()
    };
    let status = cluster.status.as_ref();
    Images {
        message_server: of(Tier::MessageServer, status.map(|status| &status.message_server)),
        business_server: of(Tier::BusinessServer, status.map(|status| &status.business_server)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::desired::fixtures::{cluster, images as defaults};

    #[test]
    fn the_resource_comes_before_the_status_and_the_status_before_the_default() {
        let mut cluster = cluster(json!({}));
        assert_eq!(images(&cluster, &defaults("old")), defaults("old"));

        let status = cluster.status.get_or_insert_default();
        status.message_server.image = Some("recorded".to_owned());
        let found = images(&cluster, &defaults("new"));
        assert_eq!(found.message_server, "recorded");
        assert_eq!(found.business_server, defaults("new").business_server);

        cluster.spec.message_server.tier.image = Some("named".to_owned());
        assert_eq!(images(&cluster, &defaults("new")).message_server, "named");
    }
}
