use http_body_util::BodyExt;
use serde_json::{Value, json};
use wardlink_service::metrics::registry;

use super::*;

struct Server {
    api: Api,
    inputs: mpsc::Receiver<Input>,
}

fn server(a_second: u32) -> Server {
    let (sender, inputs) = mpsc::channel(64);
    let metrics = Metrics::new(&registry("test", "0"));
    let bytes = NonZeroU32::new(1 << 20).unwrap();
    let api = Api::new(sender, metrics, NonZeroU32::new(a_second).unwrap(), bytes);
    Server { api, inputs }
}

fn holder(send_for: &[&str]) -> Caller {
    let send_for = send_for.iter().map(|text| text.parse().unwrap()).collect();
    Caller::Holder(Identity { end: "H1-A2-lab".parse().unwrap(), expires_at: u64::MAX, send_for })
}

fn holder_of(end: &str) -> Caller {
    let end = end.parse().unwrap();
    Caller::Holder(Identity { end, expires_at: u64::MAX, send_for: Vec::new() })
}

fn request(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post(PATH).header(CONTENT_TYPE, "application/json");
    request.body(Full::new(body.into())).unwrap()
}

fn message() -> Value {
    json!({ "to": "H1-A2-b", "body": 1, "id": "m1" })
}

async fn json_of(answer: Response<Full<Bytes>>) -> Value {
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

/// What one refused call is answered: status, problem, headers.
async fn refused(caller: Caller, request: Request<Full<Bytes>>) -> (u16, Value, HeaderMap) {
    let mut server = server(100);
    let answer = match server.api.check(&request) {
        None => server.api.answer(Ok(caller), request).await,
        Some(answer) => answer,
    };
    assert!(server.inputs.try_recv().is_err(), "nothing is sent");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
    let problem = json_of(answer).await;
    assert_eq!(problem["status"], status);
    assert_eq!(problem["outcome"], "rejected");
    (status, problem, headers)
}

async fn accepted(api: &Api, caller: Caller, request: Request<Full<Bytes>>) -> Accepted {
    let call = api.read_call(&caller, request).await.unwrap();
    api.accept(caller, call).unwrap()
}

fn kind(problem: &Value) -> &str {
    problem["type"].as_str().unwrap().strip_prefix("urn:wardlink:problem:").unwrap()
}

/// What one call that is sent on is answered where its result is this.
async fn answered(outcome: Outcome, reason: Option<Reason>) -> (u16, Value) {
    let mut server = server(100);
    let call = server.api.answer(Ok(holder(&[])), request(message().to_string()));
    let engine = async {
        let Some(Input::Post { caller, from, send, answer }) = server.inputs.recv().await else {
            panic!("nothing was sent");
        };
        assert_eq!((caller.as_str(), from.as_str()), ("H1-A2-lab", "H1-A2-lab"));
        assert_eq!((send.to.as_str(), send.id.as_str()), ("H1-A2-b", "m1"));
        answer.send((outcome, reason)).unwrap();
    };
    let (answer, ()) = tokio::join!(call, engine);
    (answer.status().as_u16(), json_of(answer).await)
}

#[tokio::test]
async fn a_message_that_is_delivered_or_stored_is_answered_200_with_its_id_and_outcome() {
    for (outcome, word) in [(Outcome::Delivered, "delivered"), (Outcome::Stored, "stored")] {
        let (status, answer) = answered(outcome, None).await;
        assert_eq!((status, answer), (200, json!({ "id": "m1", "outcome": word })));
    }
}

#[tokio::test]
async fn each_other_result_has_its_status_and_keeps_its_words() {
    for (outcome, reason, status, kind_of, retry) in [
        (Outcome::Rejected, Reason::MailboxFull, 409, "mailbox-full", true),
        (Outcome::Rejected, Reason::Expired, 410, "expired", false),
        (Outcome::Rejected, Reason::TooLarge, 413, "too-large", false),
        (Outcome::Rejected, Reason::IdReused, 422, "id-reused", false),
        (Outcome::Rejected, Reason::Unavailable, 503, "unavailable", true),
        (Outcome::Rejected, Reason::Overloaded, 503, "overloaded", true),
        (Outcome::Rejected, Reason::Stopping, 503, "stopping", true),
        (Outcome::Unknown, Reason::Deadline, 504, "unknown", true),
        (Outcome::Unknown, Reason::Expired, 504, "unknown", false),
    ] {
        let (got, problem) = answered(outcome, Some(reason)).await;
        assert_eq!((got, kind(&problem)), (status, kind_of), "{problem}");
        assert_eq!(problem["outcome"], outcome.as_str());
        assert_eq!(problem["reason"], reason.as_str());
        assert_eq!((&problem["retry"], &problem["id"]), (&json!(retry), &json!("m1")));
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_call_is_told_and_nothing_is_sent() {
    let header = |mut request: Request<Full<Bytes>>, name: HeaderName, value: &'static str| {
        request.headers_mut().append(name, HeaderValue::from_static(value));
        request
    };
    let good = || request(message().to_string());
    let without_type = || Request::post(PATH).body(Full::new("{}".into())).unwrap();
    for (call, status, word) in [
        (request("nonsense"), 400, "malformed"),
        (request(""), 400, "malformed"),
        (request("[]"), 400, "malformed"),
        (request(&b"{\"to\":\"\xff\"}"[..]), 400, "malformed"),
        (request(r#"{"to":"H-A-b","to":"H-A-c","body":1}"#), 400, "malformed"),
        (request(r#"{"to":"H-A","body":1}"#), 400, "invalid"),
        (request(r#"{"to":"H-A-b"}"#), 400, "invalid"),
        (request(r#"{"to":"H-A-b","body":1,"from":7}"#), 400, "invalid"),
        (header(good(), IDEMPOTENCY_KEY, "not an id"), 400, "invalid"),
        (header(header(good(), IDEMPOTENCY_KEY, "m1"), IDEMPOTENCY_KEY, "m1"), 400, "invalid"),
        (header(good(), IDEMPOTENCY_KEY, "m2"), 422, "id-mismatch"),
        (request(vec![b' '; TERMINAL_FRAME_MAX_BYTES + 1]), 413, "too-large"),
        (header(good(), CONTENT_LENGTH, "9999999"), 413, "too-large"),
        (request(format!(r#"{{"to":"H-A-b","body":"{}"}}"#, "x".repeat(65_536))), 413, "too-large"),
        (without_type(), 415, "media-type"),
        (header(without_type(), CONTENT_TYPE, "text/plain"), 415, "media-type"),
        (header(good(), CONTENT_TYPE, "application/json"), 415, "media-type"),
        (header(good(), CONTENT_ENCODING, "gzip"), 415, "media-type"),
    ] {
        let (got, problem, headers) = refused(holder(&["*"]), call).await;
        assert_eq!((got, kind(&problem)), (status, word), "{problem}");
        assert_eq!(problem["retry"], false);
        assert!(!headers.contains_key("retry-after"));
    }
}

#[tokio::test]
async fn a_method_that_is_not_post_is_told_which_is() {
    let mut call = request("");
    *call.method_mut() = Method::GET;
    let (status, _, headers) = refused(holder(&[]), call).await;
    assert_eq!((status, headers[ALLOW].to_str().unwrap()), (405, "POST"));
}

#[test]
fn what_is_wrong_with_a_head_is_told_before_a_token_is_verified() {
    let server = server(100);
    let mut get = request("");
    *get.method_mut() = Method::GET;
    let plain = Request::post(PATH).header(CONTENT_TYPE, "text/plain");
    for (call, status) in [(get, 405), (plain.body(Full::new("".into())).unwrap(), 415)] {
        assert_eq!(server.api.check(&call).unwrap().status(), status);
    }
    assert!(server.api.check(&request("nonsense")).is_none());
}

#[tokio::test]
async fn without_a_token_that_counts_nothing_is_read() {
    for (error, challenge) in [
        (TokenError::Missing, "Bearer realm=\"wardlink\""),
        (TokenError::Expired, "Bearer realm=\"wardlink\", error=\"invalid_token\""),
    ] {
        let server = server(100);
        let answer = server.api.answer(Err(error.into()), request("nonsense")).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(answer.headers()[WWW_AUTHENTICATE], challenge);
        assert!(answer.extensions().get::<Known>().is_none(), "its connection ends");
        assert_eq!(json_of(answer).await["retry"], false);
    }
}

#[tokio::test]
async fn who_comes_before_the_keys_is_asked_to_come_again() {
    let answer = server(100).api.answer(Err(Unproven::NoKeys), request("nonsense")).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "5");
    assert_eq!(json_of(answer).await["retry"], true);
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_is_told_so_like_all_others() {
    let answer = server(100).api.foreign();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
    assert_eq!(kind(&json_of(answer).await), "forbidden");
}

#[tokio::test]
async fn a_holder_sends_for_others_only_where_its_token_says_so() {
    let posted = |from: &'static str| {
        request(json!({ "to": "H1-A2-b", "body": 1, "from": from }).to_string())
    };
    let (status, problem, _) = refused(holder(&[]), posted("H1-A2-other")).await;
    assert_eq!((status, kind(&problem)), (403, "forbidden"));
    let (status, ..) = refused(holder(&["H2-*"]), posted("H1-A2-other")).await;
    assert_eq!(status, 403);
    for (caller, from) in [(holder(&["H1-A2-*"]), "H1-A2-other"), (holder(&[]), "H1-A2-lab")] {
        let accepted = accepted(&server(1).api, caller, posted(from)).await;
        assert_eq!((accepted.caller.as_str(), accepted.from.as_str()), ("H1-A2-lab", from));
    }
}

#[tokio::test]
async fn in_development_mode_the_sender_must_be_named_and_is_believed() {
    let (status, problem, _) = refused(Caller::Anyone, request(message().to_string())).await;
    assert_eq!((status, problem["id"].as_str()), (400, Some("m1")));
    let post = json!({ "to": "H1-A2-b", "body": 1, "from": "H1-A2-x" }).to_string();
    let accepted = accepted(&server(1).api, Caller::Anyone, request(post)).await;
    assert_eq!((accepted.caller.as_str(), accepted.from.as_str()), ("H1-A2-x", "H1-A2-x"));
}

#[tokio::test]
async fn the_id_comes_from_the_body_or_the_header_or_is_made() {
    let server = server(100);
    let accept = async |id: Option<&str>, key: Option<&'static str>| {
        let mut call = request(json!({ "to": "H1-A2-b", "body": 1, "id": id }).to_string());
        if let Some(key) = key {
            call.headers_mut().insert(IDEMPOTENCY_KEY, HeaderValue::from_static(key));
        }
        accepted(&server.api, holder(&[]), call).await.send.id.as_str().to_owned()
    };
    assert_eq!(accept(Some("m1"), None).await, "m1");
    assert_eq!(accept(None, Some("m2")).await, "m2");
    assert_eq!(accept(None, Some("\"m3\"")).await, "m3");
    assert_eq!(accept(Some("m4"), Some("m4")).await, "m4");
    let made = accept(None, None).await;
    assert!(Uuid::parse_str(&made).is_ok() && made != accept(None, None).await);
}

#[tokio::test]
async fn a_caller_that_posts_too_fast_is_told_when_to_come_again() {
    let server = server(1);
    for _ in 0..2 {
        accepted(&server.api, holder(&[]), request(message().to_string())).await;
    }
    let answer = server.api.answer(Ok(holder(&[])), request("nonsense")).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(json_of(answer).await["retry"], true);
}

/// A body of which nothing comes.
struct Silent;

impl Body for Silent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

fn silent() -> Request<Silent> {
    request("").map(|_| Silent)
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up_and_no_more_are_read_than_may() {
    let server = server(10_000);
    let calls = (0..READING_MAX + 1)
        .map(|n| server.api.answer(Ok(holder_of(&format!("H1-LAB-{n}"))), silent()));
    let answers = futures_util::future::join_all(calls).await;
    let count = |status: u16| answers.iter().filter(|a| a.status().as_u16() == status).count();
    assert_eq!((count(408), count(503)), (READING_MAX, 1));
}

#[tokio::test(start_paused = true)]
async fn one_caller_with_slow_bodies_takes_no_others_places() {
    let server = server(10_000);
    let slow = (0..READING_MAX).map(|_| server.api.answer(Ok(holder(&[])), silent()));
    let other = server.api.answer(Ok(holder_of("H1-LAB-other")), silent());
    let (answers, other) = tokio::join!(futures_util::future::join_all(slow), other);
    let refused = answers.iter().filter(|a| a.status() == StatusCode::TOO_MANY_REQUESTS).count();
    assert_eq!(refused, READING_MAX - 64);
    assert_eq!(other.status(), StatusCode::REQUEST_TIMEOUT, "it was read");
}

#[tokio::test]
async fn a_caller_has_a_rate_of_bytes_too() {
    let server = server(10_000);
    let large = serde_json::json!({ "to": "nobody", "body": "x".repeat(60_000) }).to_string();
    let mut statuses = Vec::new();
    // None reaches the engine: what is wrong with it is found after its bytes are taken.
    for _ in 0..40 {
        let call = server.api.answer(Ok(holder(&[])), request(large.clone()));
        statuses.push(call.await.status());
    }
    // 2 MiB at once: 34 of 59 KiB.
    assert_eq!(statuses[..34], [StatusCode::BAD_REQUEST; 34]);
    assert!(statuses[36..].contains(&StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
    let call = server.api.answer(Ok(holder_of("H1-LAB-other")), request(large));
    assert_eq!(call.await.status(), StatusCode::BAD_REQUEST, "others are not hurt");
}

#[tokio::test]
async fn only_whose_call_was_read_keeps_its_connection() {
    let server = server(2);
    let known = |answer: &Response<Full<Bytes>>| answer.extensions().get::<Known>().is_some();
    let wrong = server.api.answer(Ok(holder(&[])), request("{}".to_owned())).await;
    assert!(wrong.status() == StatusCode::BAD_REQUEST && known(&wrong));
    let stranger = Unproven::Token(TokenError::Missing);
    let refused = server.api.answer(Err(stranger), request(message().to_string())).await;
    assert!(refused.status() == StatusCode::UNAUTHORIZED && !known(&refused));
    for _ in 0..4 {
        let fast = server.api.answer(Ok(holder(&[])), request("{}".to_owned())).await;
        assert_eq!(known(&fast), fast.status() == StatusCode::BAD_REQUEST, "{}", fast.status());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_has_its_answer_even_if_the_engine_gives_none() {
    let mut server = server(100);
    let call = server.api.answer(Ok(holder(&[])), request(message().to_string()));
    let engine = server.inputs.recv();
    let (answer, _kept) = tokio::join!(call, engine);
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(json_of(answer).await["outcome"], "unknown");
}

#[tokio::test]
async fn a_call_that_hangs_up_leaves_nobody_who_waits_for_the_answer() {
    let mut server = server(100);
    let call = server.api.answer(Ok(holder(&[])), request(message().to_string()));
    let input = tokio::select! {
        _ = call => panic!("there is no answer yet"),
        input = server.inputs.recv() => input,
    };
    let Some(Input::Post { answer, .. }) = input else { panic!("nothing was sent") };
    assert!(answer.is_closed());
}
