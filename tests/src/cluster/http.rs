//! GET from an admin port: just enough HTTP for `/readyz`, `/view` and `/metrics`.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A frozen process must not stop a test.
const WAIT: Duration = Duration::from_secs(3);

/// Status and body.
pub(super) async fn get(port: u16, path: &str) -> anyhow::Result<(u16, String)> {
    timeout(WAIT, exchange(port, path)).await.context("no answer from the admin port")?
}

async fn exchange(port: u16, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    // Version 1.0: the answer ends with the connection, without chunks.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("answer without a head")?;
    let status = head.split(' ').nth(1).context("answer without a status")?.parse()?;
    Ok((status, body.to_owned()))
}
