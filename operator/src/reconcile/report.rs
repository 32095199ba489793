//! What is reported: the status, its events, and what was seen that they are made of.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use wardlink_operator_api::{ConditionType, MessagingCluster, MessagingClusterStatus};

use super::Run;
use crate::apply::words;
use crate::metrics::State;
use crate::model::{
    ChildKind, ClusterKey, Images, Problem, StatusInputs, StorageReport, StorageState,
    TierObserved, Tiers,
};
use crate::names::{FIELD_MANAGER, Tier};
use crate::observe::{World, cluster_resource};
use crate::status::{self, EventNote};

/// What is seen of both tiers.
pub(super) fn tiers(world: &World, key: &ClusterKey) -> Tiers<TierObserved> {
    let pods = world.pods_of(key);
    let of = |tier: Tier| {
        let name = tier.child_name(&key.name);
        let is_of = |pod: &&Arc<k8s_openapi::api::core::v1::Pod>| {
            let labels = pod.metadata.labels.as_ref();
            let component = labels.and_then(|labels| labels.get("app.kubernetes.io/component"));
            component.is_some_and(|component| component == tier.as_str())
        };
        let mut pods: Vec<_> = pods.iter().filter(is_of).map(|pod| (**pod).clone()).collect();
        pods.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        TierObserved {
            deployment: typed::<Deployment>(world.child(ChildKind::Deployment, key, &name)),
            autoscaler: typed::<HorizontalPodAutoscaler>(world.child(
                ChildKind::HorizontalPodAutoscaler,
                key,
                &name,
            )),
            pods,
        }
    };
    Tiers { message_server: of(Tier::MessageServer), business_server: of(Tier::BusinessServer) }
}

/// A built-in kind from its JSON.
fn typed<K: DeserializeOwned>(object: Option<Arc<DynamicObject>>) -> Option<K> {
    serde_json::from_value(serde_json::to_value(object?.as_ref()).ok()?).ok()
}

/// Wanted pods of each Deployment, where it is there.
pub(super) fn replicas_now(tiers: &Tiers<TierObserved>) -> Tiers<Option<i32>> {
    let of = |tier: &TierObserved| tier.deployment.as_ref()?.spec.as_ref()?.replicas;
    Tiers { message_server: of(&tiers.message_server), business_server: of(&tiers.business_server) }
}

/// Whether the status is left as it is for the few seconds until the database has been looked at:
/// an operator that was started anew must not report that it does not know what was known.
pub(super) fn waits_for_storage(cluster: &MessagingCluster, storage: &StorageReport) -> bool {
    let status = cluster.status.as_ref();
    let known = status.into_iter().flat_map(|status| &status.conditions).any(|condition| {
        condition.type_ == ConditionType::StorageReady.as_str()
            && condition.reason != status::Reason::NotChecked.as_str()
            && condition.observed_generation == cluster.metadata.generation
    });
    known && storage.state == StorageState::Unknown
}

impl Run<'_> {
    pub(super) fn status(
        &self,
        cluster: &MessagingCluster,
        images: &Images,
        tiers: &Tiers<TierObserved>,
        storage: &StorageReport,
        problems: &[Problem],
        wrote: bool,
    ) -> MessagingClusterStatus {
        status::status(&StatusInputs {
            cluster,
            images,
            tiers,
            storage,
            server_message_ttl_seconds: storage.server_message_ttl_seconds,
            problems,
            wrote,
            now: Timestamp::now(),
        })
    }

    /// Records the images that were resolved before anything runs them, so that whatever happens
    /// in between they stay.
    pub(super) async fn record_images(
        &mut self,
        cluster: &mut MessagingCluster,
        images: &Images,
        tiers: &Tiers<TierObserved>,
        storage: &StorageReport,
    ) -> bool {
        let recorded = cluster.status.as_ref().is_some_and(|status| {
            status.message_server.image.is_some() && status.business_server.image.is_some()
        });
        if recorded {
            return false;
        }
        let status = self.status(cluster, images, tiers, storage, &[], true);
        // Where it fails the reconcile goes on: the next one records them.
        self.write_status(cluster, status).await.unwrap_or_default()
    }

    /// Writes the status where it differs, and tells the events of the change. Returns whether it
    /// did.
    pub(super) async fn write_status(
        &mut self,
        cluster: &mut MessagingCluster,
        status: MessagingClusterStatus,
    ) -> Result<bool, Problem> {
        let before = cluster.status.take();
        let metrics = &self.context.metrics;
        metrics.cluster(self.key, Some(state(&status)));
        if before.as_ref() == Some(&status) {
            cluster.status = before;
            return Ok(false);
        }
        let resource = cluster_resource();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.context.client.clone(), &self.key.namespace, &resource);
        let intent = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": self.key.name, "uid": self.memory.uid},
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let written = api.patch_status(&self.key.name, &params, &Patch::Apply(&intent)).await;
        metrics.status_written(written.is_ok());
        match written {
            Ok(answer) => {
                let notes = status::events(before.as_ref(), &status);
                cluster.status = Some(status);
                self.remember(cluster, answer.metadata);
                self.tell(cluster, notes).await;
                Ok(true)
            }
            Err(error) => {
                cluster.status = before;
                let message = format!("status: {}", words(&error));
                Err(Problem::Unavailable { message })
            }
        }
    }

    pub(super) async fn tell(&self, cluster: &MessagingCluster, notes: Vec<EventNote>) {
        for note in notes {
            let event = Event {
                type_: match note.event_type {
                    status::EventType::Normal => EventType::Normal,
                    status::EventType::Warning => EventType::Warning,
                },
                reason: note.reason.to_owned(),
                note: Some(note.note),
                action: "Reconcile".to_owned(),
                secondary: None,
            };
            let about = cluster.object_ref(&());
            if let Err(error) = self.context.recorder.publish(&event, &about).await {
                // It tells what the status says, too.
                tracing::warn!(error = words(&error), reason = note.reason, "event is lost");
            }
        }
    }
}

fn state(status: &MessagingClusterStatus) -> State {
    let holds = |kind: ConditionType| {
        let mut conditions = status.conditions.iter();
        conditions.any(|condition| condition.type_ == kind.as_str() && condition.status == "True")
    };
    if holds(ConditionType::Stalled) {
        State::Stalled
    } else if holds(ConditionType::Ready) {
        State::Ready
    } else {
        State::NotReady
    }
}
