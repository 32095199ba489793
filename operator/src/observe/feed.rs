//! One store that one or more watches keep up to date.
//!
//! A watch that had to begin anew says what is there, not what is gone: this module finds out and
//! makes a deletion of it, so that nothing that happened in between is missed.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use kube::api::ObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use wardlink_service::backoff::Backoff;

use crate::metrics::Metrics;
use crate::model::ClusterKey;

/// What can be watched.
pub(super) trait Watched:
    Resource<DynamicType: WatchedType> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Watched for K
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: WatchedType,
{
}

/// The dynamic type of what can be watched.
pub(super) trait WatchedType: Clone + Debug + Eq + Hash + Send + Sync + 'static {}

impl<T: Clone + Debug + Eq + Hash + Send + Sync + 'static> WatchedType for T {}

/// The shortest and the longest pause of a watch that fails. A kind that this Kubernetes does not
/// have fails for ever: looking for it costs one request.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How the first list of one watch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum List {
    /// It has not been answered yet.
    Awaited,
    /// It could not be had; it is tried again.
    Failed,
    /// What is there is in the store.
    There,
}

/// Whether the first list of one watch is there.
#[derive(Debug, Clone)]
pub(super) struct Synced {
    kind: &'static str,
    state: watch::Receiver<List>,
}

impl Synced {
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    pub(super) fn is(&self) -> bool {
        *self.state.borrow() == List::There
    }

    /// Returns once it is there or has failed; never if the watch ended before. Cancel safe.
    pub(super) async fn wait(&self) {
        if self.state.clone().wait_for(|list| *list != List::Awaited).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The store, and who writes it. Clones share it.
#[derive(Clone)]
pub(super) struct Feed<K: Watched>
where
    K::DynamicType: WatchedType,
{
    writer: Arc<Mutex<Writer<K>>>,
    store: Store<K>,
}

impl<K: Watched> Feed<K>
where
    K::DynamicType: WatchedType,
{
    pub(super) fn new(resource: K::DynamicType) -> Self {
        let mut writer = Writer::new(resource);
        // Whether the lists are there is for `Synced` to say; of several watches the store knows
        // nothing.
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        let store = writer.as_reader();
        Self { writer: Arc::new(Mutex::new(writer)), store }
    }

    pub(super) fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// One more watch that feeds the store.
    pub(super) fn source(
        &self,
        kind: &'static str,
        resource: K::DynamicType,
    ) -> (Synced, Source<K>) {
        let (sender, state) = watch::channel(List::Awaited);
        let source = Source {
            kind,
            resource,
            feed: self.clone(),
            known: HashSet::new(),
            listing: None,
            synced: sender,
        };
        (Synced { kind, state }, source)
    }

    fn write(&self, event: &Event<K>) {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).apply_watcher_event(event);
    }
}

/// One watch.
pub(super) struct Source<K: Watched>
where
    K::DynamicType: WatchedType,
{
    kind: &'static str,
    resource: K::DynamicType,
    feed: Feed<K>,
    /// What this watch has put into the store.
    known: HashSet<ObjectRef<K>>,
    /// What the list that is being read has named so far.
    listing: Option<HashSet<ObjectRef<K>>>,
    synced: watch::Sender<List>,
}

impl<K: Watched> Source<K>
where
    K::DynamicType: WatchedType,
{
    /// Watches for ever: what fails is tried again, 30 s later at most. Cancel safe.
    pub(super) async fn run<M, F>(
        mut self,
        api: Api<K>,
        config: watcher::Config,
        mut map: M,
        changes: mpsc::Sender<ClusterKey>,
        metrics: Arc<Metrics>,
    ) where
        M: FnMut(&K, bool) -> F,
        F: IntoIterator<Item = ClusterKey>,
    {
        let mut events = pin!(kube::runtime::watcher(api, config));
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        let mut failing = false;
        // It has no end.
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    // A list that begins proves nothing.
                    let works = !matches!(event, Event::Init);
                    if works && std::mem::take(&mut failing) {
                        backoff.reset();
                        tracing::info!(kind = self.kind, "watch works again");
                    }
                    let gone = matches!(event, Event::Delete(_) | Event::InitDone);
                    for object in self.take(event) {
                        for key in map(&object, gone) {
                            // A failure means that the controller has ended.
                            let _ = changes.send(key).await;
                        }
                    }
                }
                Err(error) => {
                    metrics.watch_failed();
                    self.synced.send_modify(|list| *list = (*list).max(List::Failed));
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(kind = self.kind, %error, "watch failed, trying again");
                    }
                    sleep(backoff.next_delay().max(PAUSES.0)).await;
                }
            }
        }
    }

    /// Brings the store up to date and returns what the event is about.
    fn take(&mut self, event: Event<K>) -> Vec<K> {
        match event {
            Event::Init => {
                self.listing = Some(HashSet::new());
                Vec::new()
            }
            Event::InitApply(mut object) => {
                slim(object.meta_mut());
                let reference = self.reference(&object);
                self.listing.get_or_insert_default().insert(reference);
                self.feed.write(&Event::Apply(object.clone()));
                vec![object]
            }
            Event::InitDone => {
                let listed = self.listing.take().unwrap_or_default();
                let gone = self.known.difference(&listed);
                let gone: Vec<_> = gone.filter_map(|one| self.feed.store.get(one)).collect();
                self.known = listed;
                let gone: Vec<K> = gone.into_iter().map(|one| (*one).clone()).collect();
                for object in &gone {
                    self.feed.write(&Event::Delete(object.clone()));
                }
                self.synced.send_replace(List::There);
                gone
            }
            Event::Apply(mut object) => {
                slim(object.meta_mut());
                let reference = self.reference(&object);
                self.known.insert(reference);
                self.feed.write(&Event::Apply(object.clone()));
                vec![object]
            }
            Event::Delete(object) => {
                let reference = self.reference(&object);
                self.known.remove(&reference);
                self.feed.write(&Event::Delete(object.clone()));
                vec![object]
            }
        }
    }

    fn reference(&self, object: &K) -> ObjectRef<K> {
        ObjectRef::from_obj_with(object, self.resource.clone())
    }
}

/// Drops what nobody reads: kubectl's copy of what was applied can be as large as the object.
fn slim(meta: &mut ObjectMeta) {
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn map(name: &str) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("a".to_owned()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    fn names(objects: &[ConfigMap]) -> Vec<&str> {
        objects.iter().filter_map(|object| object.metadata.name.as_deref()).collect()
    }

    fn list(source: &mut Source<ConfigMap>, objects: &[&str]) -> Vec<ConfigMap> {
        source.take(Event::Init);
        for name in objects {
            source.take(Event::InitApply(map(name)));
        }
        source.take(Event::InitDone)
    }

    #[test]
    fn what_a_new_list_does_not_name_is_told_as_gone() {
        let feed = Feed::<ConfigMap>::new(());
        let (synced, mut source) = feed.source("ConfigMap", ());
        assert!(!synced.is());
        assert_eq!(names(&list(&mut source, &["x", "y"])), [""; 0]);
        assert!(synced.is());
        source.take(Event::Apply(map("z")));
        let mut gone = list(&mut source, &["y"]);
        gone.sort_by_key(|object| object.metadata.name.clone());
        assert_eq!(names(&gone), ["x", "z"]);
        assert_eq!(feed.store().len(), 1);
    }

    #[test]
    fn a_list_of_one_watch_leaves_what_another_one_feeds() {
        let feed = Feed::<ConfigMap>::new(());
        let (_, mut one) = feed.source("ConfigMap", ());
        let (_, mut other) = feed.source("ConfigMap", ());
        list(&mut one, &["x"]);
        list(&mut other, &["y"]);
        assert_eq!(names(&list(&mut other, &[])), ["y"]);
        assert_eq!(feed.store().len(), 1);
    }
}
