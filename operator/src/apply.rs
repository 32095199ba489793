//! Writes what is wanted: children, numbers of pods, generated Secrets, the status.
//!
//! # Guarantees
//!
//! - An object is made by a request that fails if there is one of its name, and changed by one
//!   that names the uid that was looked at: what belongs to somebody else is never taken over,
//!   whoever is quicker.
//! - The whole intent is applied each time, by one field manager; what another manager set beside
//!   it stays.
//! - Where nothing differs nothing is sent, see [`drift`](crate::drift).
//! - Each method may be called again after it failed or was dropped half-way.
//!
//! # Rights
//!
//! In each watched namespace:
//!
//! - `serviceaccounts`, `services`, `deployments`, `poddisruptionbudgets`: get, list, watch,
//!   create, patch; a cluster always has them, so the garbage collector alone removes them.
//! - `networkpolicies`, `ingresses`, `horizontalpodautoscalers`, `httproutes`: these and delete.
//! - `secrets`: get, list, watch, create, delete. `pods`: list, watch.
//! - `messagingclusters`: list, watch, patch; its `status`: patch; its `finalizers`: update, where
//!   an API server asks for that before an owner reference may block a deletion.
//! - `events` of events.k8s.io: create, patch.
//!
//! In its own namespace `leases`: create, and get and update of its one. Cluster-wide, where links
//! may use pod identity: `clusterrolebindings`: get, list, watch, create, patch, delete, and
//! `bind` of the one ClusterRole.

mod binding;
mod failure;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::DynamicObject;
use kube::{Api, Client};
use rand::Rng;
use serde_json::{Value, json};
use tokio::time::Instant;

use self::failure::{is_conflict, is_invalid, unavailable};
pub use self::failure::{problem, words};
use crate::drift::{self, Applied, Owner, Whose};
use crate::metrics::{Metrics, Outcome};
use crate::model::{Child, ChildKind, ClusterKey, Desired, Generated, Problem, Replicas};
use crate::names::{FIELD_MANAGER, REPLICAS_MANAGER, Tier};
use crate::observe::World;

/// What is remembered of one cluster's children, one entry for each; about twenty.
#[derive(Debug, Default)]
pub struct Memory {
    children: HashMap<(ChildKind, String), Applied>,
    replicas: HashMap<Tier, Applied>,
    rejected: HashMap<(ChildKind, String), Rejected>,
}

/// A refusal that another request would only meet again.
#[derive(Debug)]
struct Rejected {
    intent: u64,
    /// What was there when it was refused.
    seen: Option<String>,
    at: Instant,
    problem: Problem,
}

/// Writes the children of one cluster.
pub struct Writer<'a> {
    /// The way to the API server.
    pub client: &'a Client,
    /// What is there.
    pub world: &'a World,
    /// Counts what was done.
    pub metrics: &'a Metrics,
    /// The cluster.
    pub key: &'a ClusterKey,
    /// The cluster as the owner of children.
    pub owner: &'a Owner,
    /// What was applied before.
    pub memory: &'a mut Memory,
    /// After which time what was refused is tried again although nothing changed.
    pub resync: Duration,
}

/// What came of writing everything.
#[derive(Debug, Default)]
pub struct Written {
    /// Whether anything was sent that changed something.
    pub wrote: bool,
    /// What could not be done.
    pub problems: Vec<Problem>,
}

impl Written {
    fn note(&mut self, result: Result<Outcome, Problem>) -> bool {
        match result {
            Ok(outcome) => {
                self.wrote |= outcome != Outcome::Unchanged;
                true
            }
            Err(problem) => {
                self.problems.push(problem);
                false
            }
        }
    }
}

impl Writer<'_> {
    /// Brings everything to what is wanted, as far as it can: one child's problem does not stop
    /// the others, but for Deployments, which wait for the accounts and Secrets of their pods.
    /// `keeps`: pods of an earlier template run, or the resource may not mean what it says; so
    /// what they need, and what could not be had again, stays.
    pub async fn write(&mut self, desired: &Desired, keeps: bool) -> Written {
        let mut written = Written::default();
        let (mut ready, mut keeps) = (true, keeps);
        for generated in &desired.generated {
            let result = self.generate(generated).await;
            ready &= written.note(self.count(ChildKind::Secret, result));
        }
        for child in &desired.children {
            if child.kind == ChildKind::Deployment && !ready {
                continue;
            }
            let replicas = replicas_of(desired, self.key, child);
            let result = self.ensure(child, replicas.map(|wanted| wanted.replicas)).await;
            keeps |=
                child.kind == ChildKind::Deployment && !matches!(result, Ok(Outcome::Unchanged));
            let done = written.note(self.count(child.kind, result));
            if child.kind == ChildKind::ServiceAccount {
                ready &= done;
            }
            if let (true, Some(wanted)) = (done, replicas) {
                let result = self.scale(child, wanted).await;
                written.note(self.count(child.kind, result));
            }
        }
        self.prune(desired, keeps, &mut written).await;
        written
    }

    fn count(&self, kind: ChildKind, result: Result<Outcome, Problem>) -> Result<Outcome, Problem> {
        match &result {
            Ok(Outcome::Unchanged) => {}
            Ok(outcome) => self.metrics.applied(kind, *outcome),
            Err(problem) => self.metrics.applied(kind, Outcome::of(problem)),
        }
        result
    }

    fn api(&self, kind: ChildKind) -> Api<DynamicObject> {
        kind.api(self.client, &self.key.namespace)
    }

    /// Brings one child to what is wanted. `replicas`: that of a Deployment that is made now.
    async fn ensure(&mut self, child: &Child, replicas: Option<i32>) -> Result<Outcome, Problem> {
        let entry = (child.kind, child.name.clone());
        let (intent, seen) = (drift::intent(&child.object), self.generation(child));
        if let Some(rejected) = self.memory.rejected.get(&entry)
            && (rejected.intent, &rejected.seen) == (intent, &seen)
            && rejected.at.elapsed() < self.resync.mul_f64(0.8)
        {
            return Err(rejected.problem.clone());
        }
        let result = match child.kind {
            ChildKind::ClusterRoleBinding => self.bind(child).await,
            kind => match self.look(kind, &child.name).await? {
                Some(object) => self.keep(child, &object).await,
                None => self.create(child, replicas).await,
            },
        };
        if let Err(problem @ Problem::Rejected { .. }) = &result {
            let (problem, at) = (problem.clone(), Instant::now());
            self.memory.rejected.insert(entry, Rejected { intent, seen, at, problem });
        } else {
            self.memory.rejected.remove(&entry);
        }
        result
    }

    /// What changes when somebody changes a child, and not when its status does, where it has one.
    fn generation(&self, child: &Child) -> Option<String> {
        let object = self.world.child(child.kind, self.key, &child.name)?;
        let meta = &object.metadata;
        let uid = meta.uid.as_deref().unwrap_or_default();
        let generation = meta.generation.map(|number| number.to_string());
        Some(format!("{uid} {}", generation.or(meta.resource_version.clone()).unwrap_or_default()))
    }

    /// What is there. An object that the store does not have may be there all the same, without
    /// our label.
    async fn look(
        &self,
        kind: ChildKind,
        name: &str,
    ) -> Result<Option<Arc<DynamicObject>>, Problem> {
        if let Some(object) = self.world.child(kind, self.key, name) {
            return Ok(Some(object));
        }
        let found = self.api(kind).get_opt(name).await;
        Ok(found.map_err(|error| problem(kind, name, &error))?.map(Arc::new))
    }

    async fn keep(&mut self, child: &Child, object: &DynamicObject) -> Result<Outcome, Problem> {
        let Child { kind, name, .. } = child;
        match drift::whose(&object.metadata, self.owner) {
            Whose::Ours => {}
            Whose::Foreign => {
                return Err(Problem::NameConflict { kind: *kind, name: name.clone() });
            }
            Whose::Earlier => {
                return Err(unavailable(*kind, name, "is of an earlier cluster of this name"));
            }
        }
        self.bring(child, object).await
    }

    /// Applies a child to an object that is ours, unless it is as it was applied.
    async fn bring(&mut self, child: &Child, object: &DynamicObject) -> Result<Outcome, Problem> {
        let meta = &object.metadata;
        if meta.deletion_timestamp.is_some() {
            return Err(unavailable(child.kind, &child.name, "is being deleted"));
        }
        let intent = drift::intent(&child.object);
        let remembered = self.memory.children.get(&(child.kind, child.name.clone()));
        let holds = remembered.is_some_and(|applied| applied.holds(meta, intent));
        if holds && drift::left_over(meta).is_none() {
            return Ok(Outcome::Unchanged);
        }
        if remembered.is_none() && is_intended(child, object) {
            self.memory
                .children
                .insert((child.kind, child.name.clone()), Applied::of(meta, intent));
            return Ok(Outcome::Unchanged);
        }
        let changed = self.apply(child, intent, meta).await?;
        Ok(if changed { Outcome::Changed } else { Outcome::Unchanged })
    }

    /// Makes an object, unless somebody was quicker; then it is looked at anew.
    async fn create(&mut self, child: &Child, replicas: Option<i32>) -> Result<Outcome, Problem> {
        let Child { kind, name, object } = child;
        let mut object = object.clone();
        if let Some(replicas) = replicas {
            // Else it would begin with one pod, whatever is wanted.
            object["spec"]["replicas"] = json!(replicas);
        }
        let object: DynamicObject = serde_json::from_value(object).map_err(|error| {
            let message = error.to_string();
            Problem::Rejected { kind: *kind, name: name.clone(), message }
        })?;
        match self.api(*kind).create(&post(), &object).await {
            Ok(made) => {
                self.apply(child, drift::intent(&child.object), &made.metadata).await?;
                Ok(Outcome::Created)
            }
            Err(error) if is_conflict(&error) => {
                let found = self.api(*kind).get(name).await;
                let found = found.map_err(|error| problem(*kind, name, &error))?;
                // Boxed: this is the only way in which `keep` and `create` can come to each other.
                Box::pin(self.keep(child, &found)).await
            }
            Err(error) => Err(problem(*kind, name, &error)),
        }
    }

    /// Applies the whole intent to the object of this uid. Returns whether that changed it.
    async fn apply(
        &mut self,
        child: &Child,
        intent: u64,
        seen: &ObjectMeta,
    ) -> Result<bool, Problem> {
        let Child { kind, name, object } = child;
        let mut object = object.clone();
        object["metadata"]["uid"] = json!(seen.uid);
        let api = self.api(*kind);
        let params = force(FIELD_MANAGER);
        let mut applied = api.patch(name, &params, &Patch::Apply(&object)).await;
        if applied.as_ref().is_err_and(is_invalid) {
            // Where somebody changed what tells the items of a list apart, such as a port's
            // number, theirs stays beside ours, and both together may be refused. So lists are
            // set as a whole first.
            let params = PatchParams {
                field_manager: params.field_manager.clone(),
                ..PatchParams::default()
            };
            let reset = api.patch(name, &params, &Patch::Merge(&object)).await;
            if reset.is_ok() {
                applied = api.patch(name, &force(FIELD_MANAGER), &Patch::Apply(&object)).await;
            }
        }
        let mut answer = applied.map_err(|error| problem(*kind, name, &error))?;
        if let Some(kept) = drift::left_over(&answer.metadata) {
            let version = &answer.metadata.resource_version;
            let tidy = json!({"metadata": {"resourceVersion": version, "managedFields": kept}});
            let tidied = api.patch(name, &PatchParams::default(), &Patch::Merge(&tidy)).await;
            answer = tidied.map_err(|error| problem(*kind, name, &error))?;
        }
        let changed = answer.metadata.resource_version != seen.resource_version;
        let applied = Applied::of(&answer.metadata, intent);
        self.memory.children.insert((*kind, name.clone()), applied);
        Ok(changed)
    }

    /// Sets the number of a Deployment's pods, as the manager of that one field.
    async fn scale(&mut self, child: &Child, wanted: &Replicas) -> Result<Outcome, Problem> {
        let Child { kind, name, .. } = child;
        let Some(object) = self.look(*kind, name).await? else { return Ok(Outcome::Unchanged) };
        let meta = &object.metadata;
        let intent = u64::from(wanted.replicas.unsigned_abs());
        let remembered = self.memory.replicas.get(&wanted.tier);
        let sent = remembered.is_some_and(|applied| {
            applied.intent == intent
                && applied.uid == meta.uid.as_deref().unwrap_or_default()
                && applied.is_newer_than(meta)
        });
        let now = object.data.pointer("/spec/replicas").and_then(Value::as_i64);
        let there =
            now == Some(i64::from(wanted.replicas)) && drift::has_replicas(meta, REPLICAS_MANAGER);
        if sent || there {
            return Ok(Outcome::Unchanged);
        }
        let intended = json!({
            "apiVersion": child.object["apiVersion"],
            "kind": child.object["kind"],
            "metadata": {"name": name, "namespace": self.key.namespace, "uid": meta.uid},
            "spec": {"replicas": wanted.replicas},
        });
        let api = self.api(*kind);
        let applied = api.patch(name, &force(REPLICAS_MANAGER), &Patch::Apply(&intended)).await;
        let answer = applied.map_err(|error| problem(*kind, name, &error))?;
        self.memory.replicas.insert(wanted.tier, Applied::of(&answer.metadata, intent));
        let changed = now != Some(i64::from(wanted.replicas));
        Ok(if changed { Outcome::Changed } else { Outcome::Unchanged })
    }

    /// Makes a Secret with a random value where there is none.
    async fn generate(&self, generated: &Generated) -> Result<Outcome, Problem> {
        let (kind, name) = (ChildKind::Secret, generated.name.as_str());
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.key.namespace);
        let look = async || {
            let found = secrets.get_metadata_opt(name).await;
            Ok::<_, Problem>(found.map_err(|error| problem(kind, name, &error))?.map(Arc::new))
        };
        let there = match self.world.secret(&self.key.namespace, name) {
            Some(there) => Some(there),
            None => look().await?,
        };
        if let Some(there) = there {
            return self.own_secret(name, &there.metadata);
        }
        let secret = self.secret(generated);
        match secrets.create(&post(), &secret).await {
            Ok(_) => Ok(Outcome::Created),
            Err(error) if is_conflict(&error) => match look().await? {
                Some(there) => self.own_secret(name, &there.metadata),
                None => Err(problem(kind, name, &error)),
            },
            Err(error) => Err(problem(kind, name, &error)),
        }
    }

    fn own_secret(&self, name: &str, meta: &ObjectMeta) -> Result<Outcome, Problem> {
        let (kind, conflict) = (ChildKind::Secret, name.to_owned());
        match drift::whose(meta, self.owner) {
            _ if meta.deletion_timestamp.is_some() => {
                Err(unavailable(kind, name, "is being deleted"))
            }
            Whose::Ours => Ok(Outcome::Unchanged),
            Whose::Foreign => Err(Problem::NameConflict { kind, name: conflict }),
            Whose::Earlier => Err(unavailable(kind, name, "is of an earlier cluster of this name")),
        }
    }

    fn secret(&self, generated: &Generated) -> Secret {
        let mut bytes = vec![0; generated.random_bytes];
        rand::rng().fill_bytes(&mut bytes);
        let value = ByteString(URL_SAFE_NO_PAD.encode(bytes).into_bytes());
        let owner = OwnerReference {
            api_version: crate::observe::cluster_resource().api_version,
            kind: crate::observe::cluster_resource().kind,
            name: self.owner.name.clone(),
            uid: self.owner.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        };
        Secret {
            metadata: ObjectMeta {
                name: Some(generated.name.clone()),
                namespace: Some(self.key.namespace.clone()),
                labels: Some(generated.labels.clone()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            data: Some([(generated.key.to_owned(), value)].into()),
            ..Secret::default()
        }
    }

    /// Removes what is ours and not wanted any more.
    ///
    /// With `keeps`, or where something could not be written, Secrets and the binding stay: pods
    /// that still run may need them, and a generated key that is gone can not be had again.
    async fn prune(&mut self, desired: &Desired, keeps: bool, written: &mut Written) {
        let wanted = |kind: ChildKind, name: &str| {
            let child = |child: &Child| child.kind == kind && child.name == name;
            let secret = |generated: &Generated| generated.name == name;
            desired.children.iter().any(child)
                || kind == ChildKind::Secret && desired.generated.iter().any(secret)
        };
        let mut unwanted = Vec::new();
        let keeps = keeps || !written.problems.is_empty();
        for kind in ChildKind::ALL {
            if keeps && matches!(kind, ChildKind::Secret | ChildKind::ClusterRoleBinding) {
                continue;
            }
            let metas: Vec<ObjectMeta> = match kind {
                ChildKind::Secret => {
                    let secrets = self.world.secrets_of(self.key);
                    secrets.iter().map(|secret| secret.metadata.clone()).collect()
                }
                kind => {
                    let objects = self.world.children_of(kind, self.key);
                    objects.iter().map(|object| object.metadata.clone()).collect()
                }
            };
            let ours = metas.into_iter().filter(|meta| self.is_ours(kind, meta));
            let rest = ours.filter(|meta| !wanted(kind, meta.name.as_deref().unwrap_or_default()));
            unwanted.extend(rest.map(|meta| (kind, meta)));
        }
        for (kind, meta) in unwanted {
            let result = self.delete(kind, &meta).await;
            written.note(self.count(kind, result));
        }
        let kept = &mut self.memory.children;
        kept.retain(|(kind, name), _| wanted(*kind, name));
        self.memory.rejected.retain(|(kind, name), _| wanted(*kind, name));
    }

    fn is_ours(&self, kind: ChildKind, meta: &ObjectMeta) -> bool {
        let whose = match kind {
            ChildKind::ClusterRoleBinding => drift::whose_label(meta),
            _ => drift::whose(meta, self.owner),
        };
        whose == Whose::Ours && meta.deletion_timestamp.is_none()
    }

    /// Removes the object of this name and uid.
    pub(crate) async fn delete(
        &self,
        kind: ChildKind,
        meta: &ObjectMeta,
    ) -> Result<Outcome, Problem> {
        let name = meta.name.as_deref().unwrap_or_default();
        let only = Preconditions { uid: meta.uid.clone(), resource_version: None };
        let params = DeleteParams::background().preconditions(only);
        match self.api(kind).delete(name, &params).await {
            Ok(_) => Ok(Outcome::Deleted),
            // It is gone, or another one has its name: there is nothing of ours left.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                Ok(Outcome::Unchanged)
            }
            Err(error) => Err(problem(kind, name, &error)),
        }
    }
}

fn replicas_of<'a>(desired: &'a Desired, key: &ClusterKey, child: &Child) -> Option<&'a Replicas> {
    let is = |replicas: &&Replicas| replicas.tier.child_name(&key.name) == child.name;
    desired.replicas.iter().find(is).filter(|_| child.kind == ChildKind::Deployment)
}

fn is_intended(child: &Child, object: &DynamicObject) -> bool {
    let live = serde_json::to_value(object);
    live.is_ok_and(|live| drift::is_intended(&child.object, &live, &object.metadata))
}

fn post() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn force(manager: &str) -> PatchParams {
    PatchParams::apply(manager).force()
}
