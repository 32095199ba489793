//! A server that tells a JWKS, or fails to in the ways that servers have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use wardlink_tests::cluster::free_port;

/// Between two bytes of a body that never ends.
const DRIP: Duration = Duration::from_millis(100);

/// How it answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// 200 and this body.
    Body(Vec<u8>),
    /// This status line and further headers, and no body.
    Status(&'static str),
    /// 200 and a body without an end, as fast as it is read.
    Flood,
    /// 200 and a body without an end, byte by byte.
    Drip,
    /// Nothing, as long as whoever asked waits.
    Silence,
}

/// The server; it answers all requests alike.
pub(crate) struct KeyServer {
    port: u16,
    answer: watch::Sender<Answer>,
    asked: Arc<AtomicUsize>,
    accepting: Option<JoinHandle<()>>,
}

impl KeyServer {
    pub(crate) async fn start(keys: Vec<u8>) -> anyhow::Result<Self> {
        let (answer, _) = watch::channel(Answer::Body(keys));
        let port = free_port()?;
        let mut server = Self { port, answer, asked: Arc::default(), accepting: None };
        server.up().await?;
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/.well-known/jwks.json", self.port)
    }

    /// From the next request on.
    pub(crate) fn answer(&self, answer: Answer) {
        self.answer.send_replace(answer);
    }

    /// Requests so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Nobody listens any more, and what is being answered breaks.
    pub(crate) async fn down(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // Aborted, which is what is wanted.
            let _ = accepting.await;
        }
    }

    pub(crate) async fn up(&mut self) -> anyhow::Result<()> {
        self.down().await;
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await?;
        let (answer, asked) = (self.answer.subscribe(), self.asked.clone());
        self.accepting = Some(tokio::spawn(async move {
            let mut answering = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                answering.spawn(serve(stream, answer.clone(), asked.clone()));
            }
        }));
        Ok(())
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

async fn serve(mut stream: TcpStream, answer: watch::Receiver<Answer>, asked: Arc<AtomicUsize>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut bytes = [0; 1024];
        match stream.read(&mut bytes).await {
            Ok(n) if n > 0 && head.len() < 16 * 1024 => head.extend(&bytes[..n]),
            Ok(_) | Err(_) => return,
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let answer = answer.borrow().clone();
    // Whoever asked may leave at any time.
    let _ = write(&mut stream, answer).await;
}

async fn write(stream: &mut TcpStream, answer: Answer) -> std::io::Result<()> {
    const OPEN: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"keys\":[";
    match answer {
        Answer::Body(body) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len());
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(b"Connection: close\r\n\r\n").await?;
            stream.write_all(&body).await?;
        }
        Answer::Status(line) => {
            let head = format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
        }
        Answer::Flood => {
            stream.write_all(OPEN).await?;
            loop {
                stream.write_all(&[b' '; 16 * 1024]).await?;
            }
        }
        Answer::Drip => {
            stream.write_all(OPEN).await?;
            loop {
                stream.write_all(b" ").await?;
                sleep(DRIP).await;
            }
        }
        Answer::Silence => while stream.read(&mut [0]).await? > 0 {},
    }
    stream.shutdown().await
}
