//! What keeps the operator from writing what it wants, as a reason and a message.

use super::Reason;
use crate::model::{ChildKind, Problem};

/// What a problem is in a condition.
pub(super) fn reason(problem: &Problem) -> Reason {
    match problem {
        Problem::InvalidSpec { .. } => Reason::InvalidSpec,
        Problem::NameConflict { .. } => Reason::NameConflict,
        Problem::Rejected { .. } => Reason::Rejected,
        Problem::Forbidden { .. } => Reason::Forbidden,
        Problem::LinkIdentityNotAllowed { .. } => Reason::LinkIdentityNotAllowed,
        Problem::KindMissing { .. } => Reason::KindMissing,
        Problem::SecretNotFound { .. } => Reason::SecretNotFound,
        Problem::Unavailable { .. } => Reason::ApiUnavailable,
    }
}

/// Of these problems the first that a person must act on most.
pub(super) fn worst(problems: &[Problem], which: impl Fn(&Problem) -> bool) -> Option<&Problem> {
    let rank = |problem: &Problem| Reason::ALL.iter().position(|r| *r == reason(problem));
    let of_these = problems.iter().filter(|problem| which(problem));
    of_these.min_by_key(|problem| (rank(problem), words(problem)))
}

/// For people.
pub(super) fn words(problem: &Problem) -> String {
    match problem {
        Problem::InvalidSpec { message } => message.clone(),
        Problem::NameConflict { kind, name } => {
            let kind = kind_word(*kind);
            format!("{kind} {name} exists and does not belong to this cluster; it is left alone")
        }
        Problem::Rejected { kind, name, message } => {
            format!("the API server refuses {} {name}: {message}", kind_word(*kind))
        }
        Problem::Forbidden { kind, name, message } => {
            format!("the operator may not write {} {name}: {message}", kind_word(*kind))
        }
        Problem::LinkIdentityNotAllowed { command } => format!(
            "the operator may not let Message Servers review tokens; an administrator may: {command}"
        ),
        Problem::KindMissing { kind } => {
            format!("this Kubernetes has no {}", kind_word(*kind))
        }
        Problem::SecretNotFound { secret, purpose } => {
            format!("Secret {secret} is not there; it is for {purpose}")
        }
        Problem::Unavailable { message } => message.clone(),
    }
}

fn kind_word(kind: ChildKind) -> &'static str {
    match kind {
        ChildKind::ServiceAccount => "ServiceAccount",
        ChildKind::Secret => "Secret",
        ChildKind::Service => "Service",
        ChildKind::NetworkPolicy => "NetworkPolicy",
        ChildKind::PodDisruptionBudget => "PodDisruptionBudget",
        ChildKind::ClusterRoleBinding => "ClusterRoleBinding",
        ChildKind::Deployment => "Deployment",
        ChildKind::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
        ChildKind::Ingress => "Ingress",
        ChildKind::HttpRoute => "HTTPRoute",
    }
}
