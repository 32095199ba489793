//! Text frames of a terminal that are wrong: an error frame or a result, and the session goes on.

use anyhow::{Context, ensure};

use super::Ward;
use wardlink_tests::raw::{Frame, Raw};

const PATH: &str = "/ws?hospitalCode=H1&hosareaCode=A2&uid=odd";

/// What a frame is answered with: one frame each, with these words in it.
struct Row {
    what: &'static str,
    frame: String,
    answers: Vec<&'static str>,
}

fn row(what: &'static str, frame: impl Into<String>, answers: &[&'static str]) -> Row {
    Row { what, frame: frame.into(), answers: answers.to_vec() }
}

fn send(fields: &str) -> String {
    format!("{{\"type\":\"send\",{fields}}}")
}

fn rows() -> Vec<Row> {
    const MALFORMED: &str = "\"error\",\"code\":\"malformed\"";
    const INVALID: &str = "\"error\",\"code\":\"invalid\"";
    const REJECTED: &str = "\"outcome\":\"rejected\",\"reason\":\"invalid\",\"retry\":false";
    let deep = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    // With its quotes a body of so many bytes.
    let body = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    vec![
        row("not JSON", "hello", &[MALFORMED]),
        row("nothing", "", &[MALFORMED]),
        row("half an object", "{\"type\":\"ack\"", &[MALFORMED]),
        row("two objects", "{\"type\":\"ack\",\"seq\":1}{}", &[MALFORMED]),
        row("an array", "[\"send\",1]", &[MALFORMED]),
        row("a number", "1", &[MALFORMED]),
        row("null", "null", &[MALFORMED]),
        row("no type", "{}", &[MALFORMED]),
        row("a type that is no string", "{\"type\":1}", &[MALFORMED]),
        row("a type twice", "{\"type\":\"ack\",\"type\":\"ack\",\"seq\":1}", &[MALFORMED]),
        row("an id twice", send(r#""id":"d","id":"d","to":"H1-A2-x","body":1"#), &[MALFORMED]),
        row("a body twice", send(r#""id":"d","to":"H1-A2-x","body":1,"body":2"#), &[MALFORMED]),
        row("an unpaired surrogate", send(r#""id":"d","to":"\ud800","body":1"#), &[MALFORMED]),
        row("a type of the server", "{\"type\":\"welcome\"}", &["\"code\":\"unknown-type\""]),
        row("an unknown type", "{\"type\":\"sing\"}", &["\"code\":\"unknown-type\""]),
        row("an ack without seq", "{\"type\":\"ack\"}", &[INVALID]),
        row("an ack of a text", "{\"type\":\"ack\",\"seq\":\"1\"}", &[INVALID]),
        row("an ack below zero", "{\"type\":\"ack\",\"seq\":-1}", &[INVALID]),
        row("an ack of a half", "{\"type\":\"ack\",\"seq\":1.5}", &[INVALID]),
        row("an ack beyond 64 bits", "{\"type\":\"ack\",\"seq\":18446744073709551616}", &[INVALID]),
        row("an ack of what was not shown", "{\"type\":\"ack\",\"seq\":9}", &["out-of-place"]),
        row("a send of nothing", "{\"type\":\"send\"}", &[INVALID]),
        row("a send without id", send(r#""to":"H1-A2-x","body":1"#), &[INVALID]),
        row("an empty id", send(r#""id":"","to":"H1-A2-x","body":1"#), &[INVALID]),
        row("an id of wrong letters", send(r#""id":"a b","to":"H1-A2-x","body":1"#), &[INVALID]),
        row(
            "an id of 65 letters",
            send(&format!(r#""id":"{}","to":"H1-A2-x","body":1"#, "i".repeat(65))),
            &[INVALID],
        ),
        row("an id that is a number", send(r#""id":7,"to":"H1-A2-x","body":1"#), &[INVALID]),
        row("a send without to", send(r#""id":"t1","body":1"#), &[INVALID, REJECTED]),
        row("to that is no end", send(r#""id":"t2","to":"x","body":1"#), &[INVALID, REJECTED]),
        row("to of two parts", send(r#""id":"t3","to":"H1-x","body":1"#), &[INVALID, REJECTED]),
        row(
            "to of wrong letters",
            send(r#""id":"t4","to":"H1-A2-ü","body":1"#),
            &[INVALID, REJECTED],
        ),
        row(
            "to with a line end",
            send(r#""id":"t5","to":"H1-A2-x\n","body":1"#),
            &[INVALID, REJECTED],
        ),
        row(
            "to that is too long",
            send(&format!(r#""id":"t6","to":"H1-A2-{}","body":1"#, "x".repeat(65))),
            &[INVALID, REJECTED],
        ),
        row("a send without body", send(r#""id":"b1","to":"H1-A2-x""#), &[INVALID, REJECTED]),
        row(
            "a body that is too deep",
            send(&format!(r#""id":"b2","to":"H1-A2-x","body":{}"#, deep(129))),
            &[INVALID, REJECTED],
        ),
        row(
            "a field that nobody knows and that is too deep",
            send(&format!(r#""id":"b3","to":"H1-A2-x","body":1,"more":{}"#, deep(1_000))),
            &["\"stored\""],
        ),
        row(
            "a ttl of zero",
            send(r#""id":"l1","to":"H1-A2-x","body":1,"ttl":0"#),
            &[INVALID, REJECTED],
        ),
        row(
            "a ttl below zero",
            send(r#""id":"l2","to":"H1-A2-x","body":1,"ttl":-5"#),
            &[INVALID, REJECTED],
        ),
        row(
            "a ttl of a text",
            send(r#""id":"l3","to":"H1-A2-x","body":1,"ttl":"5"#.to_owned().as_str()),
            &[MALFORMED],
        ),
        row(
            "a ttl that is a text",
            send(r#""id":"l4","to":"H1-A2-x","body":1,"ttl":"5""#),
            &[INVALID, REJECTED],
        ),
        row(
            "a body of 65,537 bytes",
            send(&format!(r#""id":"s1","to":"H1-A2-x","body":{}"#, body(65_537))),
            &[INVALID, "\"outcome\":\"rejected\",\"reason\":\"too large\",\"retry\":false"],
        ),
        row("a token that is no text", "{\"type\":\"token\",\"token\":1}", &[INVALID]),
        // What is right, and only looks odd.
        row(
            "a body of 64 KiB",
            send(&format!(r#""id":"r1","to":"H1-A2-x","body":{}"#, body(65_536))),
            &["\"id\":\"r1\",\"outcome\":\"stored\""],
        ),
        row("a body of null", send(r#""id":"r2","to":"H1-A2-x","body":null"#), &["\"stored\""]),
        row(
            "an empty text as body",
            send(r#""id":"r3","to":"H1-A2-x","body":"""#),
            &["\"stored\""],
        ),
        row(
            "a body of the deepest kind",
            send(&format!(r#""id":"r4","to":"H1-A2-x","body":{}"#, deep(100))),
            &["\"stored\""],
        ),
        row(
            "fields that nobody knows",
            send(r#""id":"r5","to":"H1-A2-x","body":1,"colour":["red"],"from":"H1-A2-pump""#),
            &["\"stored\""],
        ),
        row(
            "a ttl beyond 32 bits",
            send(r#""id":"r6","to":"H1-A2-x","body":1,"ttl":99999999999"#),
            &["\"stored\""],
        ),
        row("white space", " \t\r\n{ \"type\" : \"ack\" , \"seq\" : 9 } \n", &["out-of-place"]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_frame_of_a_terminal_is_answered_and_its_session_goes_on() -> anyhow::Result<()> {
    let mut ward = Ward::open().await?;
    let mut odd = Raw::open(ward.cluster.bs(0).port(), PATH, "").await?;
    let welcome = odd.text().await?;
    ensure!(welcome.contains("\"welcome\""), "{welcome}");
    for row in rows() {
        odd.send(Frame::text(row.frame)).await;
        for answer in &row.answers {
            let came = odd.text().await.with_context(|| row.what.to_owned())?;
            ensure!(came.contains(answer), "{}: {came} in place of {answer}", row.what);
        }
        ward.unharmed(row.what).await?;
    }
    // Nothing was answered twice, and the session still stands.
    odd.send(Frame::text("{\"type\":\"last\"}")).await;
    let last = odd.text().await?;
    ensure!(last.contains("unknown-type"), "{last}");
    ward.close().await
}
