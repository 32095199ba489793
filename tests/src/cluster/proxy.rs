//! A network between one BS and one MS that a test can cut: bytes are neither carried on nor
//! refused any more, as when a switch fails.

use std::net::Ipv4Addr;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ports;

/// What is carried at a time, in bytes.
const CHUNK: usize = 64 * 1024;

/// Carries connections to one port of this machine until it is cut. Dropping it breaks them.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    cut: watch::Sender<bool>,
    // Aborts its task, and with it those of the connections, when it is dropped.
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Begins to carry to `to`.
    ///
    /// # Errors
    /// No port is free.
    pub(super) async fn start(to: u16) -> anyhow::Result<Self> {
        let port = ports::free()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let (cut, state) = watch::channel(false);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, to, state));
        Ok(Self { port, cut, _accepting: accepting })
    }

    /// Where it is reached.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts it: what is open stays open, and nothing gets through.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Mends it: what waited goes on.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

async fn accept(listener: TcpListener, to: u16, cut: watch::Receiver<bool>) {
    let mut carried = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while carried.try_join_next().is_some() {}
        carried.spawn(carry(stream, to, cut.clone()));
    }
}

async fn carry(from: TcpStream, to: u16, mut cut: watch::Receiver<bool>) {
    // The proxy is gone with the test.
    if cut.wait_for(|cut| !*cut).await.is_err() {
        return;
    }
    let Ok(there) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else { return };
    for stream in [&from, &there] {
        // A peer that is gone already is found out below.
        let _ = stream.set_nodelay(true);
    }
    let ((from_in, from_out), (there_in, there_out)) = (from.into_split(), there.into_split());
    tokio::join!(pump(from_in, there_out, cut.clone()), pump(there_in, from_out, cut));
}

async fn pump(from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<bool>) {
    let mut bytes = vec![0; CHUNK];
    loop {
        if cut.wait_for(|cut| !*cut).await.is_err() || from.readable().await.is_err() {
            return;
        }
        if *cut.borrow() {
            continue;
        }
        match from.try_read(&mut bytes) {
            Ok(0) => {
                // Its peer hears of the end.
                let _ = to.shutdown().await;
                return;
            }
            Ok(n) if to.write_all(&bytes[..n]).await.is_err() => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
