//! The files that a server reads: volumes and where they are mounted.
//!
//! Of a Secret only the keys that are needed are mounted, so a key of another use stays out of the
//! pod, and a pod whose Secret lacks a key waits and says which. Whole folders, never single files:
//! so the node brings what changes.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath,
    ObjectFieldSelector, ProjectedVolumeSource, SecretVolumeSource, ServiceAccountTokenProjection,
    Volume, VolumeMount, VolumeProjection,
};
use wardlink_operator_api::SecretKeyRef;

/// Where files that the operator chose are.
const FOLDER: &str = "/etc/wardlink";
/// Where a program in a pod looks for its access to the API server.
const API_ACCESS_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The owner and the group of the server may read, nobody may write.
const READ_ONLY: i32 = 0o440;

/// Volumes and their mounts.
#[derive(Default)]
pub(super) struct Files {
    volumes: Vec<Volume>,
    mounts: Vec<VolumeMount>,
}

impl Files {
    pub(super) fn into_parts(self) -> (Vec<Volume>, Vec<VolumeMount>) {
        (self.volumes, self.mounts)
    }

    /// One key of a Secret. Returns the path of its file.
    pub(super) fn secret_key(&mut self, volume: &str, secret: &SecretKeyRef) -> String {
        let key = secret.key.as_deref().unwrap_or_default();
        let folder = self.secret(volume, &secret.name, &[key]);
        format!("{folder}/{key}")
    }

    /// Some keys of a Secret. Returns the folder with files of these names.
    pub(super) fn secret(&mut self, volume: &str, secret: &str, keys: &[&str]) -> String {
        let item =
            |key: &&str| KeyToPath { key: (*key).to_owned(), path: (*key).to_owned(), mode: None };
        let source = SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            items: Some(keys.iter().map(item).collect()),
            default_mode: Some(READ_ONLY),
            optional: None,
        };
        let volume = Volume { name: volume.to_owned(), secret: Some(source), ..Volume::default() };
        let folder = format!("{FOLDER}/{}", volume.name);
        self.mount(volume, &folder);
        folder
    }

    /// A token of the pod for `audience`, renewed by the node. Returns the path of its file.
    pub(super) fn token(&mut self, volume: &str, audience: &str, expiration: i64) -> String {
        let token = ServiceAccountTokenProjection {
            path: "token".to_owned(),
            audience: Some(audience.to_owned()),
            expiration_seconds: Some(expiration),
        };
        let folder = format!("{FOLDER}/{volume}");
        self.projected(volume, &folder, vec![of_token(token)]);
        format!("{folder}/token")
    }

    /// What a program needs to ask the API server: what Kubernetes itself would mount, had it been
    /// asked to.
    pub(super) fn api_access(&mut self) {
        let token = ServiceAccountTokenProjection {
            path: "token".to_owned(),
            ..ServiceAccountTokenProjection::default()
        };
        let authority = ConfigMapProjection {
            name: "kube-root-ca.crt".to_owned(),
            items: Some(vec![KeyToPath {
                key: "ca.crt".to_owned(),
                path: "ca.crt".to_owned(),
                mode: None,
            }]),
            optional: None,
        };
        let namespace = DownwardAPIVolumeFile {
            path: "namespace".to_owned(),
            field_ref: Some(ObjectFieldSelector {
                api_version: None,
                field_path: "metadata.namespace".to_owned(),
            }),
            ..DownwardAPIVolumeFile::default()
        };
        let sources = vec![
            of_token(token),
            VolumeProjection { config_map: Some(authority), ..VolumeProjection::default() },
            VolumeProjection {
                downward_api: Some(DownwardAPIProjection { items: Some(vec![namespace]) }),
                ..VolumeProjection::default()
            },
        ];
        self.projected("api-access", API_ACCESS_FOLDER, sources);
    }

    fn projected(&mut self, volume: &str, folder: &str, sources: Vec<VolumeProjection>) {
        let source =
            ProjectedVolumeSource { sources: Some(sources), default_mode: Some(READ_ONLY) };
        let volume =
            Volume { name: volume.to_owned(), projected: Some(source), ..Volume::default() };
        self.mount(volume, folder);
    }

    fn mount(&mut self, volume: Volume, folder: &str) {
        self.mounts.push(VolumeMount {
            name: volume.name.clone(),
            mount_path: folder.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
        self.volumes.push(volume);
    }
}

fn of_token(token: ServiceAccountTokenProjection) -> VolumeProjection {
    VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() }
}
