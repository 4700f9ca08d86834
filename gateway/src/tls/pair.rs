//! The files of a certificate and its key, read and checked against each other.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    Error, InconsistentKeys,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};

use super::expiry::not_after;

/// Where the certificates and the key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The gateway's certificate, and those between it and the root.
    pub cert: PathBuf,
    /// The private key of the first one.
    pub key: PathBuf,
}

/// What is wrong with `--tls-cert` and `--tls-key`. No error repeats what is in a file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of them alone; with that one, and the one that is missing.
    #[error("{0} needs {1} as well (POSTERN_TLS_CERT and POSTERN_TLS_KEY are the variables): give both or none")]
    Half(&'static str, &'static str),
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    Unreadable(String, io::Error),
    /// A file is no PEM.
    #[error("{0} is damaged: {1}")]
    Pem(String, String),
    /// There is no certificate.
    #[error("{0} holds no certificate; in PEM one begins with -----BEGIN CERTIFICATE-----")]
    NoCertificate(String),
    /// There is no key.
    #[error("{0} holds no private key; in PEM one begins with -----BEGIN PRIVATE KEY-----")]
    NoKey(String),
    /// The key has a passphrase.
    #[error("{0} holds a private key with a passphrase; make one without: openssl pkey -in FILE -out NEW")]
    Encrypted(String),
    /// A certificate or a key is of an unknown kind.
    #[error("{0} cannot be used: {1}")]
    Unusable(String, Error),
    /// They do not belong together.
    #[error(
        "{1} is not the key of the first certificate in {0}; the gateway's own certificate is the first, and those between it \
         and the root follow"
    )]
    NotAPair(String, String),
}

/// What stands in the two files.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Contents(…)")
    }
}

/// What can be shown to clients.
pub(super) struct Pair {
    pub(super) key: CertifiedKey,
    /// Of the first certificate, if it can be read.
    pub(super) expires: Option<SystemTime>,
}

impl Contents {
    /// Reads both files. Blocks.
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &Path, named: String| fs::read(path).map_err(|error| TlsError::Unreadable(named, error));
        let (cert, key) = named(files);
        Ok(Self { cert: read(&files.cert, cert)?, key: read(&files.key, key)? })
    }

    /// Makes a pair of them.
    pub(super) fn pair(&self, files: &TlsFiles) -> Result<Pair, TlsError> {
        let (cert_file, key_file) = named(files);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.cert).collect();
        let chain = chain.map_err(|error| TlsError::Pem(cert_file.clone(), reason(&error)))?;
        let Some(own) = chain.first() else { return Err(TlsError::NoCertificate(cert_file)) };
        let expires = not_after(own);
        let key = match PrivateKeyDer::from_pem_slice(&self.key) {
            Ok(key) => key,
            Err(pem::Error::NoItemsFound) if is_encrypted(&self.key) => return Err(TlsError::Encrypted(key_file)),
            Err(pem::Error::NoItemsFound) => return Err(TlsError::NoKey(key_file)),
            Err(error) => return Err(TlsError::Pem(key_file, reason(&error))),
        };
        let unusable = |file: &str, error| TlsError::Unusable(file.to_owned(), error);
        let key = provider().key_provider.load_private_key(key).map_err(|error| unusable(&key_file, error))?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Pair { key, expires }),
            Err(Error::InconsistentKeys(_)) => Err(TlsError::NotAPair(cert_file, key_file)),
            Err(error) => Err(unusable(&cert_file, error)),
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().map_or_else(|| Arc::new(aws_lc_rs::default_provider()), Arc::clone)
}

/// Names the files with their settings.
fn named(files: &TlsFiles) -> (String, String) {
    (format!("--tls-cert {}", files.cert.display()), format!("--tls-key {}", files.key.display()))
}

/// Tells whether there is a key in one of the forms that have a passphrase (PKCS #8, and OpenSSL's own).
fn is_encrypted(key: &[u8]) -> bool {
    let text = String::from_utf8_lossy(key);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// Says what is wrong with a PEM file. The library repeats its lines, as numbers.
fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "it ends in the middle of a section".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "the first line of a section is malformed".to_owned(),
        pem::Error::Base64Decode(_) => "a section is no base64".to_owned(),
        error => error.to_string(),
    }
}
