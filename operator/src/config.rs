//! Settings of `wardlink-operator`: flags, and environment variables of the same names. Only this
//! module reads them.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use uuid::Uuid;
use wardlink_service::settings::{
    AdminSettings, BadSetting, CommonSettings, parse_positive_duration,
};

use crate::app::Config;
use crate::controller;
use crate::leader::{Candidate, Terms};
use crate::model::Images;
use crate::reconcile;

/// Whether several operators settle who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LeaderElection {
    /// By a Lease: only its holder writes.
    On,
    /// They do not: only one may run.
    Off,
}

/// The operator of Wardlink: keeps each MessagingCluster as its resource says.
#[derive(Debug, Parser)]
#[command(name = "wardlink-operator", version)]
pub struct Settings {
    /// Namespaces whose clusters are kept, a comma list. Without any all of them.
    #[arg(
        long,
        env = "WARDLINK_WATCH_NAMESPACES",
        value_name = "NAMESPACES",
        value_delimiter = ','
    )]
    watch_namespaces: Vec<String>,

    /// Namespace of this operator, for its Lease. Without it that of its pod.
    #[arg(long, env = "WARDLINK_NAMESPACE")]
    namespace: Option<String>,

    /// Name of this operator in events and in the Lease. Without it the host's name.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pod_name: Option<String>,

    /// How often everything is looked at although nothing changed, a tenth more or less.
    #[arg(long, env = "WARDLINK_RESYNC", default_value = "5m", value_parser = parse_positive_duration)]
    resync: Duration,

    /// How long one reconcile may take before it is given up and tried again.
    #[arg(long, env = "WARDLINK_RECONCILE_DEADLINE", default_value = "60s", value_parser = parse_positive_duration)]
    reconcile_deadline: Duration,

    /// How long a cluster that is being deleted waits for what cannot be removed.
    #[arg(long, env = "WARDLINK_CLEANUP_DEADLINE", default_value = "1m", value_parser = parse_positive_duration)]
    cleanup_deadline: Duration,

    /// Image of the Message Servers of clusters that name none.
    #[arg(long, env = "WARDLINK_MESSAGE_SERVER_IMAGE", value_name = "IMAGE", default_value = concat!("wardlink-ms:", env!("CARGO_PKG_VERSION")))]
    message_server_image: String,

    /// Image of the Business Servers of clusters that name none.
    #[arg(long, env = "WARDLINK_BUSINESS_SERVER_IMAGE", value_name = "IMAGE", default_value = concat!("wardlink-bs:", env!("CARGO_PKG_VERSION")))]
    business_server_image: String,

    /// ClusterRole that lets Message Servers review tokens.
    #[arg(
        long,
        env = "WARDLINK_TOKEN_REVIEW_ROLE",
        value_name = "NAME",
        default_value = "wardlink-token-review"
    )]
    token_review_role: String,

    /// Whether several operators settle who leads.
    #[arg(long, env = "WARDLINK_LEADER_ELECTION", default_value = "on")]
    leader_election: LeaderElection,

    /// Name of the Lease.
    #[arg(
        long,
        env = "WARDLINK_LEASE_NAME",
        value_name = "NAME",
        default_value = "wardlink-operator"
    )]
    lease_name: String,

    /// After which time another operator takes over from one that died (whole seconds).
    #[arg(long, env = "WARDLINK_LEASE_DURATION", default_value = "15s", value_parser = parse_terms)]
    lease_duration: Terms,

    #[command(flatten)]
    admin: AdminSettings,

    #[command(flatten)]
    common: CommonSettings,
}

fn parse_terms(text: &str) -> Result<Terms, String> {
    let expected = || "expected whole seconds from 3s to 1h".to_owned();
    let duration = parse_positive_duration(text)?;
    let whole = duration.subsec_nanos() == 0 && duration <= Duration::from_secs(3_600);
    let seconds = u16::try_from(duration.as_secs()).ok().filter(|_| whole);
    seconds.and_then(Terms::new).ok_or_else(expected)
}

impl Settings {
    /// How to log.
    pub fn common(&self) -> &CommonSettings {
        &self.common
    }

    /// Finds out how the API server is reached: from inside a pod by its service account, else by
    /// `KUBECONFIG`.
    ///
    /// # Errors
    /// The setting, and what it expects.
    pub async fn config(self) -> Result<Config, BadSetting> {
        let kubernetes = kube::Config::infer().await.map_err(|error| {
            BadSetting::new("KUBECONFIG", format!("no way to an API server: {error}"))
        })?;
        Ok(self.with(kubernetes))
    }

    fn with(self, kubernetes: kube::Config) -> Config {
        let instance = self.pod_name.unwrap_or_else(|| {
            let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
            if host.is_empty() { "wardlink-operator".to_owned() } else { host }
        });
        let namespace = self.namespace.unwrap_or_else(|| kubernetes.default_namespace.clone());
        let candidate = (self.leader_election == LeaderElection::On).then(|| Candidate {
            namespace,
            lease: self.lease_name,
            // A container may start anew in its pod: each start is another candidate.
            identity: format!("{instance}_{}", Uuid::new_v4()),
            terms: self.lease_duration,
        });
        let named = |name: &String| !name.is_empty();
        Config {
            kubernetes,
            admin_listen: Some(self.admin.admin_listen),
            candidate,
            controller: controller::Config {
                namespaces: self.watch_namespaces.into_iter().filter(named).collect(),
                instance,
                reconcile: reconcile::Settings {
                    images: Images {
                        message_server: self.message_server_image,
                        business_server: self.business_server_image,
                    },
                    token_review_role: self.token_review_role,
                    resync: self.resync,
                    deadline: self.reconcile_deadline,
                    cleanup: self.cleanup_deadline,
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use wardlink_service::settings::parse_from;

    use super::*;

    fn config(flags: &[&str]) -> Result<Config, String> {
        let flags = std::iter::once("wardlink-operator").chain(flags.iter().copied());
        let settings = parse_from::<Settings, _, _>(flags).map_err(|ending| ending.to_string())?;
        let mut kubernetes = kube::Config::new("http://127.0.0.1:1".parse().expect("an address"));
        kubernetes.default_namespace = "own".to_owned();
        Ok(settings.with(kubernetes))
    }

    #[test]
    fn all_namespaces_are_watched_and_one_operator_leads_unless_it_is_said_otherwise() {
        let usual = config(&[]).expect("defaults");
        assert_eq!(usual.controller.namespaces, [""; 0]);
        assert_eq!(usual.controller.reconcile.resync, Duration::from_secs(300));
        let candidate = usual.candidate.expect("an election");
        assert_eq!(
            (candidate.namespace.as_str(), candidate.lease.as_str()),
            ("own", "wardlink-operator")
        );
        let said = config(&["--watch-namespaces", "a,b", "--leader-election", "off"]);
        let said = said.expect("settings");
        assert_eq!(said.controller.namespaces, ["a", "b"]);
        assert!(said.candidate.is_none());
    }

    #[test]
    fn each_start_is_another_candidate() {
        let identity = || config(&["--pod-name", "operator-0"]).expect("settings").candidate;
        let (one, other) = (identity().expect("one"), identity().expect("another"));
        assert!(one.identity.starts_with("operator-0_"));
        assert_ne!(one.identity, other.identity);
    }

    #[test]
    fn a_bad_value_is_told_what_is_expected() {
        for (flags, expected) in [
            (&["--lease-duration", "2s"][..], "whole seconds from 3s to 1h"),
            (&["--lease-duration", "2500ms"], "whole seconds from 3s to 1h"),
            (&["--resync", "0s"], "above zero"),
            (&["--leader-election", "maybe"], "on, off"),
        ] {
            let Err(text) = config(flags) else { panic!("{flags:?} is taken") };
            assert!(text.contains(expected) && text.contains(flags[0]), "{text}");
        }
    }
}
