//! Items and frames of a link that are wrong, from a peer that speaks the JSON encoding.

use anyhow::{Context, ensure};
use uuid::Uuid;

use super::Ward;
use wardlink_tests::raw::{BINARY, Came, Frame, Raw};

const SUBPROTOCOL: &str = "Sec-WebSocket-Protocol: wardlink.link.v1\r\n";

/// What a link is answered with.
enum Answer {
    /// An item with these words.
    Item(&'static str),
    /// Nothing; the next item shows that the link stands.
    Nothing,
    /// The end, with this code.
    Close(u16),
}

struct Row {
    what: &'static str,
    frame: Frame,
    answer: Answer,
}

fn text(what: &'static str, text: impl Into<String>, answer: Answer) -> Row {
    Row { what, frame: Frame::text(text.into()), answer }
}

fn hello() -> String {
    format!(
        r#"{{"type":5,"serverId":"{}","start":"{}","link":"1","version":1,"view":"0"}}"#,
        Uuid::new_v4(),
        Uuid::new_v4()
    )
}

fn rows() -> Vec<Row> {
    use Answer::{Close, Item, Nothing};
    const ERROR: &str = "\"type\":7";
    let session = Uuid::new_v4();
    let future = "9223372036854775807";
    vec![
        text("an unknown type", r#"{"type":77,"endIdentifer":"H1-A2-x"}"#, Item(ERROR)),
        text("a type that is a text", r#"{"type":"send"}"#, Item(ERROR)),
        text("no type", "{}", Item(ERROR)),
        text("a second hello", hello(), Item("hello came twice")),
        text(
            "a register without a session",
            r#"{"type":0,"epoch":"1","endIdentifer":"H1-A2-x"}"#,
            Item(ERROR),
        ),
        text(
            "a register of no end",
            format!(r#"{{"type":0,"epoch":"1","endIdentifer":"x","session":"{session}"}}"#),
            Item(ERROR),
        ),
        text(
            "an epoch that is no number",
            format!(r#"{{"type":0,"epoch":"one","endIdentifer":"H1-A2-x","session":"{session}"}}"#),
            Item(ERROR),
        ),
        text(
            "an epoch beyond 64 bits",
            format!(
                r#"{{"type":1,"epoch":"18446744073709551616","endIdentifer":"H1-A2-x","session":"{session}"}}"#
            ),
            Item(ERROR),
        ),
        text(
            "one bad item among good ones",
            r#"[{"type":77},{"type":6,"misses":[]}]"#,
            Item(ERROR),
        ),
        text("an error is never answered", r#"{"type":7,"code":"malformed","text":"x"}"#, Nothing),
        text("fields that nobody knows", r#"{"type":6,"misses":[],"colour":"red"}"#, Nothing),
        text(
            "an ack for a foreign session",
            format!(
                r#"{{"type":3,"epoch":"EPOCH","endIdentifer":"H1-A2-pump","session":"{session}","stamp":{{"epoch":"EPOCH","count":"1"}}}}"#
            ),
            Nothing,
        ),
        text(
            "an unregister of a foreign session",
            format!(
                r#"{{"type":1,"epoch":"EPOCH","endIdentifer":"H1-A2-pump","session":"{session}"}}"#
            ),
            Nothing,
        ),
        text(
            "an item of a lower epoch",
            r#"{"type":2,"epoch":"1","endIdentifer":"H1-A2-pump","messageContent":1,"id":"m1","seq":"1","deadline":5000}"#,
            Nothing,
        ),
        text(
            "a view number from the future",
            format!(r#"{{"type":6,"view":"{future}"}}"#),
            Close(4505),
        ),
        text(
            "an epoch from the future",
            format!(
                r#"{{"type":1,"epoch":"{future}","endIdentifer":"H1-A2-x","session":"{session}"}}"#
            ),
            Close(4505),
        ),
        text("not JSON", "hello", Close(4502)),
        text("a number", "5", Close(4502)),
        text("an array in an array", "[[]]", Item(ERROR)),
        text("9,000 items", format!("[{}]", vec!["{\"type\":77}"; 9_000].join(",")), Close(4502)),
        text("deep nesting", "[".repeat(10_000), Close(4502)),
        Row { what: "no protobuf", frame: Frame::new(BINARY, [0xff; 64]), answer: Close(4502) },
        Row {
            what: "a protobuf length that is only told",
            frame: Frame::new(BINARY, [0x0a, 0xff, 0xff, 0xff, 0xff, 0x07]),
            answer: Close(4502),
        },
        Row {
            what: "a frame that claims 2^40 bytes",
            frame: Frame::text("x").claiming(1 << 40),
            answer: Close(4502),
        },
        Row {
            what: "a frame without a mask",
            frame: Frame::text("{}").unmasked(),
            answer: Close(4502),
        },
        Row { what: "no UTF-8", frame: Frame::text(vec![0xff]), answer: Close(4502) },
    ]
}

/// A link that was welcomed and has the view; the epoch of the pump's partition.
async fn open(port: u16) -> anyhow::Result<(Raw, String)> {
    let mut odd = Raw::open(port, "/link", SUBPROTOCOL).await?;
    odd.send(Frame::text(hello())).await;
    loop {
        let frame: serde_json::Value = serde_json::from_str(&odd.text().await?)?;
        let items = match frame {
            serde_json::Value::Array(items) => items,
            item => vec![item],
        };
        let view = items.iter().find(|item| item["type"] == 6 && !item["partitions"].is_null());
        if let Some(view) = view {
            return Ok((odd, epoch(view).context("an epoch")?));
        }
    }
}

/// The only owner's epoch is the same for all partitions.
fn epoch(view: &serde_json::Value) -> Option<String> {
    let partitions = &view["partitions"];
    let first = partitions.get(0)?;
    let epoch = first.get("epoch").or_else(|| first.get(1))?;
    Some(epoch.as_str().map_or_else(|| epoch.to_string(), str::to_owned))
}

/// The next text item that is not of those that come by themselves.
async fn answer(odd: &mut Raw) -> anyhow::Result<String> {
    loop {
        let text = odd.text().await?;
        if !text.contains("\"type\":6") {
            return Ok(text);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_item_costs_itself_and_a_wrong_frame_its_link() -> anyhow::Result<()> {
    let mut ward = Ward::open().await?;
    let port = ward.cluster.ms(0).port();
    for row in rows() {
        let (mut odd, epoch) = open(port).await.with_context(|| row.what.to_owned())?;
        odd.send(row.frame.replacing("EPOCH", &epoch)).await;
        let check = async {
            match row.answer {
                Answer::Item(words) => {
                    let came = answer(&mut odd).await?;
                    ensure!(came.contains(words), "{came}");
                }
                Answer::Nothing => {}
                Answer::Close(code) => {
                    let came = odd.end().await?;
                    ensure!(matches!(&came, Came::Close(is, _) if *is == code), "{came:?}");
                    return Ok(());
                }
            }
            // The link stands, and nothing else was answered.
            odd.send(Frame::text(hello())).await;
            let came = answer(&mut odd).await?;
            ensure!(came.contains("hello came twice"), "{came}");
            anyhow::Ok(())
        };
        check.await.with_context(|| row.what.to_owned())?;
        ward.unharmed(row.what).await?;
    }
    ward.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_before_the_hello_are_answered_and_none_for_long() -> anyhow::Result<()> {
    let mut ward = Ward::open().await?;
    let port = ward.cluster.ms(0).port();
    let mut odd = Raw::open(port, "/link", SUBPROTOCOL).await?;
    odd.send(Frame::text(r#"{"type":6,"misses":[]}"#)).await;
    let came = odd.text().await?;
    ensure!(came.contains("hello must come first"), "{came}");
    let end = odd.end().await?;
    ensure!(matches!(end, Came::Close(4001, _)), "{end:?}");
    ward.unharmed("a link without a hello").await?;
    ward.close().await
}
