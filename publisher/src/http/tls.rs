//! TLS to a gateway: whom to trust.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, InvalidMessage, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What every connection begins with.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// The gateway is not trusted, or speaks no TLS: it will not be otherwise at the next try.
    #[error("{0}")]
    Refused(String),
    /// The connection broke.
    #[error("{0}")]
    Broken(io::Error),
}

impl Tls {
    /// Trusts the authorities of this system, or those in a file (PEM) and no others. Says what is wrong with them.
    pub(crate) fn new(host: &str, ca: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = ca {
            for certificate in read(path)? {
                roots.add(certificate).map_err(|error| format!("{} cannot be used: {error}", path.display()))?;
            }
        } else {
            // One that cannot be read is no reason to do without the others.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err("this system has no certificates of authorities; name a file of them".to_owned());
            }
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no name of a host"))?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// Shakes hands. The gateway has to be the one that the URL names.
    pub(super) async fn connect(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, TlsError> {
        self.connector.connect(self.name.clone(), stream).await.map_err(|error| {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::InvalidCertificate(reason))
                    if format!("{reason:?}").contains("CaUsedAsEndEntity") =>
                {
                    TlsError::Refused(
                        "its certificate is that of an authority, and cannot be a server's; make one with \
                         basicConstraints=CA:FALSE that the authority in --tls-ca has signed"
                            .to_owned(),
                    )
                }
                Some(rustls::Error::InvalidCertificate(reason)) => TlsError::Refused(format!(
                    "its certificate is not trusted ({reason}); --tls-ca names the file of its authority"
                )),
                Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                    TlsError::Refused("what answers there speaks no TLS; is it http://?".to_owned())
                }
                _ => TlsError::Broken(error),
            }
        })
    }
}

/// Reads the certificates in a file, of which there has to be one.
fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("{shown} holds no certificate; in PEM one begins with -----BEGIN CERTIFICATE-----")),
        Err(_) => Err(format!("{shown} is damaged: it is no PEM")),
    }
}
