//! Handshakes over real sockets.

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use wardlink_link::SecretFile;
use wardlink_service::metrics::Registry;

use super::*;

const SECRET: &str = "a-secret-of-the-cluster";

struct Rig {
    entrance: Arc<Entrance>,
    listener: TcpListener,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        std::fs::write(&file, SECRET).unwrap();
        let identity = Doorkeeper::Secret(SecretFile::open(file).unwrap());
        let metrics = Metrics::new(&Registry::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let entrance = Arc::new(Entrance::new(Acceptor::plain(), identity, metrics));
        Self { entrance, listener, address, _dir: dir }
    }

    /// A client's end, and what becomes of the server's.
    async fn connect(&self) -> (TcpStream, tokio::task::JoinHandle<Option<Entered>>) {
        let client = TcpStream::connect(self.address).await.unwrap();
        let (server, _) = self.listener.accept().await.unwrap();
        let entrance = self.entrance.clone();
        (client, tokio::spawn(async move { entrance.enter(server).await }))
    }

    /// The status and text that answer a request with these headers, and whether it was let in.
    async fn ask(&self, path: &str, authorization: &[&str]) -> (u16, String, bool) {
        let (client, entered) = self.connect().await;
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        for value in authorization {
            request.headers_mut().append(AUTHORIZATION, value.parse().unwrap());
        }
        let (status, text) = match client_async(request, client).await {
            Ok((_, answer)) => (answer.status(), String::new()),
            Err(WsError::Http(answer)) => {
                let body = answer.body().clone().unwrap_or_default();
                (answer.status(), String::from_utf8(body).unwrap())
            }
            Err(error) => panic!("{error}"),
        };
        (status.as_u16(), text, entered.await.unwrap().is_some())
    }

    fn refused(&self, refusal: Refusal) -> u64 {
        self.entrance.metrics.refused_count(refusal)
    }
}

#[tokio::test]
async fn only_who_shows_the_secret_is_let_in() {
    let rig = Rig::new().await;
    let right = format!("Bearer {SECRET}");
    assert_eq!(rig.ask("/link", &[&right]).await.0, 101);
    let lower = format!("bearer  {SECRET}");
    assert_eq!(rig.ask("/link", &[&lower]).await.0, 101);

    let missing = "a link needs a secret, as Authorization: Bearer\n".to_owned();
    let basic = format!("Basic {SECRET}");
    for none in [&[][..], &[basic.as_str()], &["Bearer"], &[right.as_str(), &right]] {
        assert_eq!(rig.ask("/link", none).await, (401, missing.clone(), false), "{none:?}");
    }
    assert_eq!(rig.refused(Refusal::NoSecret), 4);

    let wrong = "the link's secret is a wrong one\n".to_owned();
    let longer = format!("{right}x");
    for other in ["Bearer another-secret-of-the-cluster", &longer] {
        assert_eq!(rig.ask("/link", &[other]).await, (401, wrong.clone(), false), "{other:?}");
    }
    assert_eq!(rig.refused(Refusal::WrongSecret), 2);
}

#[tokio::test]
async fn what_is_no_request_for_a_link_is_answered_and_counted() {
    let rig = Rig::new().await;
    let (status, text, entered) = rig.ask("/other", &[]).await;
    assert_eq!((status, text.as_str(), entered), (404, "links are at /link\n", false));
    for (request, answer) in [
        ("GET /link HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400"),
        ("POST /link HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400"),
        ("nonsense\r\n\r\n", "HTTP/1.1 400"),
    ] {
        let (mut client, entered) = rig.connect().await;
        client.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with(answer), "{request:?}: {text:?}");
        assert!(entered.await.unwrap().is_none());
    }
    assert_eq!(rig.refused(Refusal::Request), 4);
}

#[tokio::test(start_paused = true)]
async fn half_a_request_is_given_up() {
    let rig = Rig::new().await;
    let (mut client, entered) = rig.connect().await;
    client.write_all(b"GET /link HTTP/1.1\r\nHost: h\r\n").await.unwrap();
    let begun = tokio::time::Instant::now();
    assert!(entered.await.unwrap().is_none());
    assert!(begun.elapsed() <= Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(rig.refused(Refusal::Slow), 1);
}

#[tokio::test]
async fn a_frame_that_comes_with_the_request_is_read() {
    let rig = Rig::new().await;
    let (mut client, entered) = rig.connect().await;
    let request = format!(
        "GET /link HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: other, wardlink.link.v1\r\n\
         Authorization: Bearer {SECRET}\r\n\r\n"
    );
    let mut bytes = request.into_bytes();
    // A text frame "hi", masked with zeros.
    bytes.extend([0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    client.write_all(&bytes).await.unwrap();
    let Entered { mut socket, plain, standing } = entered.await.unwrap().unwrap();
    assert!(!plain && standing.is_none());
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hi"));
    socket.send(Message::text("ho")).await.unwrap();
    let mut answer = vec![0; 1_024];
    let mut len = 0;
    while !answer[..len].ends_with(b"ho") {
        len += client.read(&mut answer[len..]).await.unwrap();
    }
    let answer = String::from_utf8_lossy(&answer[..len]).to_lowercase();
    assert!(answer.contains("sec-websocket-protocol: wardlink.link.v1\r\n"), "{answer}");
}
