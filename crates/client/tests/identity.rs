//! A client that shows tokens, and one that speaks TLS, against a server that does what a test
//! tells it to.

// The size of a refusal is the WebSocket library's to choose.
#![allow(clippy::result_large_err)]

mod support;

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use support::{Server, end, soon};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use wardlink_client::{
    BearerToken, Client, ClientConfig, ConfigError, ConnectError, Connection, Connector, Ended,
    Identity, Status, Target, TokenSource,
};
use wardlink_tls::{Acceptor, CertificateFiles};
use wardlink_wire::CloseCode;
use wardlink_wire::terminal::Up;

fn bearer(server: &Server, source: TokenSource) -> ClientConfig {
    let mut config = server.config("H1-A1-a");
    config.identity = Identity::Bearer(source);
    config
}

/// A source whose tokens are `t1`, `t2` and so on.
fn counting(life: Duration) -> TokenSource {
    let count = Arc::new(AtomicU32::new(0));
    TokenSource::asked(move || {
        let n = count.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            let token = BearerToken::new(&format!("t{n}")).expect("token");
            Ok::<_, Infallible>(token.with_life(life))
        }
    })
}

#[tokio::test]
async fn a_token_travels_in_the_header_and_every_connection_asks_for_it() {
    let server = Server::start().await;
    let config = bearer(&server, counting(Duration::from_secs(600)));
    let (_client, _messages) = Client::connect(config).expect("client");
    for n in 1..=3 {
        let session = server.welcome().await;
        assert_eq!(session.authorization, Some(format!("Bearer t{n}")));
        assert!(session.query.starts_with("client="), "{}", session.query);
        session.close(CloseCode::GoingAway.code()).await;
    }
}

#[tokio::test]
async fn a_token_is_renewed_in_the_session() {
    let server = Server::start().await;
    let config = bearer(&server, counting(Duration::from_secs(1)));
    let (_client, _messages) = Client::connect(config).expect("client");
    let mut session = server.welcome().await;
    assert_eq!(session.authorization.as_deref(), Some("Bearer t1"));
    for n in 2..=3 {
        match session.hear().await {
            Up::Token(token) => assert_eq!(token.0, format!("t{n}")),
            other => panic!("no token: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_file_is_read_for_every_connection() {
    let dir = TempDir::new().expect("folder");
    let path = dir.path().join("token");
    fs::write(&path, "first\n").expect("written");
    let server = Server::start().await;
    let config = bearer(&server, TokenSource::file(&path));
    let (_client, _messages) = Client::connect(config).expect("client");
    let session = server.welcome().await;
    assert_eq!(session.authorization.as_deref(), Some("Bearer first"));
    fs::write(&path, "second\n").expect("written");
    session.close(CloseCode::IdentityExpired.code()).await;
    let session = server.welcome().await;
    assert_eq!(session.authorization.as_deref(), Some("Bearer second"));
}

#[tokio::test]
async fn a_refused_token_is_asked_for_anew_and_a_fixed_one_is_the_end() {
    let server = Server::start().await;
    let config = bearer(&server, counting(Duration::from_secs(600)));
    let (_client, _messages) = Client::connect(config).expect("client");
    server.refuse(401).await;
    assert_eq!(server.welcome().await.authorization.as_deref(), Some("Bearer t2"));

    let server = Server::start().await;
    let fixed = TokenSource::fixed(BearerToken::new("t").expect("token"));
    let (client, _messages) = Client::connect(bearer(&server, fixed)).expect("client");
    server.refuse(401).await;
    assert_eq!(soon(client.connected()).await, Err(Ended::Refused(401)));
}

#[tokio::test]
async fn a_source_that_fails_is_a_problem_and_not_the_end() {
    let server = Server::start().await;
    let count = Arc::new(AtomicU32::new(0));
    let source = TokenSource::asked(move || {
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if first { Err("provider is away") } else { Ok(BearerToken::new("t").expect("token")) }
        }
    });
    let (client, _messages) = Client::connect(bearer(&server, source)).expect("client");
    let mut status = client.status();
    let problem = soon(status.wait_for(|status| match status {
        Status::Connecting { problem: Some(problem) } => problem.contains("provider is away"),
        _ => false,
    }));
    drop(problem.await.expect("problem"));
    assert_eq!(server.welcome().await.authorization.as_deref(), Some("Bearer t"));
}

/// An authority of its own in `dir`, and a server's certificate for `name`.
fn certificates(dir: &TempDir, name: &str) -> CertificateFiles {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("key");
    let issuer = CertifiedIssuer::self_signed(params, key).expect("authority");
    let key = KeyPair::generate().expect("key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    let cert = params.signed_by(&key, &issuer).expect("certificate");
    let at = |file: &str| dir.path().join(file);
    fs::write(at("ca.crt"), issuer.pem()).expect("written");
    fs::write(at("bs.crt"), cert.pem()).expect("written");
    fs::write(at("bs.key"), key.serialize_pem()).expect("written");
    CertificateFiles { cert: at("bs.crt"), key: at("bs.key") }
}

/// A server with TLS that answers each connection with a `welcome`.
async fn tls_server(files: CertificateFiles) -> SocketAddr {
    let acceptor = Acceptor::tls(files, None).expect("acceptor");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            greet(&acceptor, stream).await;
        }
    });
    address
}

async fn greet(acceptor: &Acceptor, stream: TcpStream) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let agree = |_: &Request, mut response: Response| {
        let protocol = HeaderValue::from_static("wardlink.v1");
        response.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        Ok(response)
    };
    let Ok(mut session) = accept_hdr_async(stream, agree).await else { return };
    let welcome = Frame::text(support::welcome("H1-A1-a").to_json());
    // The terminal may be gone.
    let _ = futures_util::SinkExt::send(&mut session, welcome).await;
    while let Some(Ok(_)) = futures_util::StreamExt::next(&mut session).await {}
}

#[tokio::test]
async fn an_encrypted_server_must_have_the_name_of_its_url() {
    let dir = TempDir::new().expect("folder");
    let address = tls_server(certificates(&dir, "localhost")).await;
    let connector = Connector::new(Some(dir.path().join("ca.crt")), None).expect("connector");
    let target = |host: &str| {
        let url = format!("wss://{host}:{}/ws", address.port());
        let mut target = Target::new(url, end("H1-A1-a"));
        target.tls = Some(connector.clone());
        target
    };
    let connection = soon(Connection::connect(&target("localhost"))).await;
    let mut connection = connection.expect("connection");
    soon(connection.next()).await.expect("welcome");
    soon(connection.close()).await;
    let other = soon(Connection::connect(&target("127.0.0.1"))).await;
    assert!(matches!(other, Err(ConnectError::Tls { .. })), "{other:?}");
    let mut unknown = target("localhost");
    let other = TempDir::new().expect("folder");
    certificates(&other, "localhost");
    let ca = Some(other.path().join("ca.crt"));
    unknown.tls = Some(Connector::new(ca, None).expect("connector"));
    let refused = soon(Connection::connect(&unknown)).await;
    assert!(matches!(refused, Err(ConnectError::Tls { .. })), "{refused:?}");
}

#[tokio::test]
async fn an_encrypted_client_connects_and_one_that_trusts_nobody_does_not_start() {
    let dir = TempDir::new().expect("folder");
    let address = tls_server(certificates(&dir, "localhost")).await;
    let url = format!("wss://localhost:{}/ws", address.port());
    let mut config = ClientConfig::new(&url, end("H1-A1-a"));
    assert_eq!(Client::connect(config.clone()).err(), Some(ConfigError::NoTls(url)));
    let connector = Connector::new(Some(dir.path().join("ca.crt")), None).expect("connector");
    config.tls = Some(connector);
    let (client, _messages) = Client::connect(config).expect("client");
    soon(client.connected()).await.expect("welcome");
}
