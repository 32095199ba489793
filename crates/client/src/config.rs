//! What a client is told at its start, and the request that follows from it.

use std::net::IpAddr;
use std::time::Duration;

use tokio_tungstenite::tungstenite::http::Uri;
use uuid::Uuid;
use wardlink_tls::Connector;
use wardlink_wire::terminal::TERMINAL_PATH;
use wardlink_wire::{ClientId, EndId};

use crate::error::ConfigError;
use crate::token::TokenSource;

/// How a terminal shows who it is.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Identity {
    /// The three parts of the end id as query parameters. Only servers in development mode
    /// believe it.
    #[default]
    Development,
    /// A token in `Authorization: Bearer`, never in the URL. It must be the end's own.
    Bearer(TokenSource),
}

/// How received messages are acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AckMode {
    /// A message is processed when the next one is asked for, or when [`Messages`] is dropped
    /// (unless by a panic).
    ///
    /// [`Messages`]: crate::Messages
    #[default]
    Auto,
    /// The program calls [`Message::ack`] for each.
    ///
    /// [`Message::ack`]: crate::Message::ack
    Manual,
}

/// What a client is told at its start.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Servers, `ws://host:port/ws` or `wss://host:port/ws` each, tried in turn.
    pub urls: Vec<String>,
    /// The terminal's end.
    pub end: EndId,
    /// How it shows that it is this end.
    pub identity: Identity,
    /// How `wss://` servers are verified. One connector may serve any number of clients.
    pub tls: Option<Connector>,
    /// Names this program over its reconnects; random by default.
    pub client: ClientId,
    /// How received messages are acknowledged.
    pub ack: AckMode,
    /// Time within which each send has a result, whatever happens. The server's own deadline is
    /// 10 s by default; what is left covers a reconnect.
    pub send_deadline: Duration,
    /// Sends without a result, at most; [`Client::send`] waits while there are so many. At
    /// 64 KiB a body, 1,024 of them take 64 MiB at most.
    ///
    /// [`Client::send`]: crate::Client::send
    pub open_sends_max: usize,
    /// Messages received and not processed, at most; beyond it the session is ended and the
    /// messages come again. Above what a server leaves open in a session, so it is not reached.
    pub unprocessed_max: usize,
    /// Ceiling of the first delay before a reconnect.
    pub backoff_min: Duration,
    /// Ceiling of the longest delay before a reconnect.
    pub backoff_max: Duration,
}

impl ClientConfig {
    /// A client of one server with the defaults: development identity, automatic acks.
    pub fn new(url: impl Into<String>, end: EndId) -> Self {
        let core = crate::core::CoreConfig::default();
        Self {
            urls: vec![url.into()],
            end,
            identity: Identity::default(),
            tls: None,
            client: ClientId::from_uuid(Uuid::new_v4()),
            ack: AckMode::default(),
            send_deadline: core.send_deadline,
            open_sends_max: core.open_sends_max,
            unprocessed_max: core.unprocessed_max,
            backoff_min: core.backoff_min,
            backoff_max: core.backoff_max,
        }
    }

    /// Whether a client can start with this.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.urls.is_empty() {
            return Err(ConfigError::NoServer);
        }
        self.urls.iter().try_for_each(|url| match parse_url(url)?.scheme_str() {
            Some("wss") if self.tls.is_none() => Err(ConfigError::NoTls(url.clone())),
            _ => Ok(()),
        })
    }

    /// The first server to which a token would travel for all to read: in clear text, and not
    /// within this machine.
    pub(crate) fn exposed_url(&self) -> Option<&str> {
        let Identity::Bearer(_) = self.identity else { return None };
        self.urls.iter().map(String::as_str).find(|url| {
            parse_url(url).is_ok_and(|uri| uri.scheme_str() == Some("ws") && !is_loopback(&uri))
        })
    }
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// One connection to make.
#[derive(Debug, Clone)]
pub struct Target {
    /// The server, `ws://host:port/ws` or `wss://host:port/ws`.
    pub url: String,
    /// The terminal's end.
    pub end: EndId,
    /// How it shows that it is this end.
    pub identity: Identity,
    /// How a `wss://` server is verified.
    pub tls: Option<Connector>,
    /// The program and the number of this connection, where it has a name.
    pub client: Option<(ClientId, u64)>,
    /// Whether the terminal acknowledges (`false` becomes `ack=none`).
    pub acks: bool,
}

impl Target {
    /// A connection of an end to a server, with acks and without a program's name.
    pub fn new(url: impl Into<String>, end: EndId) -> Self {
        Self {
            url: url.into(),
            end,
            identity: Identity::default(),
            tls: None,
            client: None,
            acks: true,
        }
    }

    /// The URL with its query parameters. No value needs escaping: the grammars of the ids allow
    /// only what a query may hold.
    pub(crate) fn uri(&self) -> Result<Uri, ConfigError> {
        let base = parse_url(&self.url)?;
        let mut query: Vec<String> = base.query().map(str::to_owned).into_iter().collect();
        match &self.identity {
            Identity::Bearer(_) => {}
            Identity::Development => {
                let names = ["hospitalCode", "hosareaCode", "uid"];
                let parts = self.end.as_str().splitn(3, '-');
                query.extend(names.iter().zip(parts).map(|(name, part)| format!("{name}={part}")));
            }
        }
        if let Some((client, n)) = &self.client {
            query.push(format!("client={client}"));
            query.push(format!("n={n}"));
        }
        if !self.acks {
            query.push("ack=none".to_owned());
        }
        let scheme = base.scheme_str().unwrap_or_default();
        let host = base.authority().map_or("", |authority| authority.as_str());
        let path = if base.path() == "/" { TERMINAL_PATH } else { base.path() };
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{scheme}://{host}{path}{mark}{}", query.join("&"))
            .parse()
            .map_err(|_| ConfigError::Url(self.url.clone()))
    }
}

/// Whether a text is the URL of a server, `ws://host:port/ws` or `wss://host:port/ws`; without a path
/// `/ws` is meant.
///
/// # Errors
/// What is wrong with it.
pub fn check_url(text: &str) -> Result<(), ConfigError> {
    parse_url(text).map(drop)
}

fn parse_url(text: &str) -> Result<Uri, ConfigError> {
    let bad = || ConfigError::Url(text.to_owned());
    let uri: Uri = text.parse().map_err(|_| bad())?;
    match uri.scheme_str() {
        Some("ws" | "wss") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::BearerToken;

    fn end() -> EndId {
        "H1-A2-u-7@x".parse().expect("end")
    }

    #[test]
    fn the_request_names_the_end_the_program_and_its_connection() {
        let mut target = Target::new("ws://127.0.0.1:8080/ws", end());
        let wanted = "ws://127.0.0.1:8080/ws?hospitalCode=H1&hosareaCode=A2&uid=u-7@x";
        assert_eq!(target.uri().expect("uri").to_string(), wanted);
        target.client = Some(("c1".parse().expect("client"), 3));
        target.acks = false;
        let wanted = format!("{wanted}&client=c1&n=3&ack=none");
        assert_eq!(target.uri().expect("uri").to_string(), wanted);
        target.url = "ws://[::1]:80/ws?x=1".into();
        let uri = target.uri().expect("uri").to_string();
        assert!(uri.starts_with("ws://[::1]:80/ws?x=1&hospitalCode=H1&"), "{uri}");
    }

    fn bearer() -> Identity {
        Identity::Bearer(TokenSource::fixed(BearerToken::new("a.b.c").expect("token")))
    }

    #[test]
    fn a_token_is_not_in_the_url() {
        let mut target = Target::new("wss://bs.ward:8443/ws", end());
        target.identity = bearer();
        assert_eq!(target.uri().expect("uri").to_string(), "wss://bs.ward:8443/ws");
        target.acks = false;
        assert_eq!(target.uri().expect("uri").to_string(), "wss://bs.ward:8443/ws?ack=none");
    }

    #[test]
    fn a_token_in_clear_text_is_noticed_unless_it_stays_on_this_machine() {
        for (url, exposed) in [
            ("wss://bs.ward/ws", false),
            ("ws://localhost:8080/ws", false),
            ("ws://127.0.0.9:8080/ws", false),
            ("ws://[::1]:8080/ws", false),
            ("ws://10.0.0.5:8080/ws", true),
            ("ws://bs.ward/ws", true),
        ] {
            let mut config = ClientConfig::new(url, end());
            assert_eq!(config.exposed_url(), None, "{url} without a token");
            config.identity = bearer();
            assert_eq!(config.exposed_url(), exposed.then_some(url));
        }
    }

    #[test]
    fn without_a_path_it_is_the_terminals() {
        for url in ["ws://127.0.0.1:8080", "ws://127.0.0.1:8080/"] {
            let uri = Target::new(url, end()).uri().expect("uri").to_string();
            assert!(uri.starts_with("ws://127.0.0.1:8080/ws?hospitalCode=H1&"), "{uri}");
        }
    }

    #[test]
    fn urls_that_cannot_be_are_refused() {
        for url in ["", "127.0.0.1:8080", "http://a/ws", "ws://", "/ws", "ws:///ws"] {
            let config = ClientConfig::new(url, end());
            assert_eq!(config.check(), Err(ConfigError::Url(url.into())), "{url}");
        }
        let config = ClientConfig::new("wss://a/ws", end());
        assert_eq!(config.check(), Err(ConfigError::NoTls("wss://a/ws".into())));
        let mut config = ClientConfig::new("ws://a:1/ws", end());
        assert_eq!(config.check(), Ok(()));
        config.urls.clear();
        assert_eq!(config.check(), Err(ConfigError::NoServer));
    }
}
