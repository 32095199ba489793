//! Handshakes over real sockets, with certificates made for each test.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{Acceptor, CertificateFiles, Connector, PeerName, Reload, Stream, TlsError, watch};

/// An authority, and a folder for what it signs.
struct Pki {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("ca.crt"), issuer.pem()).unwrap();
        Self { dir, issuer }
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// Files `name.crt` and `name.key` for these subjects.
    fn files(&self, name: &str, subjects: &[&str]) -> CertificateFiles {
        let subjects: Vec<String> = subjects.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(subjects).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let at = |ending: &str| self.dir.path().join(format!("{name}.{ending}"));
        fs::write(at("crt"), cert.pem()).unwrap();
        fs::write(at("key"), key.serialize_pem()).unwrap();
        CertificateFiles { cert: at("crt"), key: at("key") }
    }
}

/// An address, and what became of each connection there, which is echoed until its end.
async fn serve(acceptor: Acceptor) -> (std::net::SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let (mut read, mut write) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    (address, task)
}

async fn connect(
    connector: &Connector,
    name: &str,
    address: std::net::SocketAddr,
) -> io::Result<Stream> {
    let name: PeerName = name.parse().unwrap();
    let mut stream = connector.connect(&name, TcpStream::connect(address).await?).await?;
    echoed(&mut stream).await?;
    Ok(stream)
}

async fn echoed(stream: &mut Stream) -> io::Result<()> {
    stream.write_all(b"ping").await?;
    stream.flush().await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"ping");
    Ok(())
}

/// The certificate that the server has shown.
fn shown(stream: &Stream) -> Vec<u8> {
    let Stream::Tls(stream) = stream else { panic!("clear text") };
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn the_name_is_verified_whatever_the_address() {
    let pki = Pki::new();
    let acceptor = Acceptor::tls(pki.files("ms", &["ms.ward", "127.0.0.1"]), None).unwrap();
    let (address, _task) = serve(acceptor).await;
    let connector = Connector::new(Some(pki.ca()), None).unwrap();
    for name in ["ms.ward", "127.0.0.1"] {
        connect(&connector, name, address).await.unwrap();
    }
    for name in ["other.ward", "127.0.0.2", "localhost"] {
        let error = connect(&connector, name, address).await.unwrap_err();
        assert!(error.to_string().contains("not valid for name"), "{name}: {error}");
    }
    assert!(matches!("no name".parse::<PeerName>(), Err(TlsError::Name(_))));
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (pki, other) = (Pki::new(), Pki::new());
    let (address, _task) = serve(Acceptor::tls(pki.files("ms", &["ms"]), None).unwrap()).await;
    let connector = Connector::new(Some(other.ca()), None).unwrap();
    let error = connect(&connector, "ms", address).await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn with_a_client_authority_only_its_clients_are_served() {
    let (pki, other) = (Pki::new(), Pki::new());
    let acceptor = Acceptor::tls(pki.files("ms", &["ms"]), Some(pki.ca())).unwrap();
    let (address, _task) = serve(acceptor).await;
    let with = |own| Connector::new(Some(pki.ca()), own).unwrap();
    connect(&with(Some(pki.files("bs", &["bs"]))), "ms", address).await.unwrap();
    assert!(connect(&with(None), "ms", address).await.is_err(), "without a certificate");
    let foreign = with(Some(other.files("bs", &["bs"])));
    assert!(connect(&foreign, "ms", address).await.is_err(), "of another authority");
}

#[tokio::test]
async fn a_peer_in_clear_text_is_no_peer_of_tls() {
    let pki = Pki::new();
    let (address, _task) = serve(Acceptor::plain()).await;
    let connector = Connector::new(Some(pki.ca()), None).unwrap();
    assert!(connect(&connector, "ms", address).await.is_err());
}

#[tokio::test]
async fn a_reload_keeps_what_is_open_and_serves_the_new_certificate() {
    let pki = Pki::new();
    let acceptor = Acceptor::tls(pki.files("ms", &["ms"]), None).unwrap();
    let (address, _task) = serve(acceptor.clone()).await;
    let connector = Connector::new(Some(pki.ca()), None).unwrap();
    let mut open = connect(&connector, "ms", address).await.unwrap();
    assert!(!acceptor.reload().unwrap(), "nothing has changed");

    pki.files("ms", &["ms"]);
    assert!(acceptor.reload().unwrap());
    assert!(!acceptor.reload().unwrap(), "exchanged already");
    // Whether or not the client resumes: a session of the certificate before is none.
    let after = connect(&connector, "ms", address).await.unwrap();
    assert_ne!(shown(&open), shown(&after));
    echoed(&mut open).await.unwrap();
}

#[tokio::test]
async fn a_pair_that_is_half_exchanged_keeps_the_old_one() {
    let pki = Pki::new();
    let files = pki.files("ms", &["ms"]);
    let acceptor = Acceptor::tls(files.clone(), None).unwrap();
    let (address, _task) = serve(acceptor.clone()).await;
    let connector = Connector::new(Some(pki.ca()), None).unwrap();
    let before = shown(&connect(&connector, "ms", address).await.unwrap());

    let next = pki.files("next", &["ms"]);
    fs::copy(&next.cert, &files.cert).unwrap();
    assert_eq!(acceptor.reload().unwrap_err().reason(), "mismatch");
    fs::write(&files.key, "").unwrap();
    assert_eq!(acceptor.reload().unwrap_err().reason(), "pem");
    fs::remove_file(&files.key).unwrap();
    assert_eq!(acceptor.reload().unwrap_err().reason(), "read");
    assert_eq!(shown(&connect(&connector, "ms", address).await.unwrap()), before);

    fs::copy(&next.key, &files.key).unwrap();
    assert!(acceptor.reload().unwrap());
    assert_ne!(shown(&connect(&connector, "ms", address).await.unwrap()), before);
}

#[tokio::test]
async fn a_connector_follows_its_authority_and_its_certificate() {
    let (old, new) = (Pki::new(), Pki::new());
    let acceptor = Acceptor::tls(new.files("ms", &["ms"]), Some(new.ca())).unwrap();
    let (address, _task) = serve(acceptor).await;
    let own = old.files("bs", &["bs"]);
    let connector = Connector::new(Some(old.ca()), Some(own.clone())).unwrap();
    assert!(connect(&connector, "ms", address).await.is_err());
    fs::copy(new.ca(), old.ca()).unwrap();
    let files = new.files("bs", &["bs"]);
    fs::copy(files.cert, own.cert).unwrap();
    fs::copy(files.key, own.key).unwrap();
    assert!(connector.reload().unwrap());
    connect(&connector, "ms", address).await.unwrap();
}

/// As a secret's volume is exchanged: a link to a folder is replaced, and the files' own times
/// say nothing.
#[tokio::test]
async fn a_folder_that_is_exchanged_by_its_link_is_noticed_by_the_watch() {
    let pki = Pki::new();
    let fill = |folder: &str| {
        let files = pki.files(folder, &["ms"]);
        let dir = pki.dir.path().join(folder);
        fs::create_dir(&dir).unwrap();
        fs::rename(files.cert, dir.join("tls.crt")).unwrap();
        fs::rename(files.key, dir.join("tls.key")).unwrap();
        dir
    };
    let link = pki.dir.path().join("data");
    let point = |to: &Path| {
        let fresh = pki.dir.path().join("data.tmp");
        std::os::unix::fs::symlink(to, &fresh).unwrap();
        fs::rename(&fresh, &link).unwrap();
    };
    point(&fill("first"));
    let files = CertificateFiles { cert: link.join("tls.crt"), key: link.join("tls.key") };
    let acceptor = Acceptor::tls(files, None).unwrap();
    let (address, _task) = serve(acceptor.clone()).await;
    let connector = Connector::new(Some(pki.ca()), None).unwrap();
    let before = shown(&connect(&connector, "ms", address).await.unwrap());

    let (stop, stopped) = oneshot::channel::<()>();
    let watching = tokio::spawn(watch("certificates", acceptor, Duration::from_millis(5), async {
        let _ = stopped.await;
    }));
    point(&fill("second"));
    let changed =
        async { while shown(&connect(&connector, "ms", address).await.unwrap()) == before {} };
    tokio::time::timeout(Duration::from_secs(10), changed).await.expect("noticed");
    drop(stop);
    watching.await.unwrap();
}

#[test]
fn what_cannot_be_used_is_named() {
    let pki = Pki::new();
    let files = pki.files("ms", &["ms"]);
    let missing = Connector::new(Some("/nowhere/ca.crt".into()), None).unwrap_err();
    assert_eq!(missing.reason(), "read");
    assert!(missing.line().starts_with("/nowhere/ca.crt cannot be read: No such file"));
    let no_ca = Connector::new(Some(files.key.clone()), None).unwrap_err();
    assert_eq!(no_ca.reason(), "pem");
    assert!(no_ca.line().contains("does not hold a certificate in PEM"), "{}", no_ca.line());
    let large = pki.dir.path().join("large");
    fs::write(&large, vec![b' '; 1024 * 1024 + 1]).unwrap();
    let error = Connector::new(Some(large), None).unwrap_err();
    assert!(error.line().ends_with("larger than 1 MiB"), "{}", error.line());
}
