//! Requests that are none, or wrong, and peers that take their time, on every port.

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::{Instant, timeout};

use super::Ward;
use wardlink_tests::raw::{ANSWER, CONTINUATION, Came, Frame, PING, PONG, Raw, upgrade};

/// What is no handshake is given up within so long, whatever the port: the longest deadline is 15 s.
const GIVEN_UP: Duration = Duration::from_secs(17);
/// Between two bytes of a slow peer.
const DRIP: Duration = Duration::from_millis(400);

/// How long a flood lasts.
const FLOOD: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
enum Port {
    Terminals,
    Links,
    Admin,
}

struct Row {
    what: &'static str,
    port: Port,
    request: String,
    status: u16,
    holds: &'static str,
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
}

fn rows(port: u16) -> Vec<Row> {
    use Port::{Admin, Links, Terminals};
    const PATH: &str = "/ws?hospitalCode=H1&hosareaCode=A2&uid=odd";
    let row =
        |what, port, request: String, status, holds| Row { what, port, request, status, holds };
    let change = |from: &str, to: &str| {
        let right = upgrade(port, PATH, "");
        assert!(right.contains(from), "{from}");
        right.replace(from, to)
    };
    vec![
        row("a right one", Terminals, upgrade(port, PATH, ""), 101, "websocket"),
        row(
            "compression is offered",
            Terminals,
            upgrade(port, PATH, "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
            101,
            "websocket",
        ),
        row("another path", Terminals, upgrade(port, "/socket", ""), 404, "/ws"),
        row("a path without a slash", Terminals, change(PATH, "ws"), 404, "/ws"),
        row("POST", Terminals, change("GET", "POST"), 405, "GET"),
        row("HTTP 1.0", Terminals, change("HTTP/1.1", "HTTP/1.0"), 400, ""),
        row("no upgrade", Terminals, get(PATH, ""), 426, "13"),
        row("an upgrade to something else", Terminals, change("websocket", "h2c"), 426, "13"),
        row("version 8", Terminals, change("Version: 13", "Version: 8"), 426, "13"),
        row("no version", Terminals, change("Sec-WebSocket-Version: 13\r\n", ""), 426, "13"),
        row("no key", Terminals, change("Sec-WebSocket-Key", "X-Key"), 400, ""),
        row("half a key", Terminals, change("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"), 400, ""),
        row(
            "a handshake with a body",
            Terminals,
            upgrade(port, PATH, "Content-Length: 1\r\n") + "x",
            400,
            "",
        ),
        row("no end", Terminals, upgrade(port, "/ws", ""), 400, "hospitalCode"),
        row(
            "a foreign Origin",
            Terminals,
            upgrade(port, PATH, "Origin: https://evil.example\r\n"),
            403,
            "rigin",
        ),
        row("Origin null", Terminals, upgrade(port, PATH, "Origin: null\r\n"), 403, "rigin"),
        row("no HTTP", Terminals, "\u{16}\u{3}\u{1}hello\r\n\r\n".to_owned(), 400, ""),
        row(
            "a header of 32 KiB",
            Terminals,
            upgrade(port, PATH, &format!("X-Long: {}\r\n", "x".repeat(32 * 1024))),
            431,
            "",
        ),
        row(
            "a thousand headers",
            Terminals,
            upgrade(port, PATH, &"X-Many: 1\r\n".repeat(1_000)),
            431,
            "",
        ),
        row("another path", Links, upgrade(port, "/ws", ""), 404, "/link"),
        row("no upgrade", Links, get("/link", ""), 400, "no WebSocket handshake"),
        row("no HTTP", Links, "\u{16}\u{3}\u{1}hello\r\n\r\n".to_owned(), 400, ""),
        row("another path", Admin, get("/secrets", ""), 404, ""),
        row(
            "POST",
            Admin,
            "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(),
            405,
            "",
        ),
        row("no HTTP", Admin, "\u{16}\u{3}\u{1}hello\r\n\r\n".to_owned(), 400, ""),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_request_is_answered_with_its_status() -> anyhow::Result<()> {
    let mut ward = Ward::open().await?;
    let port_of = |port| match port {
        Port::Terminals => ward.cluster.bs(0).port(),
        Port::Links => ward.cluster.ms(0).port(),
        Port::Admin => ward.cluster.ms(0).admin_port(),
    };
    let rows: Vec<(u16, Row)> =
        rows(port_of(Port::Terminals)).into_iter().map(|row| (port_of(row.port), row)).collect();
    for (port, row) in rows {
        let mut odd = Raw::connect(port).await?;
        let (status, answer) =
            odd.request(&row.request).await.with_context(|| row.what.to_owned())?;
        ensure!(
            status == row.status,
            "{}: {status} in place of {}: {answer}",
            row.what,
            row.status
        );
        ensure!(answer.contains(row.holds), "{}: {answer}", row.what);
        let agreed = answer.to_ascii_lowercase().contains("sec-websocket-extensions");
        ensure!(!agreed, "{}: an extension is agreed", row.what);
        ward.unharmed(row.what).await?;
    }
    ward.close().await
}

/// How long the server of `port` keeps a peer that has sent `first`, and then sends one byte now
/// and then.
async fn kept(port: u16, first: &str) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut odd = Raw::connect(port).await?;
    odd.write(first.as_bytes()).await;
    odd.until_end(DRIP).await?;
    Ok(begun.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_takes_its_time_is_given_up_on_every_port() -> anyhow::Result<()> {
    let mut ward = Ward::open().await?;
    let ports = [
        ("terminals", ward.cluster.bs(0).port()),
        ("links", ward.cluster.ms(0).port()),
        ("admin of a BS", ward.cluster.bs(0).admin_port()),
        ("admin of an MS", ward.cluster.ms(0).admin_port()),
    ];
    let beginnings = ["", "GET /ws HTTP/1.1\r\nHost: x\r\nX-Slow: "];
    let all = ports.iter().flat_map(|(name, port)| {
        beginnings.map(|first| async move {
            let took = kept(*port, first).await.with_context(|| format!("{name}, {first:?}"))?;
            ensure!(took <= GIVEN_UP, "{name}, {first:?}: kept for {took:?}");
            println!("{name}, {first:?}: given up after {took:.1?}");
            anyhow::Ok(())
        })
    });
    futures_util::future::try_join_all(all).await?;
    ward.unharmed("slow peers").await?;
    ward.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_handshakes_keep_nobody_out() -> anyhow::Result<()> {
    let mut ward = Ward::open().await?;
    let port = ward.cluster.bs(0).port();
    let mut half = Vec::new();
    for _ in 0..300 {
        let mut odd = Raw::connect(port).await?;
        odd.write(b"GET /ws HTTP/1.1\r\nHost: x\r\n").await;
        half.push(odd);
    }
    let begun = Instant::now();
    let mut right = Raw::open(port, "/ws?hospitalCode=H1&hosareaCode=A2&uid=odd", "").await?;
    let welcome = right.text().await?;
    ensure!(welcome.contains("\"welcome\""), "{welcome}");
    ensure!(begun.elapsed() <= ANSWER, "it took {:?}", begun.elapsed());
    ward.unharmed("half-open handshakes").await?;
    drop(half);
    ward.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_hurts_nobody_else() -> anyhow::Result<()> {
    let mut ward = Ward::open().await?;
    let port = ward.cluster.bs(0).port();
    let mut odd = Raw::open(port, "/ws?hospitalCode=H1&hosareaCode=A2&uid=odd", "").await?;
    let pings: Vec<u8> =
        (0..1_000_u32).flat_map(|n| Frame::new(PING, n.to_be_bytes()).bytes()).collect();
    for _ in 0..5 {
        odd.write(&pings).await;
        ward.unharmed("a thousand pings").await?;
    }
    // It is answered, perhaps slowly, or closed for it.
    let mut pongs = 0;
    loop {
        match odd.next().await? {
            Came::Frame(PONG, _) => pongs += 1,
            Came::Frame(..) => {}
            Came::Close(..) | Came::End => break,
        }
        if pongs == 5_000 {
            break;
        }
    }
    println!("{pongs} of 5,000 pings were answered");
    ward.unharmed("all of it").await?;
    ward.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_fragments_without_end_are_read_no_faster_than_a_session_may_send()
-> anyhow::Result<()> {
    let mut ward = Ward::open().await?;
    let port = ward.cluster.bs(0).port();
    let mut odd = Raw::open(port, "/ws?hospitalCode=H1&hosareaCode=A2&uid=odd", "").await?;
    odd.send(Frame::text("{").more()).await;
    let fragments: Vec<u8> = std::iter::repeat_with(|| Frame::new(CONTINUATION, "").more().bytes())
        .take(10_000)
        .flatten()
        .collect();
    let begun = Instant::now();
    let mut taken = 0;
    // What the rate lets through in that time is 10 MiB; a reader that counts only messages takes
    // many times as much.
    while begun.elapsed() < FLOOD {
        let left = FLOOD.saturating_sub(begun.elapsed());
        if timeout(left, odd.write(&fragments)).await.is_ok() {
            taken += fragments.len();
        }
    }
    println!("{taken} bytes of empty fragments were taken in {FLOOD:?}");
    ensure!(taken < 24 << 20, "{taken} bytes were taken");
    ward.unharmed("empty fragments").await?;
    ward.close().await
}
