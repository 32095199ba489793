//! One link: the handshake, a task that reads, a task that writes.
//!
//! The reader never waits for the writer. The writer takes all that is queued, and flushes once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use uuid::Uuid;
use wardlink_link::{Socket, Writer};
use wardlink_wire::MessageId;
use wardlink_wire::link::json::{self, Plain};
use wardlink_wire::link::{ErrorItem, FrameError, LINK_PATH, LINK_SUBPROTOCOL, ToMs, proto};

use super::input::Input;
use crate::core::api::{LinkId, PlainItem};

/// A handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long the last frames of a link, a close frame among them, may take.
const LAST: Duration = Duration::from_secs(1);

/// Serves one accepted connection until it ends.
pub(super) async fn serve(stream: TcpStream, inputs: mpsc::Sender<Input>) {
    let Ok(Ok((socket, plain))) = timeout(HANDSHAKE, handshake(stream)).await else { return };
    let (queue, waiting) = wardlink_link::queue();
    let (id, answer) = oneshot::channel();
    if inputs.send(Input::LinkOpened { queue, plain, id }).await.is_err() {
        return;
    }
    let Ok(link) = answer.await else { return };
    let (sink, source) = socket.split();
    let text = Arc::new(AtomicBool::new(plain));
    let writer = Writer::new(sink, waiting, text.clone());
    let heard = inputs.clone();
    let mut writing =
        tokio::spawn(writer.run(async move |written| {
            heard.send(Input::PlainWritten(link, written)).await.is_ok()
        }));
    tokio::select! {
        () = read(link, source, plain, &text, &inputs) => {}
        // The writer ends by itself when the engine closed the link, or the peer does not read.
        _ = &mut writing => {}
    }
    // The engine drops its end of the queue, and with it the writer ends, after its last frame.
    let _ = inputs.send(Input::LinkClosed(link)).await;
    if !writing.is_finished() && timeout(LAST, &mut writing).await.is_err() {
        writing.abort();
    }
}

async fn handshake(stream: TcpStream) -> Result<(Socket, bool), WsError> {
    let mut plain = true;
    // The type of the error is the library's.
    #[expect(clippy::result_large_err)]
    let callback = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        if request.uri().path() != LINK_PATH {
            let mut refusal = ErrorResponse::new(Some("links are at /link\n".to_owned()));
            *refusal.status_mut() = StatusCode::NOT_FOUND;
            return Err(refusal);
        }
        let asked = request.headers().get_all("sec-websocket-protocol");
        let names = asked.iter().filter_map(|value| value.to_str().ok());
        if names.flat_map(|value| value.split(',')).any(|name| name.trim() == LINK_SUBPROTOCOL) {
            plain = false;
            let name = HeaderValue::from_static(LINK_SUBPROTOCOL);
            response.headers_mut().insert("sec-websocket-protocol", name);
        }
        Ok(response)
    };
    let socket =
        accept_hdr_async_with_config(stream, callback, Some(wardlink_link::config())).await?;
    Ok((socket, plain))
}

/// Reads until the link ends.
async fn read(
    link: LinkId,
    mut source: SplitStream<Socket>,
    plain: bool,
    text: &AtomicBool,
    inputs: &mpsc::Sender<Input>,
) {
    while let Some(Ok(message)) = source.next().await {
        let input = match message {
            Message::Binary(_) | Message::Text(_) if plain => match plain_items(&message) {
                Ok(items) => Input::Plain(link, items),
                Err(error) => return complain(link, error, inputs).await,
            },
            Message::Binary(frame) => match items(link, proto::decode_to_ms(frame), inputs).await {
                Some(items) => Input::Items(link, items),
                None => return,
            },
            Message::Text(frame) => {
                text.store(true, Ordering::Relaxed);
                match items(link, json::decode_to_ms(&frame), inputs).await {
                    Some(items) => Input::Items(link, items),
                    None => return,
                }
            }
            Message::Ping(_) | Message::Pong(_) => Input::Heard(link),
            Message::Close(_) | Message::Frame(_) => return,
        };
        if inputs.send(input).await.is_err() {
            return;
        }
    }
}

async fn complain(link: LinkId, error: FrameError, inputs: &mpsc::Sender<Input>) {
    tracing::warn!(link = link.0, %error, "link sent a frame that is none, closing it");
    // The engine is gone only at the end of the process.
    let _ = inputs.send(Input::BadFrame(link)).await;
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
            complain(link, error, inputs).await;
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
