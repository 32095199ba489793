//! Opens the client of one database: what of the URI is kept, and what it may not ask for.
//!
//! The URI comes from a Secret of somebody else's namespace, and the operator has files and an
//! identity of its own: a URI that would use them is refused.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use ::mongodb::options::{
    AuthMechanism, ClientOptions, Credential, ServerMonitoringMode, Tls, TlsOptions,
};
use ::mongodb::{Client, Database};
use tempfile::NamedTempFile;

use super::Access;
use super::trouble::{Trouble, without_secret};
use crate::model::StorageState;

/// How long a command waits for a primary to be known. Above the connect time-out, so that it
/// ends with the cause.
const SELECT: Duration = Duration::from_secs(4);
/// How long a TCP and TLS handshake may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How often the driver looks at each server by itself. Rarely: it looks at once where a command
/// waits.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// After this a connection that is not used is closed.
const IDLE: Duration = Duration::from_secs(30);
/// Connections beside one for each server's heartbeat: one command runs at a time.
const POOL_MAX: u32 = 1;
/// Where files of authorities that a URI names may be: those that come with the image.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/";

/// An open client. Its connections close when it is dropped.
#[derive(Debug)]
pub(super) struct Opened {
    client: Client,
    /// The driver reads authorities from a file; private, removed with the client.
    _ca: Option<NamedTempFile>,
}

impl Opened {
    /// Reads the URI and makes a client. No connection is tried; a `mongodb+srv` name is resolved,
    /// which the caller bounds.
    pub(super) async fn open(access: &Access) -> Result<Self, Trouble> {
        let invalid = |text: &str| Trouble::new(StorageState::InvalidUri, text);
        let uri = std::str::from_utf8(&access.uri)
            .map_err(|_| invalid("the connection string is no text"))?
            .trim();
        let mut options = ClientOptions::parse(uri).await.map_err(|error| {
            let trouble = Trouble::of(&error, "reading the connection string");
            Trouble { text: without_secret(&trouble.text, uri), ..trouble }
        })?;
        refuse_what_is_not_theirs(&options)?;
        let ca = access.ca.as_deref().map(authorities).transpose()?;
        if let Some(ca) = &ca {
            let tls = match options.tls.take() {
                None => TlsOptions::default(),
                Some(Tls::Enabled(tls)) => tls,
                Some(_) => {
                    let text = "the connection string says tls=false, and an authority is given";
                    return Err(invalid(text));
                }
            };
            let mut tls = tls;
            tls.ca_file_path = Some(ca.path().to_owned());
            options.tls = Some(Tls::Enabled(tls));
        }
        bound(&mut options);
        let client = Client::with_options(options).map_err(|error| {
            let trouble = Trouble::of(&error, "making a client");
            Trouble::new(StorageState::InvalidUri, &without_secret(&trouble.text, uri))
        })?;
        Ok(Self { client, _ca: ca })
    }

    pub(super) fn database(&self, name: &str) -> Database {
        self.client.database(name)
    }
}

/// What every client has, whatever its URI says.
fn bound(options: &mut ClientOptions) {
    options.server_selection_timeout = Some(SELECT);
    options.connect_timeout = Some(CONNECT);
    options.heartbeat_freq = Some(HEARTBEAT);
    options.server_monitoring_mode = Some(ServerMonitoringMode::Poll);
    options.max_pool_size = Some(POOL_MAX);
    options.min_pool_size = None;
    options.max_idle_time = Some(IDLE);
    options.retry_reads = Some(false);
    options.retry_writes = Some(false);
    options.selection_criteria = None;
    options.read_concern = None;
    options.write_concern = None;
    options.app_name = Some("wardlink-operator".to_owned());
}

fn refuse_what_is_not_theirs(options: &ClientOptions) -> Result<(), Trouble> {
    let refuse = |text: &str| Err(Trouble::new(StorageState::InvalidUri, text));
    match options.credential.as_ref().and_then(|Credential { mechanism, .. }| mechanism.as_ref()) {
        None
        | Some(
            AuthMechanism::ScramSha1
            | AuthMechanism::ScramSha256
            | AuthMechanism::Plain
            | AuthMechanism::MongoDbX509,
        ) => {}
        // These would show the database the operator's own identity.
        Some(_) => return refuse("authMechanism must be SCRAM-SHA-1, SCRAM-SHA-256 or PLAIN"),
    }
    let Some(Tls::Enabled(tls)) = &options.tls else { return Ok(()) };
    if tls.cert_key_file_path.is_some() {
        return refuse("tlsCertificateKeyFile is not possible: no such file is mounted");
    }
    let of_image = |path: &Path| {
        path.starts_with(SYSTEM_AUTHORITIES)
            && !path.components().any(|part| part == std::path::Component::ParentDir)
    };
    if tls.ca_file_path.as_deref().is_some_and(|path| !of_image(path)) {
        return refuse("tlsCAFile must be below /etc/ssl/; use tls.caSecretRef");
    }
    Ok(())
}

fn authorities(pem: &[u8]) -> Result<NamedTempFile, Trouble> {
    if !pem.windows(27).any(|part| part == b"-----BEGIN CERTIFICATE-----") {
        return Err(Trouble::new(
            StorageState::InvalidUri,
            "the authority is no certificate in PEM",
        ));
    }
    let written = NamedTempFile::with_prefix("wardlink-authority-").and_then(|mut file| {
        file.write_all(pem)?;
        Ok(file)
    });
    // The operator's own trouble: it passes, or its log says more.
    written.map_err(|error| {
        let text = format!("the authority cannot be kept in a file: {}", error.kind());
        Trouble::new(StorageState::Unreachable, &text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(uri: &str, ca: Option<&str>) -> Result<Opened, Trouble> {
        let ca = ca.map(|ca| ca.as_bytes().to_vec());
        Opened::open(&Access { uri: uri.as_bytes().to_vec(), ca }).await
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_told_without_the_password() {
        for uri in [
            "mongodb://user:s3cr3t@@[bad/db",
            "mongodb://user:s3cr3t%zz@host/db",
            "mongodb://user:s3cr3t/x@host:99999/db",
            "mongodb://user:s3cr3t@host/db?authMechanism=s3cr3t",
            "postgres://user:s3cr3t@host/db",
            // Without a host, and with an escaped `@`: the driver takes the password for a port.
            "mongodb://user:s3cr3t",
            "mongodb://user:s3cr3t%40db:27017",
            "",
        ] {
            let trouble = open(uri, None).await.unwrap_err();
            assert_eq!(trouble.state, StorageState::InvalidUri, "{uri}");
            assert!(!trouble.text.contains("s3cr3t"), "{trouble:?}");
        }
        let opened = open("mongodb://user:s3cr3t@127.0.0.1:1/db", None).await.unwrap();
        assert!(!format!("{opened:?}").contains("s3cr3t"), "{opened:?}");
    }

    #[tokio::test]
    async fn the_operators_own_identity_and_files_are_not_for_sale() {
        for uri in [
            "mongodb://h/?authMechanism=MONGODB-OIDC&authMechanismProperties=ENVIRONMENT:k8s",
            "mongodb://h/?tls=true&tlsCertificateKeyFile=/etc/ssl/key.pem",
            "mongodb://h/?tls=true&tlsCAFile=/var/run/secrets/x",
            "mongodb://h/?tls=true&tlsCAFile=/etc/ssl/../../dev/zero",
        ] {
            assert_eq!(open(uri, None).await.unwrap_err().state, StorageState::InvalidUri, "{uri}");
        }
    }

    #[tokio::test]
    async fn an_authority_is_a_certificate_and_wants_tls() {
        let bad = open("mongodb://h/", Some("hello")).await.unwrap_err();
        assert_eq!(bad.state, StorageState::InvalidUri);
        let pem = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
        let bad = open("mongodb://h/?tls=false", Some(pem)).await.unwrap_err();
        assert!(bad.text.contains("tls=false"), "{bad:?}");
        let opened = open("mongodb://h/", Some(pem)).await.unwrap();
        let path = opened._ca.as_ref().unwrap().path().to_owned();
        assert!(path.exists());
        drop(opened);
        assert!(!path.exists());
    }
}
