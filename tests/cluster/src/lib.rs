//! The harness of the tests on a real Kubernetes.
//!
//! It speaks to whatever cluster `KUBECONFIG` names: the lab beside it (`lab/`), or another one.
//! A test gets a namespace of its own, says what is to be applied, and waits for what must come of
//! it; where it fails, the namespace's pods, events and logs are printed.
//!
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! use std::time::Duration;
//! use wardlink_cluster_tests::{Cluster, Security};
//!
//! let cluster = Cluster::from_environment().await?;
//! cluster
//!     .with_namespace(Security::Restricted, async |ns| {
//!         ns.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {b: c}}").await?;
//!         ns.await_condition("configmap/a", "jsonpath={.data.b}=c", Duration::from_secs(5)).await
//!     })
//!     .await
//! # }
//! ```

mod access;
mod audit;
mod cluster;
mod faults;
mod images;
mod kubelet;
mod namespace;
mod operator;
mod proxy;
mod wait;

pub use self::access::Access;
pub use self::audit::{Audit, Entry, Mark};
pub use self::cluster::{Cluster, Output};
pub use self::faults::{Answer, Fault};
pub use self::images::image;
pub use self::kubelet::{Kubelet, Play};
pub use self::namespace::{Namespace, Security};
pub use self::operator::{OPERATOR_ACCOUNT, Operator, SERVER_IMAGES, install_crd, program, rights};
pub use self::proxy::Proxy;
pub use self::wait::{PATIENCE, eventually};
