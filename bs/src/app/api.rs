//! Messages over HTTP, for the hospital's own systems: a POST is one message, and its answer is
//! the message's result. docs/HTTP.md is for who calls it, docs/openapi.yaml describes it.
//!
//! Owns the reading of a call and the way of its answer. What becomes of the message is the core's
//! to decide, who the caller is the identity's.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::header::{
    ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;
use wardlink_identity::{Identity, TokenError};
use wardlink_wire::terminal::{Post, TERMINAL_FRAME_MAX_BYTES, TerminalError, UpSend};
use wardlink_wire::{EndId, MessageId, Outcome, Reason};

use super::auth::Unproven;
use super::front::Known;
use super::input::Input;
use super::metrics::Metrics;
use super::problem::{Kind, Problem};
use super::rate::Buckets;
use super::readers::Readers;

/// Where messages are posted.
pub(super) const PATH: &str = "/v1/messages";
/// A name for the message in a header, as other systems give it.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A body that takes longer to arrive is given up.
const READ: Duration = Duration::from_secs(10);
/// Bodies that are read at a time: 1,024 of 66 KiB are 66 MiB. Further calls are refused.
const READING_MAX: usize = 1_024;
/// Bytes are taken in such steps.
const KIB: usize = 1_024;
/// The engine answers within the send deadline of 10 s; a margin on top, after which it counts as
/// lost.
const ANSWER: Duration = Duration::from_secs(12);

/// A caller that comes before the keys for tokens comes again after so many seconds.
const KEYS_S: u64 = 5;

/// Who calls.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// Anybody, on loopback in development mode: who it says it is.
    Anyone,
    /// The holder of a token.
    Holder(Identity),
}

/// What all calls share.
#[derive(Debug)]
pub(super) struct Api {
    inputs: mpsc::Sender<Input>,
    metrics: Arc<Metrics>,
    buckets: Buckets,
    /// The same in KiB.
    byte_buckets: Buckets,
    reading: Semaphore,
    readers: Readers,
}

/// A call that has come whole.
#[derive(Debug)]
struct Call {
    key: Option<MessageId>,
    text: Bytes,
}

/// A message that may be sent.
#[derive(Debug)]
struct Accepted {
    caller: EndId,
    from: EndId,
    send: UpSend,
}

impl Api {
    /// Messages go to `inputs`; each caller may post so many a second, and so many bytes.
    pub(super) fn new(
        inputs: mpsc::Sender<Input>,
        metrics: Arc<Metrics>,
        a_second: NonZeroU32,
        bytes_a_second: NonZeroU32,
    ) -> Self {
        let kib = NonZeroU32::new(bytes_a_second.get() / KIB as u32).unwrap_or(NonZeroU32::MIN);
        Self {
            inputs,
            metrics,
            buckets: Buckets::new(a_second),
            byte_buckets: Buckets::new(kib),
            reading: Semaphore::new(READING_MAX),
            readers: Readers::default(),
        }
    }

    /// Looks at a call of [`PATH`], whatever its method, before it is known whose it is: what is
    /// wrong already needs no token verified.
    /// `None`: nothing so far.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        if request.method() != Method::POST {
            let mut answer = self.refuse(&Problem::new(Kind::Method, "only POST"));
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return Some(answer);
        }
        check_head(request.headers()).err().map(|problem| self.refuse(&problem))
    }

    /// Answers one call that [`Api::check`] has let pass. Dropped before it has answered, it takes
    /// the message back as far as that can be done.
    pub(super) async fn answer<B>(
        &self,
        caller: Result<Caller, Unproven>,
        request: Request<B>,
    ) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let caller = match caller {
            Ok(caller) => caller,
            Err(Unproven::Token(error)) => {
                self.metrics.front.token_refused(&error);
                return self.unauthorized(&error);
            }
            Err(Unproven::NoKeys) => {
                let detail = "the keys for tokens have not been read yet";
                return self.refuse(&Problem::new(Kind::Unavailable, detail).after(KEYS_S));
            }
        };
        let call = match self.read_call(&caller, request).await {
            Ok(call) => call,
            Err(problem) => return self.refuse(&problem),
        };
        let mut answer = match self.accept(caller, call) {
            Ok(accepted) => self.send(accepted).await,
            Err(problem) => self.refuse(&problem),
        };
        answer.extensions_mut().insert(Known);
        answer
    }

    /// The answer to a page of an origin that may not call.
    pub(super) fn foreign(&self) -> Response<Full<Bytes>> {
        self.refuse(&Problem::new(Kind::Forbidden, "pages of this origin may not call"))
    }

    fn refuse(&self, problem: &Problem) -> Response<Full<Bytes>> {
        self.metrics.posts.refused(problem.kind);
        problem.answer()
    }

    /// RFC 6750, section 3: what is missing is asked for, what is refused is said to be.
    fn unauthorized(&self, error: &TokenError) -> Response<Full<Bytes>> {
        let mut answer = self.refuse(&Problem::new(Kind::Unauthorized, error.to_string()));
        let challenge = match error {
            TokenError::Missing => "Bearer realm=\"wardlink\"",
            _ => "Bearer realm=\"wardlink\", error=\"invalid_token\"",
        };
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        answer
    }

    /// Reads a call whole, as far as its caller's rates go.
    async fn read_call<B>(&self, caller: &Caller, request: Request<B>) -> Result<Call, Problem>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if let Caller::Holder(identity) = caller {
            self.take(&identity.end)?;
        }
        let (parts, body) = request.into_parts();
        let key = idempotency_key(&parts.headers)?;
        let text = self.read(caller, body).await?;
        Ok(Call { key, text })
    }

    /// Says what is wrong with a call, if anything is.
    fn accept(&self, caller: Caller, call: Call) -> Result<Accepted, Problem> {
        let Call { key, text } = call;
        if let Caller::Holder(identity) = &caller {
            self.take_bytes(&identity.end, text.len())?;
        }
        let length = text.len();
        let text = std::str::from_utf8(&text)
            .map_err(|_| Problem::new(Kind::Malformed, "message is no UTF-8"))?;
        let post = Post::decode(text).map_err(|bad| {
            let kind = match (bad.code, bad.reason) {
                (_, Reason::TooLarge) => Kind::TooLarge,
                (TerminalError::Malformed, _) => Kind::Malformed,
                _ => Kind::Invalid,
            };
            Problem::new(kind, bad.text).about(bad.id)
        })?;
        let Post { id, to, from, body, ttl_s } = post;
        let id = match (id, key) {
            (Some(id), Some(key)) if id != key => {
                let detail = "give one of them, or both the same";
                return Err(Problem::new(Kind::IdMismatch, detail));
            }
            (Some(id), _) | (None, Some(id)) => id,
            (None, None) => MessageId::from_uuid(Uuid::new_v4()),
        };
        let about = |problem: Problem| problem.about(Some(id.clone()));
        let believed = matches!(caller, Caller::Anyone);
        let (caller, from) = sender(caller, from).map_err(about)?;
        if believed {
            self.take(&caller).and_then(|()| self.take_bytes(&caller, length)).map_err(about)?;
        }
        let send = UpSend { id, to, body, ttl_s };
        Ok(Accepted { caller, from, send })
    }

    /// One message of this caller's rate.
    fn take(&self, caller: &EndId) -> Result<(), Problem> {
        let refused = |wait| too_fast(wait, "more messages than this caller may send");
        self.buckets.take(caller, NonZeroU32::MIN).map_err(refused)
    }

    /// So many bytes of this caller's rate, in whole KiB.
    fn take_bytes(&self, caller: &EndId, bytes: usize) -> Result<(), Problem> {
        let kib = u32::try_from(bytes.div_ceil(KIB)).ok().and_then(NonZeroU32::new);
        let refused = |wait| too_fast(wait, "more bytes than this caller may send");
        self.byte_buckets.take(caller, kib.unwrap_or(NonZeroU32::MIN)).map_err(refused)
    }

    async fn read<B>(&self, caller: &Caller, body: B) -> Result<Bytes, Problem>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Ok(_permit) = self.reading.try_acquire() else {
            return Err(Problem::new(Kind::Overloaded, "too many calls at a time"));
        };
        let _place = match caller {
            Caller::Holder(identity) => match self.readers.enter(&identity.end) {
                Some(place) => Some(place),
                None => {
                    let detail = "too many calls of this caller at a time";
                    return Err(Problem::new(Kind::RateLimited, detail).after(1));
                }
            },
            Caller::Anyone => None,
        };
        match timeout(READ, Limited::new(body, TERMINAL_FRAME_MAX_BYTES).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(Problem::new(Kind::Malformed, "message has not come whole")),
            Err(_) => {
                let detail = format!("message has not come within {} s", READ.as_secs());
                Err(Problem::new(Kind::Slow, detail))
            }
        }
    }

    /// Has the message sent and waits for its result.
    async fn send(&self, accepted: Accepted) -> Response<Full<Bytes>> {
        let Accepted { caller, from, send } = accepted;
        let id = send.id.clone();
        let (answer, result) = oneshot::channel();
        let posted = async {
            let input = Input::Post { caller, from, send, answer };
            // The engine is gone only at the end of the process, and the message with it.
            if self.inputs.send(input).await.is_err() {
                return (Outcome::Rejected, Some(Reason::Stopping));
            }
            result.await.unwrap_or((Outcome::Unknown, Some(Reason::Stopping)))
        };
        let late = (Outcome::Unknown, Some(Reason::Deadline));
        let (outcome, reason) = timeout(ANSWER, posted).await.unwrap_or(late);
        match outcome {
            Outcome::Delivered | Outcome::Stored => {
                self.metrics.posts.taken(outcome);
                taken(&id, outcome)
            }
            Outcome::Rejected | Outcome::Unknown => self.refuse(&Problem::of(outcome, reason, id)),
        }
    }
}

fn too_fast(wait: Duration, detail: &'static str) -> Problem {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Problem::new(Kind::RateLimited, detail).after(seconds.max(1))
}

fn too_large() -> Problem {
    let detail = format!("call is larger than {TERMINAL_FRAME_MAX_BYTES} bytes");
    Problem::new(Kind::TooLarge, detail)
}

/// What can be said before the body has come.
fn check_head(headers: &HeaderMap) -> Result<(), Problem> {
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(|coding| !plain(coding)) {
        return Err(Problem::new(Kind::MediaType, "message must not be compressed"));
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(kind), None) = (types.next(), types.next()) else {
        return Err(Problem::new(Kind::MediaType, "one Content-Type is needed"));
    };
    let essence = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(Kind::MediaType, "Content-Type must be application/json"));
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > TERMINAL_FRAME_MAX_BYTES as u64) {
        return Err(too_large());
    }
    Ok(())
}

/// The id in the header: as it is, or in quotes as the header's draft has it.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<MessageId>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let text = key.to_str().unwrap_or_default();
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    match (bare.parse(), keys.next()) {
        (Ok(id), None) => Ok(Some(id)),
        _ => {
            let detail = "Idempotency-Key must match [A-Za-z0-9_.:-]{1,64}, once";
            Err(Problem::new(Kind::Invalid, detail))
        }
    }
}

/// Whose bounds the message counts against, and who the target is shown as its sender.
fn sender(caller: Caller, from: Option<EndId>) -> Result<(EndId, EndId), Problem> {
    match (caller, from) {
        (Caller::Anyone, Some(from)) => Ok((from.clone(), from)),
        (Caller::Anyone, None) => {
            Err(Problem::new(Kind::Invalid, "from is needed in development mode"))
        }
        (Caller::Holder(identity), None) => Ok((identity.end.clone(), identity.end)),
        (Caller::Holder(identity), Some(from)) if identity.may_send_as(&from) => {
            Ok((identity.end, from))
        }
        (Caller::Holder(_), Some(_)) => {
            Err(Problem::new(Kind::Forbidden, "from is another end, and sendFor does not name it"))
        }
    }
}

/// The answer for a message that was delivered or stored.
fn taken(id: &MessageId, outcome: Outcome) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    struct Json<'a> {
        id: &'a MessageId,
        outcome: Outcome,
    }
    // Two texts cannot fail to serialize.
    let json = serde_json::to_vec(&Json { id, outcome }).unwrap_or_default();
    let mut answer = Response::new(Full::from(json));
    *answer.status_mut() = StatusCode::OK;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

#[cfg(test)]
mod tests;
