//! Settings of `wardlink-ms`: flags, and environment variables of the same names. Only this
//! module reads them.

mod link;
mod store;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use wardlink_service::settings::{
    AcceptSettings, AdminSettings, BadSetting, CommonSettings, parse_duration, parse_listen,
    parse_number, parse_positive_duration,
};

use wardlink_tls::{Acceptor, CertificateFiles, TlsError, line};

pub use self::link::LinkAuth;
use self::link::LinkSettings;
use self::store::StoreSettings;
use crate::app::{Config, Indexes};

/// The Message Server of Wardlink: knows which terminal is where, hands messages on, and keeps
/// those that wait.
#[derive(Debug, Parser)]
#[command(name = "wardlink-ms", version)]
pub struct Settings {
    /// Address for links of Business Servers (path /link).
    #[arg(long, env = "WARDLINK_LISTEN", default_value = "0.0.0.0:7070", value_parser = parse_listen)]
    listen: SocketAddr,

    #[command(flatten)]
    link: LinkSettings,

    /// Certificate of this server and its chain, in PEM: links are TLS. Read again when it
    /// changes, as are the other two files.
    #[arg(long, env = "WARDLINK_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The certificate's key, in PEM.
    #[arg(long, env = "WARDLINK_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Authorities, in PEM: only Business Servers with a certificate of one of them may connect.
    #[arg(long, env = "WARDLINK_TLS_CA", value_name = "FILE", requires = "tls_cert")]
    tls_ca: Option<PathBuf>,

    /// Links at a time; beyond them connections wait.
    #[arg(long, env = "WARDLINK_MAX_LINKS", value_name = "NUMBER", default_value = "4096", value_parser = parse_number::<NonZeroU32>)]
    max_links: NonZeroU32,

    #[command(flatten)]
    accept: AcceptSettings,

    #[command(flatten)]
    store: StoreSettings,

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
        let acceptor = self.acceptor()?;
        let identity = self.link.identity(self.listen)?;
        let (store, names, store_tls_ca) = self.store.place()?;
        let whole = self.message_ttl.subsec_nanos() == 0;
        let ttl = u32::try_from(self.message_ttl.as_secs()).ok().filter(|ttl| whole && *ttl > 0);
        let ttl = ttl.ok_or_else(|| {
            BadSetting::new("--message-ttl", "must be whole seconds, from 1s to 4294967295s")
        })?;
        Ok(Config {
            listen: self.listen,
            acceptor,
            identity,
            max_links: self.max_links.get() as usize,
            accept: self.accept.rate(),
            admin_listen: Some(self.admin.admin_listen),
            store,
            names,
            store_tls_ca,
            indexes: self.indexes,
            message_ttl_s: ttl,
            mailbox_max: self.mailbox_max as usize,
            sweep: self.sweep,
            drain: self.drain,
        })
    }

    fn acceptor(&self) -> Result<Acceptor, BadSetting> {
        let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(Acceptor::plain());
        };
        let own = CertificateFiles { cert: cert.clone(), key: key.clone() };
        let bad =
            |error: TlsError| BadSetting::new("--tls-cert, --tls-key, --tls-ca", line(&error));
        Acceptor::tls(own, self.tls_ca.clone()).map_err(bad)
    }
}

#[cfg(test)]
mod tests {
    use wardlink_service::settings::parse_from;

    use super::*;
    use crate::app::LinkIdentity;
    use crate::store::mongodb::Names;

    fn config(flags: &[&str]) -> Result<Config, String> {
        let flags = std::iter::once("wardlink-ms").chain(flags.iter().copied());
        let settings = parse_from::<Settings, _, _>(flags).map_err(|ending| ending.to_string())?;
        settings.config().map_err(|bad| bad.to_string())
    }

    #[test]
    fn links_are_authenticated_unless_the_contrary_is_said_on_loopback() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        std::fs::write(&file, "a-secret-of-the-cluster\n").unwrap();
        let file = file.to_str().unwrap();
        let config_with = config(&["--link-secret-file", file]).unwrap();
        assert_eq!(config_with.listen, SocketAddr::from(([0, 0, 0, 0], 7070)));
        assert!(matches!(config_with.identity, LinkIdentity::Secret(_)));
        assert_eq!(config_with.max_links, crate::app::LINKS_MAX);
        let open = ["--link-auth", "none", "--listen", "127.0.0.1:0"];
        assert!(matches!(config(&open).unwrap().identity, LinkIdentity::Open));

        let short = dir.path().join("short");
        std::fs::write(&short, "short").unwrap();
        for (flags, expected) in [
            (&[][..], "--link-secret-file: expected a file"),
            (&["--link-auth", "none"], "--link-auth: none is for a loopback --listen only"),
            (
                &[&open[..], &["--link-secret-file", file]].concat(),
                "--link-secret-file: has no use with --link-auth none",
            ),
            (
                &["--link-secret-file", short.to_str().unwrap()],
                "--link-secret-file: line 1: a secret has 16 to 512 bytes",
            ),
            (&["--link-secret-file", "/nowhere/secret"], "/nowhere/secret cannot be read: No such"),
            (&["--link-auth", "maybe"], "secret, kubernetes, none"),
            (&["--max-links", "0"], "--max-links"),
        ] {
            let text = config(flags).unwrap_err();
            assert!(text.contains(expected), "{flags:?}: {text}");
            assert!(!text.contains("short"), "{text}");
        }
    }

    #[test]
    fn pods_are_known_by_the_audience_and_the_account_of_their_tokens() {
        let both = ["--link-audience", "wardlink-a", "--link-account", "ward/a-bs"];
        let pods = [&["--link-auth", "kubernetes"], &both[..]].concat();
        let good = config(&pods).unwrap().identity;
        let LinkIdentity::Pods { rules, every } = good else { panic!("{good:?}") };
        let account = rules.account.to_string();
        assert_eq!((rules.audience.as_str(), account.as_str()), ("wardlink-a", "ward/a-bs"));
        assert_eq!(every, Duration::from_secs(60));
        for (flags, expected) in [
            (&pods[..4], "--link-account: expected NAMESPACE/NAME of the BSs"),
            (&[&pods[..2], &pods[4..]].concat(), "--link-audience: expected the audience"),
            (&[&pods[..], &["--link-secret-file", "x"]].concat(), "BSs show tokens"),
            (&both[..2], "--link-audience: has a use only with --link-auth kubernetes"),
            (&both[2..], "--link-account: has a use only with --link-auth kubernetes"),
            (&[&pods[..], &["--link-review", "61s"]].concat(), "expected 60s at most"),
            (&[&pods[..], &["--link-review", "0s"]].concat(), "above zero"),
            (&["--link-account", "a"], "expected NAMESPACE/NAME"),
            (&["--link-account", "a/B"], "expected NAMESPACE/NAME"),
            (&["--link-audience", "a b"], "visible ASCII"),
        ] {
            let text = config(flags).unwrap_err();
            assert!(text.contains(expected), "{flags:?}: {text}");
        }
    }

    #[test]
    fn names_and_authorities_of_the_store_are_checked_at_start() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.crt");
        std::fs::write(&empty, "no certificate").unwrap();
        let empty = empty.to_str().unwrap();
        let open = ["--link-auth", "none", "--listen", "127.0.0.1:0"];
        let mongo = [&open[..], &["--store", "mongodb://127.0.0.1/in-uri"]].concat();
        let named = ["--store-database", "ward", "--registry-collection", "who_is_where"];
        let good = config(&[&mongo[..], &named].concat()).unwrap();
        let registry = "who_is_where".to_owned();
        let database = Some("ward".to_owned());
        assert_eq!(good.names, Names { database, registry, ..Names::default() });
        assert_eq!(config(&mongo).unwrap().names, Names::default());
        for (flags, expected) in [
            (&["--store-database", "a.b"][..], "--store-database <NAME>': expected 1 to 63"),
            (&["--store-database", "admin"], "MongoDB's own"),
            (&["--views-collection", "a$b"], "--views-collection <NAME>': expected 1 to 191"),
            (&["--mailbox-collection", "system.mail"], "MongoDB's own"),
            (&["--servers-collection", ""], "--servers-collection"),
            (
                &["--registry-collection", "x", "--mailbox-collection", "x"],
                "expected four names, and x is there twice",
            ),
            (&["--views-collection", "msglists"], "msglists is there twice"),
            (&["--store-tls-ca", "/nowhere/ca.crt"], "--store-tls-ca: /nowhere/ca.crt cannot be"),
            (&["--store-tls-ca", empty], "--store-tls-ca: "),
        ] {
            let text = config(&[&mongo[..], flags].concat()).unwrap_err();
            assert!(text.contains(expected), "{flags:?}: {text}");
        }
        for useless in [&named[..2], &named[2..], &["--store-tls-ca", empty]] {
            let text = config(&[&open[..], useless].concat()).unwrap_err();
            assert!(text.contains("has a use only with a store in MongoDB"), "{text}");
        }
    }

    #[test]
    fn tls_needs_its_certificate_and_its_key() {
        let open = ["--link-auth", "none", "--listen", "127.0.0.1:0"];
        for (flags, expected) in [
            (&["--tls-cert", "a.crt"][..], "--tls-key"),
            (&["--tls-key", "a.key"], "--tls-cert"),
            (&["--tls-ca", "ca.crt"], "--tls-cert"),
            (
                &["--tls-cert", "/nowhere/a.crt", "--tls-key", "/nowhere/a.key"],
                "--tls-cert, --tls-key, --tls-ca: /nowhere/a.crt cannot be read: No such file",
            ),
        ] {
            let text = config(&[&open[..], flags].concat()).unwrap_err();
            assert!(text.contains(expected), "{flags:?}: {text}");
        }
    }
}
