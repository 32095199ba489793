//! Opens the client: what of the URI is kept, and which limits every call has.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use ::mongodb::Client;
use ::mongodb::error::ErrorKind;
use ::mongodb::options::{ClientOptions, Tls, TlsOptions};

use super::{MongoStore, Names};
use crate::store::PrepareError;

/// How long a call waits for a primary to be known. Short: a caller has other deadlines.
const SELECT: Duration = Duration::from_millis(1_500);
/// How long a TCP and TLS handshake may take, and what a server may be late with a heartbeat.
const CONNECT: Duration = Duration::from_secs(2);
/// How often the driver looks at each server. With [`CONNECT`] it bounds how long a call hangs
/// on a server that is frozen: its connections are cut after the sum.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Connections, unless the URI says otherwise. More than the callers run at once.
const POOL_MAX: u32 = 64;
/// The database, unless the URI or the settings name one.
const DATABASE: &str = "wardlink";

impl MongoStore {
    /// Reads the URI and makes a client. No connection is tried; a `mongodb+srv` name is resolved.
    ///
    /// Of the URI everything counts but read preference, concerns and retries: reads are of the
    /// primary, all is majority, and a write whose answer is lost is never repeated by the driver.
    ///
    /// With `tls_ca` all connections are TLS, and that file of authorities counts in place of what
    /// the URI names and of those that come with the driver. It is read once.
    ///
    /// # Errors
    /// A URI that cannot be used (final), or a name that does not resolve (may succeed later).
    /// The text holds no password.
    pub async fn open(
        uri: &str,
        names: Names,
        tls_ca: Option<PathBuf>,
    ) -> Result<Self, PrepareError> {
        let mut options = ClientOptions::parse(uri).await.map_err(|error| PrepareError {
            retry: matches!(*error.kind, ErrorKind::DnsResolve { .. } | ErrorKind::Io(_)),
            text: format!("store URI cannot be used: {}", without_secret(&error.to_string(), uri)),
        })?;
        if let Some(ca) = tls_ca {
            options.tls = Some(Tls::Enabled(with_authorities(options.tls.take(), ca)?));
        }
        options.retry_writes = Some(false);
        options.retry_reads = Some(false);
        options.selection_criteria = None;
        options.read_concern = None;
        options.write_concern = None;
        options.server_selection_timeout.get_or_insert(SELECT);
        options.connect_timeout.get_or_insert(CONNECT);
        options.heartbeat_freq.get_or_insert(HEARTBEAT);
        options.max_pool_size.get_or_insert(POOL_MAX);
        options.app_name.get_or_insert_with(|| "wardlink-ms".into());
        let in_uri = options.default_database.clone();
        let client = Client::with_options(options).map_err(|error| PrepareError {
            text: format!("store URI cannot be used: {}", without_secret(&error.to_string(), uri)),
            retry: false,
        })?;
        let name = names.database.clone().or(in_uri).unwrap_or_else(|| DATABASE.into());
        Ok(Self {
            database: client.database(&name),
            names,
            warned_ms: AtomicU64::new(0),
            epoch: Instant::now(),
        })
    }
}

/// What the URI says of TLS, with these authorities.
fn with_authorities(in_uri: Option<Tls>, ca: PathBuf) -> Result<TlsOptions, PrepareError> {
    let mut options = match in_uri {
        None => TlsOptions::default(),
        Some(Tls::Enabled(options)) => options,
        Some(_) => {
            return Err(PrepareError {
                text: "store URI says tls=false, and a file of authorities is given".to_owned(),
                retry: false,
            });
        }
    };
    options.ca_file_path = Some(ca);
    Ok(options)
}

/// `text` without the user part of `uri`, in case the driver repeated it.
fn without_secret(text: &str, uri: &str) -> String {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    // An unescaped `@` or `/` in the password is a likely reason for being here: take all up to
    // the last `@`.
    let Some((user, _)) = rest.rsplit_once('@') else { return text.to_owned() };
    let mut text = text.replace(user, "***");
    let password = user.split_once(':').map_or("", |(_, password)| password);
    let pieces = password.split(['@', '/', ':', '%', '?', '#']).filter(|piece| piece.len() > 2);
    for secret in std::iter::once(password).filter(|p| !p.is_empty()).chain(pieces) {
        text = text.replace(secret, "***");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_text_shows_the_password() {
        for uri in [
            "mongodb://user:s3cr3t@@[bad/db",
            "mongodb://user:s3cr3t%zz@host/db",
            "mongodb://user:s3cr3t/x@host:99999/db",
            "mongodb://user:s3cr3t@host/db?authMechanism=s3cr3t",
        ] {
            if let Err(error) = MongoStore::open(uri, Names::default(), None).await {
                assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error}");
                assert!(!error.retry);
            }
        }
        let uri = "mongodb://user:s3cr3t@127.0.0.1:1/db";
        let store = MongoStore::open(uri, Names::default(), None);
        let shown = format!("{:?}", store.await.expect("a good URI"));
        assert!(!shown.contains("s3cr3t") && shown.contains("\"db\""), "{shown}");
    }

    #[test]
    fn given_authorities_count_in_place_of_those_in_the_uri_and_need_tls() {
        let ca = || PathBuf::from("given.crt");
        let of_uri = TlsOptions::builder()
            .ca_file_path(PathBuf::from("other.crt"))
            .allow_invalid_certificates(false)
            .build();
        for in_uri in [None, Some(Tls::Enabled(of_uri))] {
            let kept = in_uri.is_some().then_some(false);
            let options = with_authorities(in_uri, ca()).unwrap();
            assert_eq!(options.ca_file_path, Some(ca()));
            assert_eq!(options.allow_invalid_certificates, kept, "the rest stays as it was");
        }
        let error = with_authorities(Some(Tls::Disabled), ca()).unwrap_err();
        assert!(!error.retry && error.to_string().contains("tls=false"), "{error}");
    }
}
