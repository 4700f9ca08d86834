//! TLS: what clients are shown, and how that is replaced while they are connected.
//!
//! The files are looked at every minute and at SIGHUP. A pair that can be used is shown to new connections; those that
//! are open keep what they began with. One that cannot be used is warned of and counted, and the one before stays.
//!
//! What RabbitMQ is connected by, and what key sets are fetched by, takes its cryptography from here, too.

mod expiry;
mod pair;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tracing::{info, warn};

use self::pair::{Contents, Pair};
pub use self::pair::{TlsError, TlsFiles};
use crate::process::{Cause, Reloads};

/// HTTP/2 and HTTP/1.1 (RFC 7301, section 6), the first one being preferred.
const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Has every library of the process use one implementation of cryptography, the only one that is compiled in. The first
/// call counts; libraries that are asked before it would choose by themselves.
pub fn install_provider() {
    // Fails only where it was called before.
    let _ = aws_lc_rs::default_provider().install_default();
}

/// Tells whether a client and the gateway agreed on HTTP/2.
pub(crate) fn is_http2(agreed: Option<&[u8]>) -> bool {
    agreed == Some(H2)
}

/// What is counted of TLS.
#[derive(Debug, Default)]
struct TlsMetrics {
    reloads_failed: Counter,
    /// Seconds since 1970; 0 if it cannot be read.
    expiry: Gauge,
}

/// See the module.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    shown: RwLock<Shown>,
    metrics: TlsMetrics,
}

/// What clients are shown now, and what the last look found.
#[derive(Debug)]
struct Shown {
    clients: Arc<ServerConfig>,
    surplus: Arc<ServerConfig>,
    expires: Option<SystemTime>,
    /// A pair that cannot be used is warned of once, and not each minute.
    looked_at: Result<Contents, String>,
}

impl Tls {
    /// Reads the files, and says what is wrong with them.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let contents = Contents::read(&files)?;
        let pair = contents.pair(&files)?;
        let tls = Self { files, shown: RwLock::new(Shown::new(pair, contents)), metrics: TlsMetrics::default() };
        tls.measure();
        Ok(tls)
    }

    /// Logs for how long it is good.
    pub fn announce(&self) {
        let (certificate, expires) = (self.files.cert.display(), self.expires());
        let shown = expires.map(|expires| tracing::field::display(humantime::format_rfc3339_seconds(expires)));
        if expires.is_some_and(|expires| expires < SystemTime::now()) {
            warn!(%certificate, expires = shown, "the certificate has expired; clients will refuse it");
        } else {
            info!(%certificate, expires = shown, "serving TLS");
        }
    }

    /// Shows to Prometheus what is counted here.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "tls_reload_failures",
            "Looks at --tls-cert and --tls-key that found a pair which cannot be used; the one before is kept",
            self.metrics.reloads_failed.clone(),
        );
        registry.register(
            "tls_certificate_expiry_timestamp_seconds",
            "When the certificate that clients are shown expires, in seconds since 1970",
            self.metrics.expiry.clone(),
        );
    }

    /// Returns what a new connection begins with.
    pub(crate) fn for_client(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner).clients)
    }

    /// The same for a connection beyond the maximum, on which only HTTP/1.1 is spoken.
    pub(crate) fn for_surplus(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner).surplus)
    }

    /// Looks at the files for ever, whenever it is due. Cancel-safe.
    pub(crate) async fn keep_fresh(&self, reloads: &mut Reloads) {
        loop {
            let cause = reloads.next().await;
            let files = self.files.clone();
            let reading = tokio::task::spawn_blocking(move || Contents::read(&files));
            // Fails only if reading panicked; the next look may not.
            if let Ok(contents) = reading.await {
                self.take(cause, contents);
            }
        }
    }

    /// Takes what a look found.
    fn take(&self, cause: Cause, contents: Result<Contents, TlsError>) {
        let found = contents.as_ref().map(Clone::clone).map_err(ToString::to_string);
        let is_known = self.shown.read().unwrap_or_else(PoisonError::into_inner).looked_at == found;
        if is_known && (cause == Cause::Time || found.is_ok()) {
            if cause == Cause::Hangup {
                info!("the files of TLS are as they were");
            }
            return;
        }
        let pair = contents.and_then(|contents| Ok((contents.pair(&self.files)?, contents)));
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        match pair {
            Ok((pair, contents)) => {
                *shown = Shown::new(pair, contents);
                drop(shown);
                self.measure();
                info!("the certificate was replaced, for new connections");
                self.announce();
            }
            Err(error) => {
                shown.looked_at = found;
                drop(shown);
                self.metrics.reloads_failed.inc();
                warn!(%error, "the certificate is not replaced; the one before is kept");
            }
        }
    }

    fn expires(&self) -> Option<SystemTime> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).expires
    }

    fn measure(&self) {
        let since_1970 = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seconds = self.expires().map_or(Duration::ZERO, since_1970).as_secs();
        self.metrics.expiry.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }
}

impl Shown {
    fn new(pair: Pair, contents: Contents) -> Self {
        let Pair { key, expires } = pair;
        let for_all = config(key);
        let with = |protocols: &[&[u8]]| {
            let mut config = for_all.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Arc::new(config)
        };
        Self { clients: with(&[H2, HTTP_1_1]), surplus: with(&[HTTP_1_1]), expires, looked_at: Ok(contents) }
    }
}

/// TLS 1.2 and 1.3 without client certificates. No early data: what is sent with it can be sent again by any other
/// (RFC 8446, section 8), and would publish twice.
fn config(key: CertifiedKey) -> ServerConfig {
    let resolver = Arc::new(SingleCertAndKey::from(key));
    let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(resolver);
    // Clients keep their sessions, and the gateway keeps none: a herd that comes back is as large as it was. Without
    // tickets each of them makes a whole handshake.
    if let Ok(ticketer) = aws_lc_rs::Ticketer::new() {
        config.ticketer = ticketer;
    }
    config
}
