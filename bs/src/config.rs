//! Settings of `wardlink-bs`: flags, and environment variables of the same names. Only this
//! module reads them.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use wardlink_service::settings::{
    AdminSettings, BadSetting, CommonSettings, parse_duration, parse_listen,
};
use wardlink_wire::ServerId;
use wardlink_wire::terminal::TERMINAL_PATH;

use crate::app::{Config, MsAddress, Playground};

/// How terminals prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Query parameters hospitalCode, hosareaCode and uid are believed. On loopback only.
    Development,
}

/// The Business Server of Wardlink: terminals connect to it, and it links to every Message Server.
#[derive(Debug, Parser)]
#[command(name = "wardlink-bs", version)]
pub struct Settings {
    /// Address for terminals (path /ws). Loopback only, for terminals are not authenticated yet.
    #[arg(long, env = "WARDLINK_LISTEN", default_value = "127.0.0.1:8080", value_parser = parse_listen)]
    listen: SocketAddr,

    /// Message Servers, as a comma list of ws://host:port/link. A host with several addresses
    /// means one behind each; names are resolved again every few seconds.
    #[arg(long, env = "WARDLINK_MS", required = true, value_delimiter = ',')]
    ms: Vec<MsAddress>,

    /// How terminals prove who they are. There is no other way yet, so it must be said.
    #[arg(long, env = "WARDLINK_AUTH")]
    auth: Auth,

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
        let Auth::Development = self.auth;
        if !self.listen.ip().is_loopback() {
            let problem = "must be a loopback address with --auth development";
            return Err(BadSetting::new("--listen", problem));
        }
        Ok(Config {
            listen: self.listen,
            admin_listen: Some(self.admin.admin_listen),
            ms: self.ms,
            server: self.server_id,
            drain: self.drain,
            playground: Some(Playground { servers: self.playground_servers }),
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
