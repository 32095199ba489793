//! RFC 6455 at `/ws`: fragments, control frames, masks, lengths, UTF-8, the closing handshake. What
//! breaks it is closed with the one code that Wardlink has for that, not to come again.

use anyhow::{Context, ensure};

use super::Ward;
use wardlink_tests::raw::{BINARY, CLOSE, CONTINUATION, Came, Frame, PING, PONG, Raw, TEXT};

const PATH: &str = "/ws?hospitalCode=H1&hosareaCode=A2&uid=odd";

/// What a session is answered with.
enum Answer {
    /// An error frame of this session, which goes on.
    Unknown,
    /// These frames, and the session goes on.
    Frames(Vec<(u8, Vec<u8>)>),
    /// The end, with this code.
    Close(u16),
}

struct Row {
    what: &'static str,
    bytes: Vec<u8>,
    answer: Answer,
}

fn row(what: &'static str, frames: Vec<Frame>, answer: Answer) -> Row {
    Row { what, bytes: frames.iter().flat_map(Frame::bytes).collect(), answer }
}

/// A text frame that is answered by one error frame.
fn ask() -> Frame {
    Frame::text(ASK)
}

const ASK: &str = "{\"type\":\"sing\"}";

fn close(code: u16, reason: &str) -> Frame {
    Frame::new(CLOSE, [&code.to_be_bytes(), reason.as_bytes()].concat())
}

fn rows() -> Vec<Row> {
    use Answer::{Close, Frames, Unknown};
    let (head, tail) = ASK.split_at(5);
    let part = |opcode, text: &str| Frame::new(opcode, text.as_bytes());
    let pong = |payload: &[u8]| (PONG, payload.to_vec());
    // In the middle of a character of two bytes.
    let split = "{\"type\":\"ü\"}".as_bytes();
    let at = split.iter().position(|byte| *byte == 0xc3).unwrap_or_default() + 1;
    vec![
        // Fragments (section 5.4).
        row("two fragments", vec![part(TEXT, head).more(), part(CONTINUATION, tail)], Unknown),
        row(
            "fragments of one byte each",
            ASK.bytes()
                .enumerate()
                .map(|(i, byte)| {
                    let opcode = if i == 0 { TEXT } else { CONTINUATION };
                    let frame = Frame::new(opcode, vec![byte]);
                    if i + 1 == ASK.len() { frame } else { frame.more() }
                })
                .collect(),
            Unknown,
        ),
        row(
            "empty fragments",
            vec![
                part(TEXT, "").more(),
                part(CONTINUATION, ASK).more(),
                part(CONTINUATION, "").more(),
                part(CONTINUATION, ""),
            ],
            Unknown,
        ),
        row(
            "a character in two fragments",
            vec![Frame::new(TEXT, &split[..at]).more(), Frame::new(CONTINUATION, &split[at..])],
            Unknown,
        ),
        row(
            "a ping between two fragments",
            vec![part(TEXT, head).more(), part(PING, "p"), part(CONTINUATION, tail)],
            Frames(vec![pong(b"p")]),
        ),
        row("a text within a text", vec![part(TEXT, head).more(), ask()], Close(4502)),
        row("a continuation of nothing", vec![part(CONTINUATION, ASK)], Close(4502)),
        row(
            "fragments of a binary message",
            vec![part(BINARY, head).more(), part(CONTINUATION, tail)],
            Close(4502),
        ),
        row(
            "fragments that are too large together",
            vec![
                Frame::text(vec![b' '; 60_000]).more(),
                Frame::new(CONTINUATION, vec![b' '; 60_000]),
            ],
            Close(4502),
        ),
        // Control frames (section 5.5).
        row("a ping", vec![part(PING, "")], Frames(vec![pong(b"")])),
        row("a ping of 125 bytes", vec![Frame::new(PING, [7; 125])], Frames(vec![pong(&[7; 125])])),
        row("a ping of 126 bytes", vec![Frame::new(PING, [7; 126])], Close(4502)),
        row("a ping in fragments", vec![part(PING, "a").more()], Close(4502)),
        row("a pong that nobody asked for", vec![part(PONG, "x"), ask()], Unknown),
        // The first byte and the mask (sections 5.2, 5.3).
        row("an opcode of no data frame", vec![part(3, ASK)], Close(4502)),
        row("an opcode of no control frame", vec![part(11, "")], Close(4502)),
        row("compression that was not agreed", vec![ask().reserved(4)], Close(4502)),
        row("the second reserved bit", vec![ask().reserved(2)], Close(4502)),
        row("the third reserved bit", vec![ask().reserved(1)], Close(4502)),
        row("a frame without a mask", vec![ask().unmasked()], Close(4502)),
        // Lengths.
        row("a length of 67,585", vec![Frame::text(vec![b' '; 67_585])], Close(4502)),
        row("a length of 2^32, claimed", vec![Frame::text("x").claiming(1 << 32)], Close(4502)),
        row(
            "a length of 2^63 - 1, claimed",
            vec![Frame::text("x").claiming((1 << 63) - 1)],
            Close(4502),
        ),
        row(
            "a length of 2^64 - 1, claimed",
            vec![Frame::text("x").claiming(u64::MAX)],
            Close(4502),
        ),
        // A length need not be written in the shortest way: section 5.2 binds the sender only.
        row("a binary frame", vec![part(BINARY, ASK)], Close(4502)),
        // UTF-8 (section 8.1).
        row("a byte that is no UTF-8", vec![Frame::text(vec![b'"', 0xff, b'"'])], Close(4502)),
        row("an overlong slash", vec![Frame::text(vec![0xc0, 0xaf])], Close(4502)),
        row("a surrogate in UTF-8", vec![Frame::text(vec![0xed, 0xa0, 0x80])], Close(4502)),
        row("half a character at the end", vec![Frame::text(vec![b'"', 0xc3])], Close(4502)),
        // The closing handshake (sections 5.5.1, 7.4).
        row("a close with 1000", vec![close(1000, "bye")], Close(1000)),
        row("a close with a code of its own", vec![close(4321, "")], Close(4321)),
        row("a close without a code", vec![Frame::new(CLOSE, "")], Close(1005)),
        row("a close of one byte", vec![Frame::new(CLOSE, "x")], Close(4502)),
        // Answered by the library, as the standard says.
        row("a close with a code that must not travel", vec![close(1005, "")], Close(1002)),
        row("a close with code 999", vec![close(999, "")], Close(1002)),
        row(
            "a close whose reason is no UTF-8",
            vec![Frame::new(CLOSE, [0x03, 0xe8, 0xff])],
            Close(4502),
        ),
        row("data after the close", vec![close(1000, ""), ask()], Close(1000)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rules_of_rfc_6455_are_kept_and_broken_ones_are_answered() -> anyhow::Result<()> {
    let mut ward = Ward::open().await?;
    let port = ward.cluster.bs(0).port();
    for row in rows() {
        let mut odd = Raw::open(port, PATH, "").await?;
        let welcome = odd.text().await?;
        ensure!(welcome.contains("\"welcome\""), "{welcome}");
        odd.write(&row.bytes).await;
        let check = async {
            match &row.answer {
                Answer::Unknown => {
                    let came = odd.text().await?;
                    ensure!(came.contains("unknown-type"), "{came}");
                }
                Answer::Frames(frames) => {
                    for (opcode, payload) in frames {
                        let came = odd.next().await?;
                        ensure!(came == Came::Frame(*opcode, payload.clone()), "{came:?}");
                    }
                    odd.send(ask()).await;
                    let came = odd.text().await?;
                    ensure!(came.contains("unknown-type"), "{came}");
                }
                Answer::Close(code) => {
                    let came = odd.end().await?;
                    ensure!(matches!(&came, Came::Close(is, _) if is == code), "{came:?}");
                    let after = odd.next().await?;
                    ensure!(after == Came::End, "after the close came {after:?}");
                }
            }
            anyhow::Ok(())
        };
        check.await.with_context(|| row.what.to_owned())?;
        ward.unharmed(row.what).await?;
    }
    ward.close().await
}
