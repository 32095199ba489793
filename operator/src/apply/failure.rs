//! What an answer of the API server means: the problem that it is for a user.

use std::error::Error as _;

use crate::model::{ChildKind, Problem};

/// Most characters of the API server's words in a message.
const WORDS: usize = 512;

/// What a failed request for an object means.
pub fn problem(kind: ChildKind, name: &str, error: &kube::Error) -> Problem {
    let (name, message) = (name.to_owned(), words(error));
    match error {
        kube::Error::Api(status) => match status.code {
            400 | 405 | 413 | 415 | 422 => Problem::Rejected { kind, name, message },
            403 => Problem::Forbidden { kind, name, message },
            404 if is_kind_missing(status) => Problem::KindMissing { kind },
            _ => unavailable(kind, &name, &message),
        },
        _ => unavailable(kind, &name, &message),
    }
}

/// A problem that passes.
pub(super) fn unavailable(kind: ChildKind, name: &str, what: &str) -> Problem {
    Problem::Unavailable { message: format!("{} {name}: {what}", kind.as_str()) }
}

/// An answer about a resource that the API server does not serve names no object and no
/// namespace.
fn is_kind_missing(status: &kube::core::Status) -> bool {
    let named = status.details.as_ref().is_some_and(|details| !details.name.is_empty());
    !named
}

pub(super) fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

pub(super) fn is_invalid(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422)
}

/// What the API server said, or why it could not be asked, with all causes.
pub fn words(error: &kube::Error) -> String {
    let mut words = match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => format!("answered {}", status.code),
        error => {
            let mut words = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                let cause_words = cause.to_string();
                if !words.contains(&cause_words) {
                    words = format!("{words}: {cause_words}");
                }
                source = cause.source();
            }
            words
        }
    };
    if let Some((end, _)) = words.char_indices().nth(WORDS) {
        words.truncate(end);
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use kube::core::response::StatusDetails;

    use super::*;

    fn of(code: u16, details: Option<&str>) -> Problem {
        let details = details.map(|name| StatusDetails {
            name: name.to_owned(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        });
        let status = Status { code, details, ..Status::default() };
        problem(ChildKind::HttpRoute, "ward", &kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn only_what_the_user_must_change_is_terminal() {
        for code in [400, 413, 422] {
            assert!(of(code, None).is_terminal(), "{code}");
        }
        for code in [401, 403, 404, 409, 410, 429, 500, 503, 504] {
            assert!(!of(code, Some("ward")).is_terminal(), "{code}");
        }
    }

    #[test]
    fn a_kind_that_is_not_served_is_told_from_an_object_that_is_not_there() {
        assert_eq!(of(404, None), Problem::KindMissing { kind: ChildKind::HttpRoute });
        assert!(matches!(of(404, Some("ward")), Problem::Unavailable { .. }));
    }
}
