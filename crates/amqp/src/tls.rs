//! TLS to a broker: by which authorities it is verified, and by which certificate it knows this client.
//!
//! The files are read for each connection. A certificate that is renewed is so used from the next one on, and a file that
//! cannot be used any more leaves open connections alone.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_io::{AsyncRead, AsyncWrite};
use lapin::{
    ErrorKind,
    tcp::{AsyncTcpStream, RustlsConnector},
};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, InvalidMessage, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// The files of TLS to a broker, PEM each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that are trusted, and no others; without it those of this system.
    pub ca: Option<PathBuf>,
    /// The certificate of this client, and those between it and the authority that the broker trusts.
    pub cert: Option<PathBuf>,
    /// The private key of that certificate, without a passphrase.
    pub key: Option<PathBuf>,
}

/// Why there can be no TLS to a broker.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate without a key, or the reverse; with what is there and what is missing.
    #[error("{0} needs {1}: a client certificate and its private key belong together")]
    Half(&'static str, &'static str),
    /// A file cannot be read.
    #[error("{path} cannot be read: {1}", path = .0.display())]
    Unreadable(PathBuf, io::Error),
    /// A file has nothing of the kind in it; with what that would be, and how it begins.
    #[error("{path} holds no {1}; in PEM one begins with -----BEGIN {2}-----", path = .0.display())]
    Empty(PathBuf, &'static str, &'static str),
    /// A file, or a pair of them, cannot be used.
    #[error("{path} cannot be used: {1}", path = .0.display())]
    Unusable(PathBuf, String),
    /// There is no authority to trust.
    #[error("this system has no certificates of authorities; name a file of them with --amqp-ca-file")]
    NoAuthorities,
    /// Only a broken build of the cryptography could do this.
    #[error("TLS cannot be spoken: {0}")]
    Unsupported(rustls::Error),
}

impl TlsFiles {
    /// Tells whether a file is named at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns these files, with those of `others` for what is not named here. A certificate and its key are one thing.
    pub(crate) fn or(self, others: &Self) -> Self {
        let others = others.clone();
        let ca = self.ca.or(others.ca);
        let has_own = self.cert.is_some() || self.key.is_some();
        let (cert, key) = if has_own { (self.cert, self.key) } else { (others.cert, others.key) };
        Self { ca, cert, key }
    }

    /// Reads the files and says what is wrong with them.
    pub fn check(&self) -> Result<(), TlsError> {
        self.connector().map(drop)
    }

    /// Shakes hands with the broker, which has to be the one of this name.
    pub async fn connect<S>(&self, stream: AsyncTcpStream<S>, host: &str) -> io::Result<AsyncTcpStream<S>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let connector = self.connector().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        stream.into_rustls(&connector, host).await.map_err(explained)
    }

    fn connector(&self) -> Result<RustlsConnector, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unsupported)?
            .with_root_certificates(self.authorities()?);
        let config = match (&self.cert, &self.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let unusable = |error: rustls::Error| TlsError::Unusable(cert.clone(), reason(&error, key));
                builder.with_client_auth_cert(certificates(cert)?, private_key(key)?).map_err(unusable)?
            }
            (Some(_), None) => {
                return Err(TlsError::Half("certfile or --amqp-cert-file", "keyfile or --amqp-key-file"));
            }
            (None, Some(_)) => {
                return Err(TlsError::Half("keyfile or --amqp-key-file", "certfile or --amqp-cert-file"));
            }
        };
        Ok(config.into())
    }

    fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.ca {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| TlsError::Unusable(path.clone(), error.to_string()))?;
            }
            return Ok(roots);
        }
        // One that cannot be read is no reason to do without the others.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() { Err(TlsError::NoAuthorities) } else { Ok(roots) }
    }
}

/// Says why a certificate and a key cannot be used.
fn reason(error: &rustls::Error, key: &Path) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => format!("the key in {} is that of another certificate", key.display()),
        error => error.to_string(),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(TlsError::Empty(path.to_owned(), "certificate", "CERTIFICATE")),
        Err(_) => Err(TlsError::Unusable(path.to_owned(), "it is damaged, and no PEM".to_owned())),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    // Why not is left out: no error may show a part of a key.
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| TlsError::Empty(path.to_owned(), "private key without a passphrase", "PRIVATE KEY"))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Unreadable(path.to_owned(), error))
}

/// Says why a connection could not be opened, in words by which an operator can do something about it.
///
/// In TLS 1.3 a broker refuses the certificate of its client after the handshake, so that the library meets it.
#[must_use]
pub fn connect_reason(error: &lapin::Error) -> String {
    let ErrorKind::IOError(reason) = error.kind() else { return error.to_string() };
    let tls = reason.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls.and_then(in_words) {
        Some(words) => words,
        None if reason.kind() == io::ErrorKind::InvalidData => reason.to_string(),
        None => error.to_string(),
    }
}

fn explained(error: io::Error) -> io::Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls.and_then(in_words) {
        Some(words) => io::Error::new(io::ErrorKind::InvalidData, words),
        None => error,
    }
}

fn in_words(error: &rustls::Error) -> Option<String> {
    let words = match error {
        // The second is that of another authority of the same name.
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "the broker's certificate is of an authority that is not trusted; --amqp-ca-file (or cacertfile in the URL) names \
             the file of its authority"
        }
        rustls::Error::InvalidCertificate(_) => return Some(format!("the broker is not trusted: {error}")),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "what answers there speaks no TLS; is it amqp://?"
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure) => {
            "the broker wants a client certificate; give --amqp-cert-file and --amqp-key-file (or certfile and keyfile in the \
             URL)"
        }
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate | AlertDescription::UnknownCA | AlertDescription::CertificateExpired,
        ) => return Some(format!("the broker does not take the client certificate: {error}")),
        _ => return None,
    };
    Some(words.to_owned())
}
