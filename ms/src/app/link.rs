//! One link after its handshake: a task that reads, a task that writes.
//!
//! The reader never waits for the writer. The writer takes all that is queued, and flushes once.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;
use wardlink_link::{Socket, Writer};
use wardlink_wire::link::json::{self, Plain};
use wardlink_wire::link::{ErrorItem, FrameError, LinkToken, ToMs, proto};
use wardlink_wire::{CloseCode, MessageId, ServerId};

use super::handshake::{Entered, Entrance};
use super::identity::Standing;
use super::input::Input;
use crate::core::api::{LinkId, PlainItem};

/// How long the last frames of a link, a close frame among them, may take.
const LAST: Duration = Duration::from_secs(1);
/// Frames of one link that wait for the engine: one, while the next is read. A frame's items take
/// 16 ms at the most (8,192 at 2 µs), so a link waits so long twice for each that floods.
const TURNS: usize = 2;

/// Serves one accepted connection until it ends.
pub(super) async fn serve(stream: TcpStream, entrance: Arc<Entrance>, inputs: mpsc::Sender<Input>) {
    // Boxed: what a handshake needs is not kept for the link's life.
    let Some(entered) = Box::pin(entrance.enter(stream)).await else { return };
    let Entered { socket, plain, standing } = entered;
    let (queue, waiting) = wardlink_link::queue();
    let (id, answer) = oneshot::channel();
    if inputs.send(Input::LinkOpened { queue, plain, id }).await.is_err() {
        return;
    }
    let Ok(link) = answer.await else { return };
    let (sink, source) = socket.split();
    let text = Arc::new(AtomicBool::new(plain));
    let writer = Writer::new(sink, waiting, text.clone());
    let server = standing.as_ref().map(Standing::server);
    let (fresh, shown) = watch::channel(None);
    let kind = Kind { plain, server, text, fresh };
    let heard = inputs.clone();
    let mut writing =
        tokio::spawn(writer.run(async move |written| {
            heard.send(Input::PlainWritten(link, written)).await.is_ok()
        }));
    tokio::select! {
        () = read(link, source, kind, &inputs) => {}
        code = keep(standing, shown) => {
            // The engine is gone only at the end of the process.
            let _ = inputs.send(Input::Close(link, code)).await;
        }
        // The writer ends by itself when the engine closed the link, or the peer does not read.
        _ = &mut writing => {}
    }
    // The engine drops its end of the queue, and with it the writer ends, after its last frame.
    let _ = inputs.send(Input::LinkClosed(link)).await;
    if !writing.is_finished() && timeout(LAST, &mut writing).await.is_err() {
        writing.abort();
    }
}

/// Ends when the link has no right to be there any more.
async fn keep(standing: Option<Standing>, shown: watch::Receiver<Option<LinkToken>>) -> CloseCode {
    match standing {
        Some(standing) => standing.keep(shown).await,
        None => std::future::pending().await,
    }
}

/// What the handshake and the first frames said of a link.
#[derive(Debug)]
struct Kind {
    /// It speaks the three items of old.
    plain: bool,
    /// Who its BS is, where that was checked.
    server: Option<ServerId>,
    /// Whether it has sent text, and is written to in text.
    text: Arc<AtomicBool>,
    /// The token that it showed last since it is open.
    fresh: watch::Sender<Option<LinkToken>>,
}

impl Kind {
    /// The items, a hello under the name that was checked. Fresh tokens go to who checks them.
    fn named(&self, mut items: Vec<ToMs>) -> Vec<ToMs> {
        let Some(server) = self.server else { return items };
        for item in &mut items {
            match item {
                ToMs::Hello(hello) => hello.server_id = server,
                ToMs::Token(shown) => {
                    self.fresh.send_replace(Some(shown.token.clone()));
                }
                _ => {}
            }
        }
        items.retain(|item| !matches!(item, ToMs::Token(_)));
        items
    }
}

/// Reads until the link ends.
async fn read(
    link: LinkId,
    mut source: SplitStream<Socket>,
    kind: Kind,
    inputs: &mpsc::Sender<Input>,
) {
    let turns = Arc::new(Semaphore::new(TURNS));
    while let Some(message) = source.next().await {
        let message = match message {
            Ok(message) => message,
            Err(error) if wardlink_link::is_broken_protocol(&error) => {
                return complain(link, &error, inputs).await;
            }
            Err(_) => return,
        };
        let Ok(turn) = turns.clone().acquire_owned().await else { return };
        let input = match message {
            Message::Binary(_) | Message::Text(_) if kind.plain => match plain_items(&message) {
                Ok(items) => Input::Plain(link, items, turn),
                Err(error) => return complain(link, &error, inputs).await,
            },
            Message::Binary(frame) => match items(link, proto::decode_to_ms(frame), inputs).await {
                Some(items) => Input::Items(link, kind.named(items), turn),
                None => return,
            },
            Message::Text(frame) => {
                kind.text.store(true, Ordering::Relaxed);
                match items(link, json::decode_to_ms(&frame), inputs).await {
                    Some(items) => Input::Items(link, kind.named(items), turn),
                    None => return,
                }
            }
            Message::Ping(_) | Message::Pong(_) => Input::Heard(link, turn),
            Message::Close(_) | Message::Frame(_) => return,
        };
        if inputs.send(input).await.is_err() {
            return;
        }
    }
}

async fn complain(link: LinkId, error: &(dyn Error + Sync), inputs: &mpsc::Sender<Input>) {
    tracing::warn!(link = link.0, %error, "link sent a frame that is none, closing it");
    // The engine is gone only at the end of the process.
    let _ = inputs.send(Input::Close(link, CloseCode::ProtocolError)).await;
}

/// The items of a frame that can be used; the others are answered with error items. `None`: the
/// link is to end.
async fn items(
    link: LinkId,
    decoded: Result<Vec<Result<ToMs, ErrorItem>>, FrameError>,
    inputs: &mpsc::Sender<Input>,
) -> Option<Vec<ToMs>> {
    let decoded = match decoded {
        Ok(decoded) => decoded,
        Err(error) => {
            complain(link, &error, inputs).await;
            return None;
        }
    };
    let (usable, errors) = wardlink_link::sort(decoded);
    if !errors.is_empty() {
        inputs.send(Input::Unusable(link, errors)).await.ok()?;
    }
    Some(usable)
}

fn plain_items(message: &Message) -> Result<Vec<PlainItem>, FrameError> {
    let text = message.to_text().map_err(|_| FrameError::NotJson)?;
    let items = json::decode_plain(text)?;
    Ok(items
        .into_iter()
        .filter_map(Result::ok)
        .map(|item| match item {
            Plain::Register { end } => PlainItem::Register(end),
            Plain::Unregister { end } => PlainItem::Unregister(end),
            Plain::Send { end, body } => {
                PlainItem::Send { end, body, id: MessageId::from_uuid(Uuid::new_v4()) }
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use futures_util::SinkExt;
    use tokio::net::TcpListener;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    use tokio_tungstenite::tungstenite::http::HeaderValue;
    use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

    use wardlink_service::metrics::Registry;
    use wardlink_tls::Acceptor;
    use wardlink_wire::link::{Hello, LINK_SUBPROTOCOL, LINK_VERSION};
    use wardlink_wire::{StartId, ViewNumber};

    use super::super::identity::Doorkeeper;
    use super::super::metrics::Metrics;
    use super::*;

    async fn connect(address: SocketAddr) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
        let mut request = format!("ws://{address}/link").into_client_request().unwrap();
        let name = HeaderValue::from_static(LINK_SUBPROTOCOL);
        request.headers_mut().insert("sec-websocket-protocol", name);
        connect_async(request).await.unwrap().0
    }

    #[tokio::test]
    async fn a_link_that_floods_has_few_frames_before_the_engine_and_others_get_through() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (inputs, mut events) = mpsc::channel(64);
        let metrics = Metrics::new(&Registry::new());
        let entrance = Arc::new(Entrance::new(Acceptor::plain(), Doorkeeper::Open, metrics));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, entrance.clone(), inputs.clone()));
            }
        });
        let frame = || Message::text(r#"{"type":7,"code":"malformed","text":"","about":""}"#);
        let mut flood = connect(address).await;
        for _ in 0..1_000 {
            flood.feed(frame()).await.unwrap();
        }
        flood.flush().await.unwrap();
        let mut other = connect(address).await;
        other.send(frame()).await.unwrap();
        // What came is kept: the engine is not done with any of it.
        let (mut kept, mut queues) = (Vec::new(), Vec::new());
        let mut links = 0;
        loop {
            match events.recv().await.unwrap() {
                Input::LinkOpened { queue, id, .. } => {
                    links += 1;
                    queues.push(queue);
                    id.send(LinkId(links)).unwrap();
                }
                input @ Input::Items(LinkId(1), ..) => kept.push(input),
                Input::Items(LinkId(2), ..) => break,
                other => panic!("unexpected {other:?}"),
            }
        }
        assert!(kept.len() <= TURNS, "{} frames of one link before the engine", kept.len());
    }

    #[test]
    fn a_hello_has_the_name_that_was_checked() {
        let (says, is) = (ServerId(Uuid::new_v4()), ServerId(Uuid::new_v4()));
        let hello = |server_id| {
            ToMs::Hello(Hello {
                server_id,
                start: StartId(Uuid::nil()),
                link: 1,
                version: LINK_VERSION,
                view: ViewNumber(0),
                misses: Vec::new(),
            })
        };
        let kind = |server| {
            let (fresh, _) = watch::channel(None);
            Kind { plain: false, server, text: Arc::default(), fresh }
        };
        assert_eq!(kind(None).named(vec![hello(says)]), [hello(says)]);
        assert_eq!(kind(Some(is)).named(vec![hello(says)]), [hello(is)]);
    }
}
