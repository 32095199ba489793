//! Whether an object is as it was applied: the pure part of [`apply`](crate::apply).
//!
//! The API server keeps with each object which fields its managers set. Who changes a field of
//! ours takes it out of our entry, so an entry that is as after our last application means that
//! all we said still holds, whatever defaults the API server filled in and however it writes a
//! quantity.

mod intended;

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::Value;

pub use self::intended::is_intended;
use crate::names::{FIELD_MANAGER, MANAGED_BY};

/// What is remembered of an application that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Uid of the object.
    pub uid: String,
    /// Hash of what was applied.
    pub intent: u64,
    /// Hash of our entry in what came of it.
    pub owned: u64,
    /// Resource version of what came of it, where it is a number.
    pub version: Option<u64>,
}

impl Applied {
    /// What to remember of `answer`, which is what came of applying an intent of this hash.
    pub fn of(answer: &ObjectMeta, intent: u64) -> Self {
        Self {
            uid: answer.uid.clone().unwrap_or_default(),
            intent,
            owned: owned(answer),
            version: version(answer),
        }
    }

    /// Whether `seen` is as it was applied, and the intent the same. An object that was seen
    /// before the application counts as what came of it.
    pub fn holds(&self, seen: &ObjectMeta, intent: u64) -> bool {
        let same = self.intent == intent && seen.uid.as_deref() == Some(&self.uid);
        same && (self.is_newer_than(seen) || self.owned == owned(seen))
    }

    /// Whether what came of the application is newer than this.
    pub fn is_newer_than(&self, seen: &ObjectMeta) -> bool {
        matches!((self.version, version(seen)), (Some(ours), Some(theirs)) if ours > theirs)
    }
}

/// A resource version as a number: of one kind a higher one is newer.
pub fn version(meta: &ObjectMeta) -> Option<u64> {
    meta.resource_version.as_ref()?.parse().ok()
}

/// Hash of what is to be applied.
pub fn intent(object: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.to_string().hash(&mut hasher);
    hasher.finish()
}

/// Hash of the fields that an object says are ours; those of creation count, too, until
/// [`left_over`] is cleared.
fn owned(meta: &ObjectMeta) -> u64 {
    let mut hasher = DefaultHasher::new();
    for entry in entries(meta).filter(|entry| is_ours(entry)) {
        entry.operation.hash(&mut hasher);
        entry.fields_v1.as_ref().map(|fields| fields.0.to_string()).hash(&mut hasher);
    }
    hasher.finish()
}

fn entries(meta: &ObjectMeta) -> impl Iterator<Item = &ManagedFieldsEntry> {
    meta.managed_fields.iter().flatten()
}

fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.subresource.is_none()
}

fn is_created(entry: &ManagedFieldsEntry) -> bool {
    is_ours(entry) && entry.operation.as_deref() != Some("Apply")
}

/// The entries without that of our creation, where there is one.
///
/// An object is made by a request that fails if there is one of its name, and then applied. The
/// API server notes the first as another kind of ownership; left there it would keep a field that
/// is not wanted any more.
pub fn left_over(meta: &ObjectMeta) -> Option<Vec<ManagedFieldsEntry>> {
    let all: Vec<_> = entries(meta).cloned().collect();
    let kept: Vec<_> = all.iter().filter(|entry| !is_created(entry)).cloned().collect();
    (kept.len() < all.len()).then_some(kept)
}

/// The cluster that owns children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// Whose an object of a child's name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// This cluster's.
    Ours,
    /// Of an earlier cluster of this name: it goes by itself.
    Earlier,
    /// Somebody else's.
    Foreign,
}

/// Whose an object in a namespace is.
///
/// One without a controller is ours if we have applied it: then somebody took the reference away.
pub fn whose(meta: &ObjectMeta, owner: &Owner) -> Whose {
    let owners = meta.owner_references.iter().flatten();
    match owners.clone().find(|reference| reference.controller == Some(true)) {
        Some(controller) if controller.uid == owner.uid => Whose::Ours,
        Some(controller)
            if controller.kind == "MessagingCluster" && controller.name == owner.name =>
        {
            Whose::Earlier
        }
        Some(_) => Whose::Foreign,
        None if entries(meta).any(is_ours) => Whose::Ours,
        None => Whose::Foreign,
    }
}

/// Whose an object without a namespace is: it has no owner, so it is ours if we have applied it or
/// it carries our labels.
pub fn whose_label(meta: &ObjectMeta) -> Whose {
    let labels = meta.labels.as_ref();
    let label = labels.and_then(|labels| labels.get("app.kubernetes.io/managed-by"));
    let ours = entries(meta).any(is_ours) || label.is_some_and(|by| by == MANAGED_BY);
    if ours { Whose::Ours } else { Whose::Foreign }
}

/// Whether `manager` has applied `spec.replicas` of an object.
pub fn has_replicas(meta: &ObjectMeta, manager: &str) -> bool {
    entries(meta).any(|entry| {
        let fields = entry.fields_v1.as_ref();
        entry.manager.as_deref() == Some(manager)
            && fields.is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn meta(value: Value) -> ObjectMeta {
        serde_json::from_value(value).expect("metadata")
    }

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1",
            "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn object(uid: &str, version: &str, entries: Value) -> ObjectMeta {
        meta(json!({"uid": uid, "resourceVersion": version, "managedFields": entries}))
    }

    #[test]
    fn it_holds_until_our_entry_or_the_object_or_the_intent_is_another() {
        let ours = entry(FIELD_MANAGER, "Apply", json!({"f:spec": {"f:a": {}, "f:b": {}}}));
        let applied = Applied::of(&object("1", "10", json!([ours])), 7);
        let other = entry("kubectl-edit", "Update", json!({"f:spec": {"f:c": {}}}));
        assert!(applied.holds(&object("1", "11", json!([ours, other])), 7));
        assert!(!applied.holds(&object("1", "11", json!([ours])), 8));
        assert!(!applied.holds(&object("2", "11", json!([ours])), 7));
        let taken = entry(FIELD_MANAGER, "Apply", json!({"f:spec": {"f:a": {}}}));
        assert!(!applied.holds(&object("1", "11", json!([taken, other])), 7));
        assert!(!applied.holds(&object("1", "11", json!([other])), 7));
    }

    #[test]
    fn what_was_seen_before_the_application_is_not_taken_for_drift() {
        let ours = entry(FIELD_MANAGER, "Apply", json!({"f:spec": {"f:a": {}}}));
        let applied = Applied::of(&object("1", "10", json!([ours])), 7);
        let before = entry(FIELD_MANAGER, "Apply", json!({"f:spec": {}}));
        assert!(applied.holds(&object("1", "9", json!([before])), 7));
        assert!(!applied.holds(&object("1", "12", json!([before])), 7));
    }

    #[test]
    fn the_entry_of_the_creation_is_left_over_and_nothing_else() {
        let created = entry(FIELD_MANAGER, "Update", json!({"f:spec": {}}));
        let applied = entry(FIELD_MANAGER, "Apply", json!({"f:spec": {}}));
        let other = entry("kubelet", "Update", json!({"f:status": {}}));
        let with = object("1", "1", json!([created, applied, other]));
        let kept = left_over(&with).expect("something is left over");
        assert_eq!(kept.len(), 2);
        assert_eq!(left_over(&object("1", "1", json!([applied, other]))), None);
    }

    #[test]
    fn whose_an_object_is_goes_by_its_controller_and_else_by_who_applied_it() {
        let owner = Owner { name: "ward".to_owned(), uid: "u1".to_owned() };
        let of = |kind: &str, name: &str, uid: &str| {
            meta(json!({"ownerReferences": [{"apiVersion": "x/v1", "kind": kind, "name": name,
                "uid": uid, "controller": true}]}))
        };
        assert_eq!(whose(&of("MessagingCluster", "ward", "u1"), &owner), Whose::Ours);
        assert_eq!(whose(&of("MessagingCluster", "ward", "u0"), &owner), Whose::Earlier);
        assert_eq!(whose(&of("MessagingCluster", "other", "u2"), &owner), Whose::Foreign);
        assert_eq!(whose(&of("ReplicaSet", "ward", "u3"), &owner), Whose::Foreign);
        assert_eq!(whose(&ObjectMeta::default(), &owner), Whose::Foreign);
        let ours = entry(FIELD_MANAGER, "Apply", json!({"f:spec": {}}));
        assert_eq!(whose(&object("1", "1", json!([ours])), &owner), Whose::Ours);
        let theirs = entry("kubectl", "Apply", json!({"f:spec": {}}));
        assert_eq!(whose(&object("1", "1", json!([theirs])), &owner), Whose::Foreign);
    }
}
