//! What the commands that connect have in common: the server, and the bodies to send.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use wardlink_client::{
    ClientConfig, Connector, Ended, Identity, Outgoing, SendError, TokenSource, check_url,
};
use wardlink_service::settings::BadSetting;
use wardlink_wire::terminal::BODY_MAX_BYTES;
use wardlink_wire::{CloseCode, EndId};

/// Lines of stdin that are read ahead of the sends.
const LINES_AHEAD: usize = 64;

/// Where to connect to.
#[derive(Debug, clap::Args)]
pub(crate) struct Connect {
    /// Servers to connect to, tried in turn
    #[arg(long, env = "WARDLINK_SERVER", value_name = "URL", value_delimiter = ',')]
    #[arg(default_value = "ws://127.0.0.1:8080/ws", value_parser = parse_server)]
    pub(crate) server: Vec<String>,

    /// File with the token of this end, read again for each connection and when it changes
    /// [default: development identity, without a token]
    #[arg(long, env = "WARDLINK_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// File with the certificate authorities to trust for wss:// [default: those of this system]
    #[arg(long, env = "WARDLINK_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

impl Connect {
    /// Why the client ended, and what to do about it.
    pub(crate) fn error(&self, ended: Ended) -> anyhow::Error {
        let wants_token = match ended {
            Ended::Closed(code) => CloseCode::from_code(code) == Some(CloseCode::BadIdentity),
            Ended::Refused(status) => status == 401,
            Ended::Stopped | Ended::OtherEnd => false,
        };
        if wants_token && self.token_file.is_none() {
            return anyhow::anyhow!("{ended}; the server wants a token: --token-file");
        }
        ended.into()
    }

    /// A client of these servers.
    ///
    /// # Errors
    /// When a file that is named cannot be used.
    pub(crate) fn config(&self, end: EndId) -> Result<ClientConfig, BadSetting> {
        let mut config = ClientConfig::new("", end);
        config.urls.clone_from(&self.server);
        if let Some(path) = &self.token_file {
            // Only whether it is there: a pipe could not be read again.
            std::fs::metadata(path).map_err(|error| unreadable("--token-file", path, &error))?;
            config.identity = Identity::Bearer(TokenSource::file(path));
        }
        if self.server.iter().any(|url| url.starts_with("wss:")) {
            let connector = Connector::new(self.ca.clone(), None);
            config.tls = Some(connector.map_err(|error| BadSetting::new("--ca", error.line()))?);
        }
        Ok(config)
    }
}

/// A file that a setting names and that cannot be read.
pub(crate) fn unreadable(setting: &'static str, path: &Path, error: &io::Error) -> BadSetting {
    BadSetting::new(setting, format!("{} cannot be read: {error}", path.display()))
}

fn parse_server(text: &str) -> Result<String, String> {
    check_url(text).map_err(|error| error.to_string()).map(|()| text.to_owned())
}

/// Reads a URL of the admin port, for `value_parser`.
pub(crate) fn parse_admin(text: &str) -> Result<hyper::Uri, String> {
    let expected = || "expected a URL such as http://127.0.0.1:9090".to_owned();
    let uri: hyper::Uri = text.parse().map_err(|_| expected())?;
    let usable = uri.scheme_str() == Some("http") && uri.host().is_some_and(|h| !h.is_empty());
    if usable { Ok(uri) } else { Err(expected()) }
}

/// A message of a body as a person writes it: JSON as it is, anything else as a string.
pub(crate) fn outgoing(
    to: &EndId,
    body: &str,
    ttl: Option<Duration>,
) -> Result<Outgoing, SendError> {
    let message = match Outgoing::from_json(to.clone(), body) {
        Err(SendError::Body(_)) => Outgoing::new(to.clone(), body),
        other => other,
    }?;
    Ok(match ttl {
        Some(ttl) => message.with_ttl(ttl),
        None => message,
    })
}

/// The bodies to send, in order: those of the command line, or for `-` the lines of stdin.
pub(crate) fn bodies(given: Vec<String>) -> mpsc::Receiver<io::Result<String>> {
    let (bodies, receiver) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        for body in given {
            let sent = if body == "-" {
                lines(io::stdin().lock(), |line| bodies.blocking_send(line).is_ok())
            } else {
                bodies.blocking_send(Ok(body)).is_ok()
            };
            if !sent {
                break;
            }
        }
    });
    receiver
}

/// Gives each line that is not empty to `each` until it says no; returns whether it did not.
/// A line that cannot be a body is an error and the last.
fn lines(mut input: impl BufRead, mut each: impl FnMut(io::Result<String>) -> bool) -> bool {
    // A string body grows by its quotes; anything longer is refused without reading it all.
    let longest = BODY_MAX_BYTES as u64 + 2;
    loop {
        let mut line = Vec::new();
        let read = io::Read::take(&mut input, longest).read_until(b'\n', &mut line);
        let line = match read {
            Ok(0) => return true,
            Ok(n) if n as u64 == longest && line.last() != Some(&b'\n') => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "line is longer than a body may be"))
            }
            Ok(_) => String::from_utf8(line)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "line is not UTF-8")),
            Err(error) => Err(error),
        };
        let failed = line.is_err();
        let line = line.map(|line| line.trim_end_matches(['\n', '\r']).to_owned());
        if matches!(&line, Ok(line) if line.is_empty()) {
            continue;
        }
        if !each(line) || failed {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Vec<Result<String, io::ErrorKind>> {
        let mut all = Vec::new();
        lines(input, |line| {
            all.push(line.map_err(|error| error.kind()));
            true
        });
        all
    }

    #[test]
    fn lines_of_stdin_are_bodies() {
        let wanted = ["one", "{\"a\":1}", "last"].map(|line| Ok(line.to_owned()));
        assert_eq!(read(b"one\n\n{\"a\":1}\r\nlast"), wanted);
    }

    #[test]
    fn a_line_that_cannot_be_a_body_is_the_last() {
        let mut input = vec![b'x'; BODY_MAX_BYTES + 10];
        input.extend_from_slice(b"\nnext\n");
        assert_eq!(read(&input), [Err(io::ErrorKind::InvalidData)]);
        assert_eq!(read(b"a\n\xff\nb\n"), [Ok("a".into()), Err(io::ErrorKind::InvalidData)]);
    }

    #[test]
    fn an_admin_url_is_http_with_a_host() {
        assert!(parse_admin("http://127.0.0.1:9090").is_ok());
        for text in ["", "127.0.0.1:9090", "https://a", "/view"] {
            assert!(parse_admin(text).is_err(), "{text}");
        }
    }
}
