//! What a call over HTTP is told when its message was not delivered or stored: problem details
//! (RFC 9457), from one closed table.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;
use wardlink_wire::{MessageId, Outcome, Reason};

/// What went wrong. The set is closed: types in the document, and a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Malformed,
    Invalid,
    Unauthorized,
    Forbidden,
    Method,
    Slow,
    MailboxFull,
    Expired,
    TooLarge,
    MediaType,
    IdReused,
    IdMismatch,
    RateLimited,
    Unavailable,
    Overloaded,
    Deadline,
    Stopping,
    Unknown,
}

/// What is the same for all problems of a kind.
struct Row {
    /// Last part of `type`; metric label.
    word: &'static str,
    status: StatusCode,
    title: &'static str,
    /// The word of the terminal protocol, where there is one.
    reason: Option<Reason>,
    /// Whether the same call may succeed later.
    retry: bool,
}

impl Kind {
    /// All kinds, for closed label sets and tests.
    pub(super) const ALL: [Kind; 18] = [
        Kind::Malformed,
        Kind::Invalid,
        Kind::Unauthorized,
        Kind::Forbidden,
        Kind::Method,
        Kind::Slow,
        Kind::MailboxFull,
        Kind::Expired,
        Kind::TooLarge,
        Kind::MediaType,
        Kind::IdReused,
        Kind::IdMismatch,
        Kind::RateLimited,
        Kind::Unavailable,
        Kind::Overloaded,
        Kind::Deadline,
        Kind::Stopping,
        Kind::Unknown,
    ];

    fn row(self) -> Row {
        let of = |word, status, title, reason: Option<Reason>| Row {
            word,
            status,
            title,
            reason,
            retry: reason.is_some_and(Reason::retry),
        };
        let invalid = Some(Reason::Invalid);
        match self {
            Kind::Malformed => {
                of("malformed", StatusCode::BAD_REQUEST, "message cannot be read", invalid)
            }
            Kind::Invalid => of("invalid", StatusCode::BAD_REQUEST, "message is wrong", invalid),
            Kind::Unauthorized => {
                of("unauthorized", StatusCode::UNAUTHORIZED, "token is missing or refused", None)
            }
            Kind::Forbidden => {
                of("forbidden", StatusCode::FORBIDDEN, "caller may not send this", None)
            }
            Kind::Method => {
                of("method", StatusCode::METHOD_NOT_ALLOWED, "messages are posted", None)
            }
            Kind::Slow => {
                let row = of("slow", StatusCode::REQUEST_TIMEOUT, "message came too slowly", None);
                Row { retry: true, ..row }
            }
            Kind::MailboxFull => {
                let reason = Some(Reason::MailboxFull);
                of("mailbox-full", StatusCode::CONFLICT, "target's mailbox is full", reason)
            }
            Kind::Expired => {
                of("expired", StatusCode::GONE, "time to live has ended", Some(Reason::Expired))
            }
            Kind::TooLarge => {
                let reason = Some(Reason::TooLarge);
                of("too-large", StatusCode::PAYLOAD_TOO_LARGE, "message is too large", reason)
            }
            Kind::MediaType => {
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                of("media-type", status, "message must be application/json", None)
            }
            Kind::IdReused => {
                let (status, reason) = (StatusCode::UNPROCESSABLE_ENTITY, Some(Reason::IdReused));
                of("id-reused", status, "id names another message", reason)
            }
            Kind::IdMismatch => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                of("id-mismatch", status, "id and Idempotency-Key differ", invalid)
            }
            Kind::RateLimited => {
                let (status, reason) = (StatusCode::TOO_MANY_REQUESTS, Some(Reason::Overloaded));
                of("rate-limited", status, "caller sends too fast", reason)
            }
            Kind::Unavailable => {
                let (status, reason) = (StatusCode::SERVICE_UNAVAILABLE, Some(Reason::Unavailable));
                of("unavailable", status, "message server cannot be reached", reason)
            }
            Kind::Overloaded => {
                let (status, reason) = (StatusCode::SERVICE_UNAVAILABLE, Some(Reason::Overloaded));
                of("overloaded", status, "servers have too much to do", reason)
            }
            Kind::Deadline => {
                let (status, reason) = (StatusCode::SERVICE_UNAVAILABLE, Some(Reason::Deadline));
                of("deadline", status, "send deadline has passed", reason)
            }
            Kind::Stopping => {
                let (status, reason) = (StatusCode::SERVICE_UNAVAILABLE, Some(Reason::Stopping));
                of("stopping", status, "server is stopping", reason)
            }
            Kind::Unknown => of("unknown", StatusCode::GATEWAY_TIMEOUT, "nobody can know", None),
        }
    }

    /// Last part of the problem's `type`, and metric label.
    pub(super) fn word(self) -> &'static str {
        self.row().word
    }

    /// The kind of a message that was `rejected`.
    fn rejected(reason: Reason) -> Self {
        match reason {
            Reason::MailboxFull => Kind::MailboxFull,
            Reason::TooLarge => Kind::TooLarge,
            Reason::Expired => Kind::Expired,
            Reason::IdReused => Kind::IdReused,
            Reason::Unavailable => Kind::Unavailable,
            Reason::Deadline => Kind::Deadline,
            Reason::Overloaded => Kind::Overloaded,
            Reason::Invalid => Kind::Invalid,
            Reason::Stopping => Kind::Stopping,
        }
    }
}

/// One problem, as it is told.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    detail: String,
    id: Option<MessageId>,
    outcome: Outcome,
    reason: Option<Reason>,
    retry: bool,
    retry_after_s: Option<u64>,
}

impl Problem {
    /// A message that will not arrive by this call.
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let row = kind.row();
        let busy = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
        Self {
            kind,
            detail: detail.into(),
            id: None,
            outcome: Outcome::Rejected,
            reason: row.reason,
            retry: row.retry,
            retry_after_s: busy.contains(&row.status).then_some(1),
        }
    }

    /// A message that was sent on, and was neither delivered nor stored.
    pub(super) fn of(outcome: Outcome, reason: Option<Reason>, id: MessageId) -> Self {
        let (kind, detail) = match (outcome, reason) {
            (Outcome::Rejected, Some(reason)) => (
                Kind::rejected(reason),
                format!("rejected: {reason}; the message will not arrive by this call"),
            ),
            (Outcome::Rejected, None) => (Kind::Unavailable, "rejected".to_owned()),
            (_, reason) => {
                let why = reason.map_or("no answer", Reason::as_str);
                let detail = format!(
                    "unknown: {why}; it may still arrive; posted again under the same id a \
                     session of the target is shown it once"
                );
                (Kind::Unknown, detail)
            }
        };
        let retry = reason.is_none_or(Reason::retry);
        Self { id: Some(id), outcome, reason, retry, ..Self::new(kind, detail) }
    }

    /// The message that it concerns.
    pub(super) fn about(self, id: Option<MessageId>) -> Self {
        Self { id, ..self }
    }

    /// In how many seconds the caller may come again.
    pub(super) fn after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// The answer.
    pub(super) fn answer(&self) -> Response<Full<Bytes>> {
        #[derive(Serialize)]
        struct Json<'a> {
            r#type: String,
            title: &'static str,
            status: u16,
            detail: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a MessageId>,
            outcome: Outcome,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<Reason>,
            retry: bool,
        }
        let Row { word, status, title, .. } = self.kind.row();
        let json = Json {
            r#type: format!("urn:wardlink:problem:{word}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            id: self.id.as_ref(),
            outcome: self.outcome,
            reason: self.reason,
            retry: self.retry,
        };
        // Texts and numbers cannot fail to serialize.
        let mut answer = Response::new(Full::from(serde_json::to_vec(&json).unwrap_or_default()));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_distinct_and_every_refusal_has_a_status_of_an_error() {
        for (i, kind) in Kind::ALL.into_iter().enumerate() {
            assert!(Kind::ALL[i + 1..].iter().all(|other| other.word() != kind.word()));
            let status = kind.row().status;
            assert!(status.is_client_error() || status.is_server_error(), "{kind:?}");
        }
    }

    #[test]
    fn each_reason_of_a_refusal_is_told_as_it_is() {
        for reason in Reason::ALL {
            let problem = Problem::of(Outcome::Rejected, Some(reason), "m1".parse().unwrap());
            assert_eq!(problem.kind.row().reason, Some(reason));
            assert_eq!((problem.outcome, problem.retry), (Outcome::Rejected, reason.retry()));
            let problem = Problem::of(Outcome::Unknown, Some(reason), "m1".parse().unwrap());
            assert_eq!((problem.kind, problem.outcome), (Kind::Unknown, Outcome::Unknown));
            assert_eq!((problem.reason, problem.retry), (Some(reason), reason.retry()));
        }
    }

    #[test]
    fn who_is_to_come_again_later_is_told_when() {
        let wait = |kind| {
            let answer = Problem::new(kind, "").answer();
            answer.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(wait(Kind::RateLimited).as_deref(), Some("1"));
        assert_eq!(wait(Kind::Overloaded).as_deref(), Some("1"));
        assert_eq!(wait(Kind::Invalid), None);
    }
}
