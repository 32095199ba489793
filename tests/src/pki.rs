//! Certificates for stories: an authority of their own, and what it signs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tempfile::TempDir;
use wardlink_tls::CertificateFiles;

/// A certificate authority with a folder. Dropping it removes the folder.
#[derive(Debug)]
pub struct Pki {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    /// A new authority.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "wardlink test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let dir = TempDir::with_prefix("wardlink-pki-")?;
        fs::write(dir.path().join("ca.crt"), issuer.pem())?;
        Ok(Self { dir, issuer })
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// A new certificate for these DNS names or IP addresses, of servers and of clients, in files
    /// `NAME.crt` and `NAME.key`. Files that are there are exchanged, one after the other, each at
    /// once.
    ///
    /// # Errors
    /// Not a name, or a file cannot be written.
    pub fn issue(&self, name: &str, subjects: &[&str]) -> anyhow::Result<CertificateFiles> {
        let subjects: Vec<String> = subjects.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(subjects)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ServerAuth);
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ClientAuth);
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(CertificateFiles {
            cert: self.put(&format!("{name}.crt"), &cert.pem())?,
            key: self.put(&format!("{name}.key"), &key.serialize_pem())?,
        })
    }

    /// A file of the folder with this text, exchanged at once if it is there.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.dir.path().join(name);
        let fresh = self.dir.path().join(format!("{name}.tmp"));
        fs::write(&fresh, text).with_context(|| format!("writing {}", fresh.display()))?;
        fs::rename(&fresh, &path)?;
        Ok(path)
    }
}
