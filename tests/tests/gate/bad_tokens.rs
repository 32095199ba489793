//! A table of tokens that do not count, each shown in every way there is.

use anyhow::{Context, ensure};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use wardlink_tests::cluster::{Beside, Call};
use wardlink_tests::raw::Raw;

use super::keys::{ec, hs256, jwks, part, rsa, rsa_of};
use super::mint::{AUDIENCE, ISSUER, Mint, but, claims, now};
use super::{Gate, authorization, handshake, sent_away, subprotocols, token_frame};

const END: &str = "H1-A2-odd";
const CHALLENGE: &str = "www-authenticate: bearer realm=\"wardlink\", error=\"invalid_token\"";

const MALFORMED: &str = "token is no signed JWT (header.claims.signature)";
const ALGORITHM: &str =
    "alg must be HS256, RS256, ES256 or EdDSA, and that of the key that is meant";
const KID: &str = "kid names no key known here";
const SIGNATURE: &str = "signature is by no key known here";
const EXPIRED: &str = "token has expired";
const LARGE: &str = "token is larger than 8192 bytes";
const SEND_FOR: &str = "claim sendFor cannot be used: expected an end id, \
    hospitalCode-hosareaCode-*, hospitalCode-* or *";

struct Row {
    what: &'static str,
    token: String,
    why: &'static str,
}

fn row(what: &'static str, token: impl Into<String>, why: &'static str) -> Row {
    Row { what, token: token.into(), why }
}

/// Claims that count at the BS of the table.
fn good() -> Value {
    but(&claims(END, now() + 600), json!({ "iss": ISSUER, "aud": AUDIENCE }))
}

/// Tokens that are of no key of the BS, or signed by one in a way that is not the key's.
fn forged(kid: Option<&str>, claims: &Value) -> Vec<Row> {
    let pair = rsa();
    let header = |alg: &str| match kid {
        Some(kid) => json!({ "alg": alg, "typ": "JWT", "kid": kid }),
        None => json!({ "alg": alg, "typ": "JWT" }),
    };
    let unsigned = |alg: &str| format!("{}.{}.", part(&header(alg)), part(claims));
    let by = |secret: &[u8]| hs256(&header("HS256"), claims, secret);
    let right = Mint::rsa(pair, kid).sign(claims);
    let (message, signature) = right.rsplit_once('.').expect("token");
    let other = Mint::rsa(pair, kid).sign(&but(claims, json!({ "uid": "chief" })));
    let swapped = other.rsplit_once('.').expect("token").0;
    let key = EncodingKey::from_rsa_pem(pair.private_pem.as_bytes()).expect("key");
    let rs512 = jsonwebtoken::Header {
        kid: kid.map(str::to_owned),
        ..jsonwebtoken::Header::new(Algorithm::RS512)
    };
    let rs512 = jsonwebtoken::encode(&rs512, claims, &key).expect("token");
    vec![
        row("alg none", unsigned("none"), ALGORITHM),
        row("alg None", unsigned("None"), ALGORITHM),
        row("alg none with a signature", format!("{}{signature}", unsigned("none")), ALGORITHM),
        row("no signature", format!("{message}."), SIGNATURE),
        row("HMAC by the public key's PEM", by(pair.public_pem.as_bytes()), ALGORITHM),
        row(
            "HMAC by the PEM without its last line end",
            by(pair.public_pem.trim().as_bytes()),
            ALGORITHM,
        ),
        row("HMAC by the public key's DER", by(&pair.public_der), ALGORITHM),
        row("HMAC by nothing", by(b""), ALGORITHM),
        row("RS512 by the right key", rs512, ALGORITHM),
        row(
            "another key",
            Mint::rsa(&rsa_of(aws_lc_rs::rsa::KeySize::Rsa2048), kid).sign(claims),
            SIGNATURE,
        ),
        row("a signature of other claims", format!("{swapped}.{signature}"), SIGNATURE),
        row("an algorithm of no key", Mint::ec(&ec(), kid).sign(claims), ALGORITHM),
    ]
}

fn rows() -> Vec<Row> {
    let mint = Mint::rsa(rsa(), Some("r1"));
    let with = |changes: Value| mint.sign(&but(&good(), changes));
    let (past, soon) = (now() - 600, now() + 600);
    let mut rows = forged(Some("r1"), &good());
    rows.extend([
        row("an unknown kid", Mint::rsa(rsa(), Some("r9")).sign(&good()), KID),
        row("an empty kid", Mint::rsa(rsa(), Some("")).sign(&good()), KID),
        row("another issuer", with(json!({ "iss": "https://evil.example" })), "claim iss is not the issuer that is trusted here"),
        row("an issuer with more", with(json!({ "iss": format!("{ISSUER}/") })), "claim iss is not the issuer that is trusted here"),
        row("no issuer", with(json!({ "iss": null })), "claim iss is not the issuer that is trusted here"),
        row("another audience", with(json!({ "aud": "payroll" })), "claim aud does not name an audience that is served here"),
        row("other audiences", with(json!({ "aud": ["payroll", "wardlink2"] })), "claim aud does not name an audience that is served here"),
        row("no audience", with(json!({ "aud": null })), "claim aud does not name an audience that is served here"),
        row("expired", with(json!({ "exp": past })), EXPIRED),
        row("expired in 1970", with(json!({ "exp": -1 })), EXPIRED),
        row("not yet valid", with(json!({ "nbf": soon })), "token is not valid yet"),
        row("made in the future", with(json!({ "iat": soon })), "token is not valid yet"),
        row("no exp", with(json!({ "exp": null })), "claim exp is missing"),
        row("an exp of text", with(json!({ "exp": "4102444800" })), "claim exp must be a number of seconds since 1970"),
        row("no hospital", with(json!({ "hospitalCode": null })), "claim hospitalCode is missing"),
        row("no area", with(json!({ "hosareaCode": null })), "claim hosareaCode is missing"),
        row("no uid", with(json!({ "uid": null })), "claim uid is missing"),
        row("a uid that is a number", with(json!({ "uid": 7 })), "claim uid must be a string"),
        row("an empty uid", with(json!({ "uid": "" })), "claim uid does not make an end id: uid must match [A-Za-z0-9_.@-]{1,64}"),
        row("a uid with a line end", with(json!({ "uid": "odd\n" })), "claim uid does not make an end id: uid must match [A-Za-z0-9_.@-]{1,64}"),
        row("a hospital with a dash", with(json!({ "hospitalCode": "H1-A2" })), "claim hospitalCode does not make an end id: hospitalCode must match [A-Za-z0-9_.]{1,32}"),
        row("sendFor of no end", with(json!({ "sendFor": ["nobody at all"] })), SEND_FOR,),
        row("claims that are a list", mint.sign(&json!([1, 2])), MALFORMED),
        row("garbage", "garbage", MALFORMED),
        row("two parts", "a.b", MALFORMED),
        row("four parts", format!("{}.x", mint.sign(&good())), MALFORMED),
        row("encrypted", "a.b.c.d.e", MALFORMED),
        row("a header that is no JSON", "bm8.bm8.bm8", MALFORMED),
        row("9 KiB", "x".repeat(9 * 1024), LARGE),
        row("9 KiB, and well signed", with(json!({ "more": "x".repeat(7 * 1024) })), LARGE),
    ]);
    rows
}

/// Shows a token in `Authorization`, in the list of sub-protocols, in a first frame, and over HTTP.
async fn show(gate: &Gate, row: &Row) -> anyhow::Result<()> {
    let bs = gate.bs();
    for headers in [authorization(&row.token), subprotocols(&row.token)] {
        let (status, answer) = handshake(bs, "/ws", &headers).await?;
        let (head, text) = answer.split_once("\r\n\r\n").context("a head")?;
        ensure!(status == 401, "{answer}");
        ensure!(head.to_ascii_lowercase().contains(CHALLENGE), "{head}");
        ensure!(text.trim_end() == row.why, "{text} in place of {}", row.why);
        ensure!(!answer.contains(&row.token), "the token is told back");
    }
    let mut raw = Raw::open(bs.port(), "/ws", "").await?;
    raw.send(token_frame(&row.token)).await;
    let code = if row.why == EXPIRED { 4506 } else { 4501 };
    let why = match row.why {
        LARGE => "the first frame is too large for a token",
        why => why,
    };
    sent_away(&mut raw, code, why).await?;
    let call = Call::new(&json!({ "to": "H1-A2-pump", "body": 1 }));
    let answered = call.bearer(&row.token).make(bs).await?;
    ensure!(answered.status == 401, "over HTTP: {}", answered.json);
    ensure!(answered.head.contains(CHALLENGE), "over HTTP: {}", answered.head);
    Ok(())
}

async fn beside(gate: &Gate, mint: &Mint, more: Value) -> anyhow::Result<Beside> {
    let token = |end: &str| mint.sign(&but(&claims(end, now() + 3_600), more.clone()));
    let nurse = gate.terminal("H1-A2-nurse", &token("H1-A2-nurse")).await?;
    let pump = gate.terminal("H1-A2-pump", &token("H1-A2-pump")).await?;
    Beside::new(nurse, pump).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_does_not_count_is_refused_in_every_way_of_showing_it() -> anyhow::Result<()> {
    let keys = jwks(&[rsa().jwk("r1"), ec().jwk("e1")]);
    let flags = ["--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE];
    let gate = Gate::open(&keys, &flags).await?;
    let mint = Mint::rsa(rsa(), Some("r1"));
    let mut beside = beside(&gate, &mint, json!({ "iss": ISSUER, "aud": ["x", AUDIENCE] })).await?;
    // What all rows differ from does count.
    let good = row("good", mint.sign(&good()), "");
    ensure!(show(&gate, &good).await.is_err(), "a good token counts");
    for row in rows() {
        show(&gate, &row).await.with_context(|| row.what.to_owned())?;
        beside.unharmed(row.what).await?;
    }
    // In each of four ways; and none of them was a session.
    let (_, text) = gate.bs().get("/metrics").await?;
    let count = |sample: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(sample));
        line.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or(-1.0)
    };
    let prefix = "wardlink_business_server";
    for reason in ["expired", "audience", "issuer"] {
        let came = count(&format!("{prefix}_tokens_refused_total{{reason=\"{reason}\"}} "));
        ensure!(came >= 4.0 && came % 4.0 == 0.0, "{reason}: {came}");
    }
    ensure!(count(&format!("{prefix}_handshakes_refused_total{{reason=\"token\"}} ")) > 9.0);
    ensure!(count(&format!("{prefix}_session_closes_total{{code=\"bad_identity\"}} ")) == 0.0);
    gate.cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_key_in_pem_is_no_secret_to_sign_with() -> anyhow::Result<()> {
    let gate = Gate::open(rsa().public_pem.as_bytes(), &[]).await?;
    let mint = Mint::rsa(rsa(), None);
    let mut beside = beside(&gate, &mint, json!({})).await?;
    for kid in [None, Some("anything")] {
        // Only that it is forged is wrong with it.
        for row in forged(kid, &claims(END, now() + 600)) {
            show(&gate, &row).await.with_context(|| row.what.to_owned())?;
            beside.unharmed(row.what).await?;
        }
    }
    gate.cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_counts_only_where_it_belongs() -> anyhow::Result<()> {
    let gate = Gate::open(&jwks(&[rsa().jwk("r1")]), &[]).await?;
    let mint = Mint::rsa(rsa(), Some("r1"));
    let mut beside = beside(&gate, &mint, json!({})).await?;
    let good = mint.lasting(END);
    let twice = format!("{}{}", authorization(&good), authorization(&good));
    let two = format!("Sec-WebSocket-Protocol: wardlink.bearer.{good}, wardlink.bearer.{good}\r\n");
    let scheme = "Authorization must be Bearer and a token";
    for (what, headers, text) in [
        ("Basic", "Authorization: Basic b2RkOm9kZA==\r\n".to_owned(), scheme),
        ("Basic with the token", format!("Authorization: Basic {good}\r\n"), scheme),
        ("the token alone", format!("Authorization: {good}\r\n"), scheme),
        ("Bearer alone", "Authorization: Bearer \r\n".to_owned(), scheme),
        ("Bearer and two words", format!("Authorization: Bearer {good} x\r\n"), scheme),
        (
            "Basic beside a good entry",
            format!("Authorization: Basic x\r\n{}", subprotocols(&good)),
            scheme,
        ),
        ("two headers", twice, "several tokens"),
        ("two entries", two, "several tokens"),
    ] {
        let (status, answer) = handshake(gate.bs(), "/ws", &headers).await?;
        let head = answer.to_ascii_lowercase();
        ensure!(status == 401 && answer.ends_with(&format!("{text}\n")), "{what}: {answer}");
        ensure!(head.contains("www-authenticate: bearer realm=\"wardlink\"\r\n"), "{what}: {head}");
        beside.unharmed(what).await?;
    }
    // In the URL, in a cookie, and in a header of another name it is nothing, and nobody is there.
    for name in ["token", "access_token", "authorization", "jwt", "bearer", "wardlink.bearer"] {
        let path = format!("/ws?hospitalCode=H1&hosareaCode=A2&uid=odd&{name}={good}");
        for headers in [String::new(), format!("Cookie: {name}={good}\r\nX-{name}: {good}\r\n")] {
            let mut raw = Raw::open(gate.bs().port(), &path, &headers).await?;
            raw.send(super::send_frame("m1", "H1-A2-pump", "let me in")).await;
            sent_away(&mut raw, 4501, "the first frame must be a token").await.context(name)?;
        }
        beside.unharmed(name).await?;
    }
    // Larger than a head may be.
    let (status, _) = handshake(gate.bs(), "/ws", &authorization(&"x".repeat(20_000))).await?;
    ensure!(status == 431, "{status}");
    beside.unharmed("a head of 20 KB").await?;
    let none = Call::new(&json!({ "to": "H1-A2-pump", "body": 1 })).make(gate.bs()).await?;
    ensure!(none.status == 401, "{}", none.json);
    beside.unharmed("a call without a token").await?;
    gate.cluster.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_shows_one_bad_token_and_ends() -> anyhow::Result<()> {
    let gate = Gate::open(&jwks(&[rsa().jwk("r1")]), &[]).await?;
    let port = gate.bs().port();
    let bad = authorization("a.b.c");
    let body = "x".repeat(60_000);
    let post = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{bad}Content-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let basic = wardlink_tests::raw::upgrade(port, "/ws", "Authorization: Basic x\r\n");
    let handshake = wardlink_tests::raw::upgrade(port, "/ws", &bad);
    for (what, request) in [("a handshake", handshake), ("another scheme", basic), ("a call", post)]
    {
        let mut raw = Raw::connect(port).await?;
        // The second is here before the first is answered.
        let (status, head) = raw.request(&format!("{request}{request}")).await.context(what)?;
        ensure!(status == 401, "{what}: {head}");
        ensure!(head.to_ascii_lowercase().contains("connection: close\r\n"), "{what}: {head}");
        let (second, _) = raw.answer().await?;
        ensure!(second == 0, "{what}: the next is answered with {second}");
    }
    // Whatever else a stranger asks for is the last on its connection, too.
    for (what, line, status) in [
        ("another path", "GET /other", 404),
        ("another method", "GET /v1/messages", 405),
        ("no page", "GET /", 404),
        ("no WebSocket", "GET /ws", 426),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{bad}\r\n");
        let mut raw = Raw::connect(port).await?;
        let (first, head) = raw.request(&format!("{request}{request}")).await.context(what)?;
        ensure!(first == status, "{what}: {head}");
        let (second, _) = raw.answer().await?;
        ensure!(second == 0, "{what}: the next is answered with {second}");
    }
    // Who is known goes on, whatever becomes of its calls.
    let good = authorization(&Mint::rsa(rsa(), Some("r1")).lasting(END));
    let mut raw = Raw::connect(port).await?;
    for (body, status) in [(r#"{"to":"H1-A2-x","body":1}"#, 200), ("{}", 400), ("[", 400)] {
        let request = format!(
            "POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{good}Content-Type: \
             application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (answered, head) = raw.request(&request).await?;
        ensure!(answered == status, "{body}: {head}");
    }
    gate.cluster.end().await
}
