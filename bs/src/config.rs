//! Settings of `wardlink-bs`: flags, and environment variables of the same names. Only this
//! module reads them.

mod front;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use wardlink_service::settings::{
    AdminSettings, BadSetting, CommonSettings, parse_duration, parse_listen,
};
use wardlink_wire::ServerId;
use wardlink_wire::terminal::TERMINAL_PATH;

pub use self::front::Auth;
use self::front::FrontSettings;
use crate::app::{AuthConfig, Config, MsAddress, Playground};

/// The Business Server of Wardlink: terminals connect to it, and it links to every Message Server.
#[derive(Debug, Parser)]
#[command(name = "wardlink-bs", version)]
pub struct Settings {
    /// Address for terminals (path /ws) and for HTTP (path /v1/messages) [default: 0.0.0.0:8080;
    /// with --auth development 127.0.0.1:8080, and only a loopback address can be given]
    #[arg(long, env = "WARDLINK_LISTEN", value_parser = parse_listen)]
    listen: Option<SocketAddr>,

    /// Message Servers, as a comma list of ws://host:port/link. A host with several addresses
    /// means one behind each; names are resolved again every few seconds.
    #[arg(long, env = "WARDLINK_MS", required = true, value_delimiter = ',')]
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

    /// Checks what single settings cannot.
    ///
    /// # Errors
    /// The setting, and what it expects.
    pub fn config(self) -> Result<Config, BadSetting> {
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
