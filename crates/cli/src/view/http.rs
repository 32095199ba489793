//! One GET over HTTP/1.1, for the admin port.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Time for the whole exchange.
const WAIT: Duration = Duration::from_secs(5);
/// Largest answer; a view of 256 partitions has some 30 KiB.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;

/// Gets `path` from the server of `base`.
///
/// # Errors
/// When there is no answer within 5 s, or another one than 200.
pub(crate) async fn get(base: &Uri, path: &str) -> anyhow::Result<Bytes> {
    let host = base.host().context("URL without a host")?;
    let port = base.port_u16().unwrap_or(80);
    timeout(WAIT, exchange(host, port, path))
        .await
        .with_context(|| format!("no answer from {host}:{port} within {} s", WAIT.as_secs()))?
}

async fn exchange(host: &str, port: u16, path: &str) -> anyhow::Result<Bytes> {
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port))
        .await
        .with_context(|| format!("cannot reach {host}:{port}"))?;
    let no_http = || format!("{host}:{port} speaks no HTTP");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.with_context(no_http)?;
    let request = Request::get(path)
        .header(header::HOST, format!("{host}:{port}"))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await.with_context(no_http)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX_BYTES).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error)).context("answer broke off")?;
        anyhow::Ok((status, body.to_bytes()))
    };
    tokio::pin!(answer, connection);
    let (status, body) = tokio::select! {
        answer = &mut answer => answer,
        // The connection may end before the answer is taken out of it.
        _ = &mut connection => answer.await,
    }?;
    if status != StatusCode::OK {
        bail!("{host}:{port} answers {status} to {path}");
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn get_from(answer: &'static str) -> anyhow::Result<Bytes> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let base: Uri =
            format!("http://{}", listener.local_addr().expect("address")).parse().expect("uri");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut request = vec![0; 1024];
            let n = stream.read(&mut request).await.expect("request");
            request.truncate(n);
            stream.write_all(answer.as_bytes()).await.expect("answer");
            String::from_utf8(request).expect("text")
        });
        let got = get(&base, "/view").await;
        assert!(server.await.expect("server").starts_with("GET /view HTTP/1.1\r\n"));
        got
    }

    #[tokio::test]
    async fn an_answer_is_taken_whether_or_not_it_has_a_length() {
        let body = get_from("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
        assert_eq!(body.expect("body"), "{}");
        let body = get_from("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}").await;
        assert_eq!(body.expect("body"), "{}");
    }

    #[tokio::test]
    async fn what_is_no_answer_is_an_error_that_says_so() {
        let error = get_from("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
        assert!(error.expect_err("404").to_string().ends_with("answers 404 Not Found to /view"));
        let error = get_from("SSH-2.0-x\r\n").await.expect_err("no HTTP");
        assert!(error.to_string().ends_with("speaks no HTTP"), "{error}");
    }
}
