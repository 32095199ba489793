//! Settings of `wardlink-ms`: flags, and environment variables of the same names. Only this
//! module reads them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use wardlink_service::settings::{
    AdminSettings, BadSetting, CommonSettings, parse_duration, parse_listen,
    parse_positive_duration,
};

use crate::app::{Config, Indexes};
use crate::store::StoreUri;

/// The Message Server of Wardlink: knows which terminal is where, hands messages on, and keeps
/// those that wait.
#[derive(Debug, Parser)]
#[command(name = "wardlink-ms", version)]
pub struct Settings {
    /// Address for links of Business Servers (path /link). Loopback only: links are not
    /// authenticated yet.
    #[arg(long, env = "WARDLINK_LISTEN", default_value = "127.0.0.1:7070", value_parser = parse_listen)]
    listen: SocketAddr,

    /// `embedded:DIR`, or a mongodb:// or mongodb+srv:// URI without a password.
    #[arg(
        long,
        env = "WARDLINK_STORE",
        default_value = "embedded:./wardlink-data",
        conflicts_with = "store_file"
    )]
    store: StoreUri,

    /// File that holds the URI of the store, for one with a password.
    #[arg(long, env = "WARDLINK_STORE_FILE", value_name = "FILE")]
    store_file: Option<PathBuf>,

    /// Life of a stored message, and the most that a sender may ask for (whole seconds).
    #[arg(long, env = "WARDLINK_MESSAGE_TTL", default_value = "10m", value_parser = parse_positive_duration)]
    message_ttl: Duration,

    /// Messages that the mailbox of one end may hold.
    #[arg(long, env = "WARDLINK_MAILBOX_MAX", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    mailbox_max: u32,

    /// `ensure` makes and repairs the indexes at start, `require` waits for them.
    #[arg(long, env = "WARDLINK_INDEXES", default_value = "ensure")]
    indexes: Indexes,

    /// How often an owner looks at its sessions' rows and mailboxes.
    #[arg(long, env = "WARDLINK_SWEEP", default_value = "60s", value_parser = parse_positive_duration)]
    sweep: Duration,

    /// How long after the stop signal this program ends at the latest.
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

    /// Checks what single settings cannot, and reads the files that are named.
    ///
    /// # Errors
    /// The setting, and what it expects.
    pub fn config(self) -> Result<Config, BadSetting> {
        if !self.listen.ip().is_loopback() {
            return Err(BadSetting::new(
                "--listen",
                "must be a loopback address: links are not authenticated yet",
            ));
        }
        let store = match self.store_file {
            None if self.store.has_password() => {
                return Err(BadSetting::new(
                    "--store",
                    "holds a password, which every user of this machine could read: put the URI \
                     into a file and name it with --store-file",
                ));
            }
            None => self.store,
            Some(file) => std::fs::read_to_string(&file)
                .map_err(|error| BadSetting::new("--store-file", error.to_string()))?
                .trim()
                .parse()
                .map_err(|error: String| BadSetting::new("--store-file", error))?,
        };
        let whole = self.message_ttl.subsec_nanos() == 0;
        let ttl = u32::try_from(self.message_ttl.as_secs()).ok().filter(|ttl| whole && *ttl > 0);
        let ttl = ttl.ok_or_else(|| {
            BadSetting::new("--message-ttl", "must be whole seconds, from 1s to 4294967295s")
        })?;
        Ok(Config {
            listen: self.listen,
            admin_listen: Some(self.admin.admin_listen),
            store,
            indexes: self.indexes,
            message_ttl_s: ttl,
            mailbox_max: self.mailbox_max as usize,
            sweep: self.sweep,
            drain: self.drain,
        })
    }
}
