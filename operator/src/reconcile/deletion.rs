//! What owner references do not reach: the ClusterRoleBinding and the TTL index. A finalizer
//! keeps the resource until both are gone, or until that has taken too long.
//!
//! # Guarantees
//!
//! - The finalizer is there before anything that it is for.
//! - A cluster that is being deleted goes, at most `cleanup` after this process has seen it, with
//!   an event that says what was left.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::time::Instant;
use wardlink_operator_api::{DeletionPolicy, MessagingCluster};

use super::{Ended, Run};
use crate::apply::{Writer, problem, words};
use crate::drift::{Owner, Whose, whose_label};
use crate::model::{ChildKind, Desired, Problem};
use crate::names::{FIELD_MANAGER, FINALIZER, review_binding};
use crate::observe::cluster_resource;
use crate::status::{EventNote, EventType};

impl Run<'_> {
    /// Sets the finalizer where it is needed, and takes it away where it is not any more.
    pub(super) async fn keep_finalizer(
        &mut self,
        cluster: &mut MessagingCluster,
        desired: &Desired,
    ) -> Result<(), Problem> {
        let binding = |kind: ChildKind| kind == ChildKind::ClusterRoleBinding;
        let needed = cluster.spec.storage.deletion_policy == DeletionPolicy::DropIndex
            || desired.children.iter().any(|child| binding(child.kind));
        let there = cluster.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
        // What is to be removed without it is removed first, by the next reconcile at the latest.
        let bound =
            !self.context.world.children_of(ChildKind::ClusterRoleBinding, self.key).is_empty();
        match (needed, there) {
            (true, false) => self.set_finalizer(cluster, true).await,
            (false, true) if !bound => self.set_finalizer(cluster, false).await,
            _ => Ok(()),
        }
    }

    async fn set_finalizer(
        &mut self,
        cluster: &mut MessagingCluster,
        on: bool,
    ) -> Result<(), Problem> {
        let mut finalizers = cluster.finalizers().to_vec();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        if on {
            finalizers.push(FINALIZER.to_owned());
        }
        // With the version, so that a finalizer that somebody else sets meanwhile stays.
        let version = cluster.metadata.resource_version.as_deref();
        let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.context.client.clone(),
            &self.key.namespace,
            &cluster_resource(),
        );
        let params =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch(&self.key.name, &params, &Patch::Merge(&patch)).await {
            Ok(answer) => {
                self.remember(cluster, answer.metadata);
                Ok(())
            }
            // It is gone already.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => {
                Err(Problem::Unavailable { message: format!("finalizer: {}", words(&error)) })
            }
        }
    }

    /// Removes what the finalizer is for, then the finalizer.
    pub(super) async fn delete(&mut self, cluster: &mut MessagingCluster) -> Ended {
        if !cluster.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
            return Ended::of(Vec::new(), false);
        }
        let since = *self.memory.deleting.get_or_insert_with(Instant::now);
        let mut problems = Vec::new();
        problems.extend(self.unbind().await.err());
        if cluster.spec.storage.deletion_policy == DeletionPolicy::DropIndex {
            problems.extend(self.drop_index(cluster).await.err());
        }
        let given_up = since.elapsed() >= self.context.settings.cleanup;
        if !problems.is_empty() && !given_up {
            let left = self.context.settings.cleanup.saturating_sub(since.elapsed());
            let next = Some(left.max(Duration::from_secs(1)));
            return Ended { next, ..Ended::of(problems, true) };
        }
        if !problems.is_empty() {
            self.tell_left(cluster, &problems).await;
        }
        let removed = self.set_finalizer(cluster, false).await;
        Ended::of(removed.err().into_iter().collect(), true)
    }

    async fn unbind(&mut self) -> Result<(), Problem> {
        let kind = ChildKind::ClusterRoleBinding;
        let name = review_binding(&self.key.namespace, &self.key.name);
        let found = kind.api(&self.context.client, "").get_metadata_opt(&name).await;
        let found = match found {
            Ok(Some(found)) if whose_label(&found.metadata) == Whose::Ours => found,
            Ok(_) => return Ok(()),
            // Who may not look has not made one.
            Err(kube::Error::Api(status)) if status.code == 403 => return Ok(()),
            Err(error) => return Err(problem(kind, &name, &error)),
        };
        let owner = Owner { name: self.key.name.clone(), uid: self.memory.uid.clone() };
        let writer = Writer {
            client: &self.context.client,
            world: &self.context.world,
            metrics: &self.context.metrics,
            key: self.key,
            owner: &owner,
            memory: &mut self.memory.children,
            resync: self.context.settings.resync,
        };
        writer.delete(kind, &found.metadata).await.map(|_| ())
    }

    async fn drop_index(&mut self, cluster: &MessagingCluster) -> Result<(), Problem> {
        // An operator that was started since has not read the Secret yet.
        self.refresh_contents().await?;
        let tiers = self.tiers();
        let request = self.storage_request(cluster, &tiers.message_server);
        let dropped = self.context.storage.drop_index(&request).await;
        dropped.map_err(|error| Problem::Unavailable { message: format!("TTL index: {error}") })
    }

    async fn tell_left(&self, cluster: &MessagingCluster, problems: &[Problem]) {
        let left: Vec<_> = problems.iter().map(|problem| format!("{problem:?}")).collect();
        let left = left.join("; ");
        tracing::warn!(
            namespace = self.key.namespace,
            cluster = self.key.name,
            left,
            "cluster is deleted though not all of it could be removed"
        );
        let mut note = format!("not all could be removed in time: {left}");
        if let Some((end, _)) = note.char_indices().nth(300) {
            note.truncate(end);
        }
        let note = EventNote { event_type: EventType::Warning, reason: "CleanupIncomplete", note };
        self.tell(cluster, vec![note]).await;
    }
}
