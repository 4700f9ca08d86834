//! Certificates of an authority that a test makes for itself, with OpenSSL, and clients that trust it alone.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{Folder, Http2Connection, HttpConnection, wire::Wire};

/// The name in every certificate; the address of loopback is in it, too.
const NAME: &str = "localhost";

const EXTENSIONS: &str = "basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n";

/// A certificate authority in a folder of its own.
#[derive(Debug)]
pub struct Authority {
    folder: Folder,
}

/// A certificate and its key, in files.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate alone, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

impl Authority {
    /// Makes one.
    pub fn new() -> Self {
        let folder = Folder::new("authority");
        folder.write("extensions", EXTENSIONS);
        let authority = Self { folder };
        let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        authority.openssl(&[&["req", "-x509"], &new_key[..], &["-keyout", "ca.key", "-out", "ca.pem", "-days", "30"]]);
        authority
    }

    /// Returns the file of its own certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Issues a certificate for the gateways of this machine.
    pub fn issue(&self, name: &str) -> Issued {
        let [cert, key, request] = ["pem", "key", "csr"].map(|kind| format!("{name}.{kind}"));
        let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        self.openssl(&[&["req"], &new_key[..], &["-keyout", &key, "-out", &request]]);
        let by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "extensions"];
        self.openssl(&[&["x509", "-req", "-in", &request, "-out", &cert, "-days", "20"], &by[..]]);
        let path = |name: &str| self.folder.path().join(name);
        Issued { cert: path(&cert), key: path(&key) }
    }

    /// Returns a client that trusts what this authority issues, and nothing else.
    pub fn client(&self) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(read(&self.ca())).expect("it is a certificate");
        TlsClient { roots: Arc::new(roots), protocols: Vec::new(), versions: vec![&TLS12, &TLS13] }
    }

    /// Runs OpenSSL in the folder and returns what it says.
    fn openssl(&self, arguments: &[&[&str]]) {
        let mut command = Command::new("openssl");
        command.args(arguments.concat()).current_dir(self.folder.path());
        if arguments[0][0] == "req" {
            // A certificate whose subject is its issuer's, too, is one that signed itself, for Erlang.
            let is_authority = arguments[0].contains(&"-x509");
            command.args(["-subj", if is_authority { "/CN=Postern Authority" } else { "/CN=Postern Tests" }]);
        }
        let output =
            command.output().unwrap_or_else(|e| panic!("there is no openssl ({e}): tests/install-needs openssl"));
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Issued {
    /// Returns the certificate (DER).
    pub fn certificate(&self) -> Vec<u8> {
        read(&self.cert).to_vec()
    }

    /// Puts another pair into the same two files, one after the other, as a renewal does.
    pub fn replace_by(&self, other: &Self) {
        for (from, to) in [(&other.cert, &self.cert), (&other.key, &self.key)] {
            let beside = to.with_extension("new");
            fs::copy(from, &beside).and_then(|_| fs::rename(&beside, to)).expect("the folder is the test's own");
        }
    }

    /// Copies the pair, so that its files can be replaced.
    pub fn copied(&self, name: &str) -> Self {
        let copy = Self {
            cert: self.cert.with_file_name(format!("{name}.pem")),
            key: self.key.with_file_name(format!("{name}.key")),
        };
        copy.replace_by(self);
        copy
    }
}

fn read(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap_or_else(|e| panic!("no certificate in {}: {e}", path.display()))
}

/// What a client of TLS offers.
#[derive(Debug, Clone)]
pub struct TlsClient {
    roots: Arc<RootCertStore>,
    protocols: Vec<Vec<u8>>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl TlsClient {
    /// Offers these protocols by ALPN; none without this.
    pub fn offering(mut self, protocols: &[&str]) -> Self {
        self.protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Speaks TLS 1.2 alone.
    pub fn only_tls_1_2(mut self) -> Self {
        self.versions = vec![&TLS12];
        self
    }

    /// Shakes hands, unless the gateway does not want to.
    pub async fn try_connect(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let builder = ClientConfig::builder_with_protocol_versions(&self.versions);
        let mut config = builder.with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth();
        config.alpn_protocols.clone_from(&self.protocols);
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(NAME).expect("it is a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    async fn connect(&self, address: SocketAddr) -> TlsStream<TcpStream> {
        self.try_connect(address).await.unwrap_or_else(|error| panic!("no TLS at {address}: {error}"))
    }

    /// Connects for HTTP/1.1.
    pub async fn http1(&self, address: SocketAddr) -> HttpConnection {
        HttpConnection::over(Wire::Tls(Box::new(self.connect(address).await)))
    }

    /// Connects for HTTP/2.
    pub async fn http2(&self, address: SocketAddr) -> Http2Connection {
        Http2Connection::over(self.connect(address).await).await
    }
}

/// Returns the certificate that a server has shown.
pub(crate) fn certificate(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    let shown = stream.get_ref().1.peer_certificates().expect("a server shows one");
    shown[0].to_vec()
}
