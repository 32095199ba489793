//! `docs/PROTOCOL.md` says what the code does: its tables equal the code's, its schema and its
//! examples of the link protocol are read, and its example sessions are replayed against a real
//! BS and a real MS over raw WebSockets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use wardlink_ms::store::StoreUri;
use wardlink_ms::store::mongodb::Names;
use wardlink_service::settings::AcceptSettings;
use wardlink_service::stop::{self, Trigger};
use wardlink_tls::Acceptor;
use wardlink_wire::link::{
    ErrorCode, FRAME_MAX_ITEMS, LINK_FRAME_MAX_BYTES, LINK_PATH, LINK_SUBPROTOCOL, json,
};
use wardlink_wire::terminal::{
    BODY_MAX_BYTES, TERMINAL_FRAME_MAX_BYTES, TERMINAL_PATH, TERMINAL_SUBPROTOCOL, TerminalError,
};
use wardlink_wire::{CloseCode, Outcome, Reason};

/// Time for one step of a session: above a server's send deadline.
const STEP: Duration = Duration::from_secs(15);
/// Time for the servers to end.
const END: Duration = Duration::from_secs(15);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn document() -> String {
    std::fs::read_to_string(root().join("docs/PROTOCOL.md")).expect("docs/PROTOCOL.md")
}

/// Rows of the table behind `<!-- checked: NAME -->`, without its head, cells without backticks.
fn table(document: &str, name: &str) -> Vec<Vec<String>> {
    let mark = format!("<!-- checked: {name} -->\n");
    let (_, rest) = document.split_once(&mark).unwrap_or_else(|| panic!("no table {name}"));
    let rows = rest.lines().take_while(|line| line.starts_with('|')).skip(2);
    let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
    rows.map(|row| row.trim_matches('|').split('|').map(cell).collect()).collect()
}

/// Contents of the fenced blocks of this kind.
fn blocks<'a>(document: &'a str, kind: &str) -> Vec<&'a str> {
    let fence = format!("```{kind}\n");
    let contents = document.split(&fence).skip(1);
    contents.map(|rest| rest.split_once("\n```").expect("the fence is closed").0).collect()
}

fn first_column(rows: &[Vec<String>]) -> Vec<&str> {
    rows.iter().map(|row| row[0].as_str()).collect()
}

#[test]
fn the_table_of_close_codes_is_that_of_the_code() {
    let written = table(&document(), "close codes");
    let mut codes = CloseCode::ALL;
    codes.sort_by_key(|code| code.code());
    assert_eq!(written.len(), codes.len());
    for (row, code) in written.iter().zip(codes) {
        let again = if code.reconnect() { "yes" } else { "no" };
        let number = code.code().to_string();
        assert_eq!(row[..4], [&number, code.label(), code.text(), again]);
    }
}

#[test]
fn the_tables_of_outcomes_and_reasons_are_those_of_the_code() {
    let document = document();
    let outcomes = table(&document, "outcomes");
    assert_eq!(first_column(&outcomes), Outcome::ALL.map(Outcome::as_str));
    let reasons = table(&document, "reasons");
    assert_eq!(first_column(&reasons), Reason::ALL.map(Reason::as_str));
    for (row, reason) in reasons.iter().zip(Reason::ALL) {
        assert_eq!(row[1], if reason.retry() { "yes" } else { "no" }, "{reason}");
    }
}

#[test]
fn the_tables_of_error_codes_are_those_of_the_code() {
    let document = document();
    let errors = table(&document, "terminal errors");
    assert_eq!(first_column(&errors), TerminalError::ALL.map(TerminalError::as_str));
    let errors = table(&document, "link errors");
    let words = ErrorCode::ALL.map(|code| serde_json::to_value(code).expect("a word"));
    assert_eq!(first_column(&errors), words.each_ref().map(|word| word.as_str().expect("text")));
}

#[test]
fn paths_sub_protocols_and_limits_are_named() {
    let document = document();
    let number = |n: usize| {
        let digits = n.to_string();
        let groups: Vec<_> =
            digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
        groups.join(",")
    };
    for text in [
        format!("path `{TERMINAL_PATH}`"),
        format!("path `{LINK_PATH}`"),
        format!("`{TERMINAL_SUBPROTOCOL}`"),
        format!("Sec-WebSocket-Protocol: {LINK_SUBPROTOCOL}"),
        format!("({} bytes), a body at most", number(TERMINAL_FRAME_MAX_BYTES)),
        format!("64 KiB ({} bytes", number(BODY_MAX_BYTES)),
        format!("1 MiB ({} bytes) and {}", number(LINK_FRAME_MAX_BYTES), number(FRAME_MAX_ITEMS)),
    ] {
        assert!(document.contains(&text), "the document does not say: {text}");
    }
}

/// A section `#### …` of the items: the names in its table's first column, and its example.
fn item_sections(document: &str) -> Vec<(BTreeSet<String>, &str)> {
    let sections = document.split("\n#### ").skip(1);
    let section = |section| {
        let (table, rest): (&str, &str) = Option::unwrap(str::split_once(section, "\n```json "));
        let example = rest.split_once("\n```").expect("the fence is closed").0;
        let rows = table.lines().filter(|line| line.starts_with("| `"));
        let names = rows.flat_map(|row| {
            let cell = row.split('|').nth(1).unwrap_or_default();
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
        });
        (names.collect(), example)
    };
    sections.map(section).collect()
}

#[test]
fn the_examples_of_link_items_are_read_and_their_tables_name_every_field() {
    let document = document();
    let sections = item_sections(&document);
    let (mut to_ms, mut to_bs) = (0, 0);
    for (names, example) in sections {
        let (direction, text) = example.split_once('\n').expect("a line");
        // What is read and written again is what the document has: no field was ignored.
        let again = match direction {
            "to-ms" => {
                to_ms += 1;
                let items = json::decode_to_ms(text).expect("a frame").into_iter();
                json::encode_to_ms(&items.collect::<Result<Vec<_>, _>>().expect("an item"))
            }
            _ => {
                to_bs += 1;
                let items = json::decode_to_bs(text).expect("a frame").into_iter();
                json::encode_to_bs(&items.collect::<Result<Vec<_>, _>>().expect("an item"))
            }
        };
        assert_eq!(again, text);
        let value: Value = serde_json::from_str(text).expect("JSON");
        let fields = value.as_object().expect("an object").keys();
        let fields: BTreeSet<String> = fields.filter(|name| *name != "type").cloned().collect();
        assert_eq!(names, fields, "{text}");
    }
    // All items; `superseded` and the second direction of `error` are written like another.
    assert_eq!((to_ms, to_bs), (7, 7));
}

/// One field of a message of the schema.
#[derive(Debug)]
struct SchemaField {
    kind: String,
    packed: bool,
    name: String,
}

type Schema = BTreeMap<String, BTreeMap<u64, Vec<SchemaField>>>;

/// Reads as much of proto3 as the document uses.
fn schema(text: &str) -> Schema {
    let text: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let mut schema = Schema::new();
    for message in text.split("message ").skip(1) {
        let (name, body) = message.split_once('{').expect("a body");
        let fields = schema.entry(name.trim().to_owned()).or_default();
        for field in body.replace("oneof kind {", "").split(';') {
            let Some((left, tag)) = field.split_once('=') else { continue };
            let words: Vec<&str> = left.split_whitespace().collect();
            let &[.., kind, name] = words.as_slice() else { panic!("no field: {field}") };
            let packed = words[0] == "repeated" && ["sint32", "fixed64"].contains(&kind);
            let tag = tag.trim().parse().expect("a tag number");
            let field = SchemaField { kind: kind.to_owned(), packed, name: name.to_owned() };
            fields.entry(tag).or_default().push(field);
        }
    }
    schema
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = bytes.split_first().expect("a varint");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}

/// Reads a message by the schema and notes which of its fields were met. `to_ms` chooses between
/// two meanings of one tag.
fn read(schema: &Schema, name: &str, mut bytes: &[u8], to_ms: bool, met: &mut BTreeSet<String>) {
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let fields = schema[name].get(&(key >> 3));
        let fields = fields.unwrap_or_else(|| panic!("{name} has no field {}", key >> 3));
        // Of two meanings the one towards an MS is written first.
        let field = if to_ms { &fields[0] } else { &fields[fields.len() - 1] };
        met.insert(format!("{name}.{}", field.name));
        let wire_type = match field.kind.as_str() {
            _ if field.packed => 2,
            "uint64" | "uint32" | "bool" | "sint32" => 0,
            "fixed64" => 1,
            _ => 2,
        };
        assert_eq!(key & 7, wire_type, "{name}.{}", field.name);
        match wire_type {
            0 => drop(varint(&mut bytes)),
            1 => bytes = &bytes[8..],
            _ => {
                let length = usize::try_from(varint(&mut bytes)).expect("a length");
                let (inner, rest) = bytes.split_at(length);
                bytes = rest;
                if schema.contains_key(&field.kind) {
                    read(schema, &field.kind, inner, to_ms, met);
                }
            }
        }
    }
}

#[test]
fn the_binary_schema_reads_the_golden_frames_and_has_no_other_field() {
    let document = document();
    let schema = schema(blocks(&document, "proto")[0]);
    let mut met = BTreeSet::new();
    for (dir, to_ms) in [("to_ms", true), ("to_bs", false)] {
        let dir = root().join("crates/wire/tests/golden").join(dir);
        for entry in std::fs::read_dir(dir).expect("golden frames") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "hex") {
                let text = std::fs::read_to_string(path).expect("a frame");
                let digits: String = text.split_whitespace().collect();
                let byte = |i| u8::from_str_radix(&digits[i..i + 2], 16).expect("hex");
                let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
                read(&schema, "Frame", &bytes, to_ms, &mut met);
            }
        }
    }
    let all = schema.iter().flat_map(|(message, fields)| {
        fields.values().flatten().map(move |field| format!("{message}.{}", field.name))
    });
    assert_eq!(met, all.collect());
}

/// A BS and an MS in this process, on an embedded store in a folder of their own.
struct Servers {
    terminals: SocketAddr,
    links: SocketAddr,
    trigger: Trigger,
    running: Vec<JoinHandle<anyhow::Result<()>>>,
    _data: TempDir,
}

impl Servers {
    async fn start() -> anyhow::Result<Self> {
        let data = TempDir::with_prefix("wardlink-protocol-")?;
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let (trigger, stop) = stop::channel();
        let ms = wardlink_ms::app::Config {
            listen: any,
            acceptor: Acceptor::plain(),
            identity: wardlink_ms::app::LinkIdentity::Open,
            max_links: wardlink_ms::app::LINKS_MAX,
            accept: AcceptSettings::default().rate(),
            admin_listen: None,
            store: StoreUri::Embedded(data.path().to_owned()),
            names: Names::default(),
            store_tls_ca: None,
            indexes: wardlink_ms::app::Indexes::Ensure,
            message_ttl_s: 600,
            mailbox_max: 10_000,
            sweep: Duration::from_secs(60),
            drain: END,
        };
        let listeners = wardlink_ms::app::Listeners::bind(&ms).await?;
        let links = listeners.link.local_addr()?;
        let ms_ready = wardlink_ms::app::readiness(stop.clone());
        let ms = tokio::spawn(wardlink_ms::app::run(ms, listeners, ms_ready.clone(), stop.clone()));
        let bs = wardlink_bs::app::Config {
            listen: any,
            acceptor: Acceptor::plain(),
            accept: AcceptSettings::default().rate(),
            knock: wardlink_bs::app::Knock::default(),
            admin_listen: None,
            front: wardlink_bs::app::FrontConfig::development(),
            ms: vec![format!("ws://{links}/link").parse().map_err(anyhow::Error::msg)?],
            server: None,
            playground: None,
            drain: Duration::ZERO,
        };
        let listeners = wardlink_bs::app::Listeners::bind(&bs).await?;
        let terminals = listeners.terminals.local_addr()?;
        let bs_ready = wardlink_bs::app::readiness(stop.clone());
        let bs = tokio::spawn(wardlink_bs::app::run(bs, listeners, bs_ready.clone(), stop));
        for ready in [ms_ready, bs_ready] {
            ensure!(
                timeout(STEP, ready.wait()).await?,
                "the servers stopped before they were ready"
            );
        }
        Ok(Self { terminals, links, trigger, running: vec![ms, bs], _data: data })
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.trigger.stop();
        for running in self.running {
            timeout(END, running).await.context("a server does not end")???;
        }
        Ok(())
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The terminals of one session of the document, by name.
struct Replay<'a> {
    servers: &'a Servers,
    sockets: BTreeMap<String, Socket>,
}

impl Replay<'_> {
    /// `NAME = PATH`, `NAME = link PATH`, `NAME > JSON`, `NAME < JSON`, `NAME x CODE TEXT`,
    /// `NAME bye`.
    async fn step(&mut self, line: &str) -> anyhow::Result<()> {
        let (name, rest) = line.split_once(' ').context("a name")?;
        let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if verb == "=" {
            let socket = self.connect(rest).await?;
            self.sockets.insert(name.to_owned(), socket);
            return Ok(());
        }
        let socket = self.sockets.get_mut(name).context("a name that is connected")?;
        match verb {
            ">" => Ok(socket.send(Message::text(rest)).await?),
            "bye" => Ok(socket.close(None).await?),
            "<" => match next(socket).await? {
                Message::Text(text) => {
                    let got: Value = serde_json::from_str(&text)?;
                    let wanted = serde_json::from_str(&rest.replace("<time>", "\"<time>\""))?;
                    ensure!(same(&wanted, &got), "there came {text}");
                    Ok(())
                }
                other => bail!("there came {other:?}"),
            },
            "x" => match next(socket).await? {
                Message::Close(Some(frame)) => {
                    let got = format!("{} {}", u16::from(frame.code), frame.reason);
                    ensure!(got == rest, "it was closed with {got}");
                    Ok(())
                }
                other => bail!("there came {other:?}"),
            },
            _ => bail!("no such step"),
        }
    }

    async fn connect(&self, path: &str) -> anyhow::Result<Socket> {
        if let Some(path) = path.strip_prefix("link ") {
            return Ok(connect_async(format!("ws://{}{path}", self.servers.links)).await?.0);
        }
        let url = format!("ws://{}{path}", self.servers.terminals);
        let mut request = url.into_client_request()?;
        let name = HeaderValue::from_static(TERMINAL_SUBPROTOCOL);
        request.headers_mut().insert("sec-websocket-protocol", name);
        Ok(connect_async(request).await?.0)
    }

    /// Nothing came that the document does not show.
    async fn end(self) -> anyhow::Result<()> {
        for (name, mut socket) in self.sockets {
            // A socket that has ended already cannot be closed.
            let _ = socket.close(None).await;
            while let Some(Ok(message)) = timeout(STEP, socket.next()).await? {
                let shown = matches!(message, Message::Text(_) | Message::Binary(_));
                ensure!(!shown, "{name} got more: {message:?}");
            }
        }
        Ok(())
    }
}

/// The next frame that is no ping.
async fn next(socket: &mut Socket) -> anyhow::Result<Message> {
    loop {
        let message = timeout(STEP, socket.next()).await.context("nothing came")?;
        match message.context("the connection ended")?? {
            Message::Ping(_) | Message::Pong(_) => {}
            message => return Ok(message),
        }
    }
}

/// Whether `got` is `wanted`, whose placeholders stand for any value of their kind.
fn same(wanted: &Value, got: &Value) -> bool {
    match (wanted, got) {
        (Value::String(wanted), Value::String(got)) if wanted == "<uuid>" => {
            uuid::Uuid::parse_str(got).is_ok()
        }
        (Value::String(wanted), got) if wanted == "<time>" => {
            got.as_u64().is_some_and(|ms| ms > 1_500_000_000_000)
        }
        (Value::Object(wanted), Value::Object(got)) => {
            wanted.len() == got.len()
                && wanted
                    .iter()
                    .all(|(name, value)| got.get(name).is_some_and(|got| same(value, got)))
        }
        (wanted, got) => wanted == got,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_sessions_happen_as_they_are_written() -> anyhow::Result<()> {
    let document = document();
    let sessions = blocks(&document, "session");
    ensure!(sessions.len() == 4, "{} sessions", sessions.len());
    let servers = Servers::start().await?;
    for session in sessions {
        let mut replay = Replay { servers: &servers, sockets: BTreeMap::new() };
        for line in session.lines().filter(|line| !line.is_empty()) {
            replay.step(line).await.with_context(|| format!("at: {line}"))?;
        }
        replay.end().await?;
    }
    servers.stop().await
}

/// Status and text of a refused handshake.
async fn refusal(server: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    match connect_async(format!("ws://{server}{path}")).await {
        Err(WsError::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            Ok((response.status().as_u16(), String::from_utf8(body)?))
        }
        Err(error) => Err(error.into()),
        Ok(_) => bail!("{path} was accepted"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_handshakes_are_answered_as_the_tables_say() -> anyhow::Result<()> {
    let document = document();
    let servers = Servers::start().await?;
    for (name, server) in
        [("terminal refusals", servers.terminals), ("link refusals", servers.links)]
    {
        for row in table(&document, name) {
            let (status, text) = refusal(server, &row[0]).await?;
            assert_eq!([status.to_string(), text], [row[1].clone(), format!("{}\n", row[2])]);
        }
    }
    servers.stop().await
}
