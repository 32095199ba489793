//! Settings of `wardlink-bs`: flags, and environment variables of the same names. Only this
//! module reads them.

mod front;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use wardlink_link::Secrets;
use wardlink_service::settings::{
    AcceptSettings, AdminSettings, BadSetting, CommonSettings, parse_duration, parse_listen,
};
use wardlink_tls::{Acceptor, CertificateFiles, Connector, PeerName, TlsError, line};
use wardlink_wire::ServerId;
use wardlink_wire::terminal::TERMINAL_PATH;

pub use self::front::Auth;
use self::front::FrontSettings;
use crate::app::{AuthConfig, Config, Knock, LinkProof, MsAddress, Playground};

/// The Business Server of Wardlink: terminals connect to it, and it links to every Message Server.
#[derive(Debug, Parser)]
#[command(name = "wardlink-bs", version)]
pub struct Settings {
    /// Address for terminals (path /ws) and for HTTP (path /v1/messages) [default: 0.0.0.0:8080;
    /// with --auth development 127.0.0.1:8080, and only a loopback address can be given]
    #[arg(long, env = "WARDLINK_LISTEN", value_parser = parse_listen)]
    listen: Option<SocketAddr>,

    /// Message Servers, as a comma list of ws://host:port/link, or wss:// for TLS. A host with
    /// several addresses means one behind each; names are resolved again every few seconds.
    #[arg(long, env = "WARDLINK_MS", required = true, value_delimiter = ',')]
    #[arg(value_name = "ws://HOST:PORT/link")]
    ms: Vec<MsAddress>,

    #[command(flatten)]
    front: FrontSettings,

    /// Where terminals connect to this and other Business Servers, as a comma list of
    /// ws://host:port/ws, for the playground page. Only with --auth development.
    #[arg(long, env = "WARDLINK_PLAYGROUND_SERVERS", value_delimiter = ',', value_parser = parse_terminals)]
    playground_servers: Vec<String>,

    /// Identity of this server, a UUID. Without it, random at each start.
    #[arg(long, env = "WARDLINK_SERVER_ID", value_name = "UUID")]
    server_id: Option<ServerId>,

    /// Window over which terminals are asked to connect elsewhere after the stop signal. This
    /// program ends when none is left, 5 s later at the latest.
    #[arg(long, env = "WARDLINK_DRAIN", default_value = "30s", value_parser = parse_duration)]
    drain: Duration,

    /// File with the secret that is shown to Message Servers; of several lines the first, and
    /// after a refusal the next. Read again for each attempt.
    #[arg(long, env = "WARDLINK_LINK_SECRET_FILE", value_name = "FILE")]
    #[arg(conflicts_with = "link_token_file")]
    link_secret_file: Option<PathBuf>,

    /// File with the token that is shown to Message Servers. Read again for each attempt.
    #[arg(long, env = "WARDLINK_LINK_TOKEN_FILE", value_name = "FILE")]
    link_token_file: Option<PathBuf>,

    /// Name that a Message Server's certificate must have [default: the host in --ms]
    #[arg(long, env = "WARDLINK_LINK_SERVER_NAME", value_name = "NAME", value_parser = parse_name)]
    link_server_name: Option<PeerName>,

    /// Certificate of this server and its chain, in PEM: terminals connect by TLS, and it is
    /// shown to a Message Server that asks for one. Read again when it changes, as are the other
    /// two files.
    #[arg(long, env = "WARDLINK_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The certificate's key, in PEM.
    #[arg(long, env = "WARDLINK_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Authorities, in PEM, by which the certificates of Message Servers are verified; terminals
    /// are not asked for any [default: those of the system]
    #[arg(long, env = "WARDLINK_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    #[command(flatten)]
    accept: AcceptSettings,

    #[command(flatten)]
    admin: AdminSettings,

    #[command(flatten)]
    common: CommonSettings,
}

impl Settings {
    /// How to log.
    pub fn common(&self) -> &CommonSettings {
        &self.common
    }

    fn knock(&self, own: Option<CertificateFiles>) -> Result<Knock, BadSetting> {
        let proof = match (&self.link_secret_file, &self.link_token_file) {
            (Some(file), _) => {
                Secrets::read(file)
                    .map_err(|error| BadSetting::new("--link-secret-file", line(&error)))?;
                LinkProof::Secret(file.clone())
            }
            // It may not be there yet: whoever makes tokens makes them again and again.
            (None, Some(file)) => LinkProof::Token(file.clone()),
            (None, None) => LinkProof::None,
        };
        let encrypted = self.ms.iter().any(MsAddress::is_tls);
        let useless = |setting| {
            let problem = "has no use: no address of --ms begins with wss://";
            Err(BadSetting::new(setting, problem))
        };
        if !encrypted && self.tls_ca.is_some() {
            return useless("--tls-ca");
        }
        if !encrypted && self.link_server_name.is_some() {
            return useless("--link-server-name");
        }
        let connector = if encrypted {
            Some(Connector::new(self.tls_ca.clone(), own).map_err(bad_tls)?)
        } else {
            None
        };
        Ok(Knock { proof, connector, name: self.link_server_name.clone() })
    }

    /// Checks what single settings cannot.
    ///
    /// # Errors
    /// The setting, and what it expects.
    pub fn config(self) -> Result<Config, BadSetting> {
        let own = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => {
                Some(CertificateFiles { cert: cert.clone(), key: key.clone() })
            }
            _ => None,
        };
        let acceptor = match own.clone() {
            Some(own) => Acceptor::tls(own, None).map_err(bad_tls)?,
            None => Acceptor::plain(),
        };
        let knock = self.knock(own)?;
        let listen = self.listen.unwrap_or_else(|| self.front.listen());
        let front = self.front.config(listen)?;
        let playground = match front.auth {
            AuthConfig::Development => Some(Playground { servers: self.playground_servers }),
            AuthConfig::Jwt { .. } if !self.playground_servers.is_empty() => {
                let problem = "has a use only with --auth development";
                return Err(BadSetting::new("--playground-servers", problem));
            }
            AuthConfig::Jwt { .. } => None,
        };
        Ok(Config {
            listen,
            acceptor,
            accept: self.accept.rate(),
            knock,
            front,
            admin_listen: Some(self.admin.admin_listen),
            ms: self.ms,
            server: self.server_id,
            drain: self.drain,
            playground,
        })
    }
}

/// An address for the playground page, which can only reach loopback.
fn parse_terminals(text: &str) -> Result<String, String> {
    let expected = || format!("expected ws://127.0.0.1:port{TERMINAL_PATH}");
    let authority = text.strip_prefix("ws://").and_then(|rest| rest.strip_suffix(TERMINAL_PATH));
    let (host, port) = authority.and_then(|a| a.rsplit_once(':')).ok_or_else(expected)?;
    let valid = matches!(host, "127.0.0.1" | "localhost" | "[::1]") && port.parse::<u16>().is_ok();
    if valid { Ok(text.to_owned()) } else { Err(expected()) }
}

fn bad_tls(error: TlsError) -> BadSetting {
    BadSetting::new("--tls-cert, --tls-key, --tls-ca", line(&error))
}

fn parse_name(text: &str) -> Result<PeerName, String> {
    text.parse().map_err(|_| "expected a DNS name or an IP address".to_owned())
}

#[cfg(test)]
mod tests {
    use wardlink_service::settings::parse_from;

    use super::*;

    const PLAIN: &str = "ws://127.0.0.1:7070/link";
    const TLS: &str = "wss://ms.ward:7070/link";

    fn config(ms: &str, flags: &[&str]) -> Result<Config, String> {
        let always =
            ["wardlink-bs", "--auth", "development", "--listen", "127.0.0.1:0", "--ms", ms];
        let flags = always.iter().chain(flags);
        let settings = parse_from::<Settings, _, _>(flags).map_err(|ending| ending.to_string())?;
        settings.config().map_err(|bad| bad.to_string())
    }

    #[test]
    fn what_guards_links_is_checked_at_start() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (secret, short) = (file("secret", "a-secret-of-the-cluster"), file("short", "1234"));
        let good = config(PLAIN, &["--link-secret-file", &secret]).unwrap();
        assert!(matches!(good.knock.proof, LinkProof::Secret(_)) && !good.acceptor.is_tls());
        // Tokens come and go while the program runs.
        let token = config(PLAIN, &["--link-token-file", "/nowhere/token"]).unwrap();
        assert!(matches!(token.knock.proof, LinkProof::Token(_)));
        for (ms, flags, expected) in [
            (PLAIN, &["--link-secret-file", &short][..], "a secret has 16 to 512 bytes"),
            (PLAIN, &["--link-secret-file", "/nowhere/secret"], "cannot be read: No such file"),
            (
                PLAIN,
                &["--link-secret-file", &secret, "--link-token-file", &secret],
                "cannot be used with",
            ),
            (PLAIN, &["--tls-ca", "ca.crt"], "--tls-ca: has no use: no address of --ms begins"),
            (PLAIN, &["--link-server-name", "ms.ward"], "--link-server-name: has no use"),
            (TLS, &["--link-server-name", "no name"], "expected a DNS name or an IP address"),
            (TLS, &["--tls-ca", "/nowhere/ca.crt"], "/nowhere/ca.crt cannot be read: No such"),
            (PLAIN, &["--tls-cert", "a.crt"], "--tls-key"),
            (PLAIN, &["--tls-key", "a.key"], "--tls-cert"),
            (
                PLAIN,
                &["--tls-cert", "/nowhere/a.crt", "--tls-key", "/nowhere/a.key"],
                "/nowhere/a.crt cannot be read",
            ),
            ("http://ms:1/link", &[], "must be ws://host:port/link or wss://host:port/link"),
        ] {
            let text = config(ms, flags).unwrap_err();
            assert!(text.contains(expected), "{flags:?}: {text}");
        }
    }
}
