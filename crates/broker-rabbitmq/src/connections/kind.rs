//! Where the connections of one kind come from: from any address of the broker.
//!
//! The address that works is kept. One at which a connection failed, or was lost, gives way to the next at once; only
//! the caller pauses, after a round over all of them. The name of a host is looked up for each connection.

use std::{
    collections::BTreeMap,
    fmt::Write,
    future::ready,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use amqp::{AmqpUrl, AmqpUrls, Rotation, connect_reason, connection_properties};
use amqp_sanitizer::{BrokerStream, Handshake, sanitizing};
use broker::{BrokerError, limits::CALL_TIMEOUT};
use deadpool_lapin::{Manager, Object, Pool, PoolError, Runtime};
use lapin::{Connection, ConnectionStatus};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    connection::{BrokerConnection, Role},
    limits::Limits,
};

/// See the module.
pub(super) struct Kind {
    pub(super) role: Role,
    addresses: Vec<Address>,
    rotation: Rotation,
    /// The connections that were opened, with the places of their addresses, until one is seen to be lost.
    opened: Mutex<Vec<(usize, ConnectionStatus)>>,
    /// The place of the address that was logged last.
    told: AtomicUsize,
    limits: Arc<Limits>,
    /// Cancelled once the first try to connect is over, however it went.
    pub(super) tried: CancellationToken,
    /// The last try to connect failed.
    has_failed: AtomicBool,
}

/// One of the broker's addresses.
struct Address {
    /// Host and port.
    shown: String,
    pool: Pool,
}

impl Address {
    fn new(url: &AmqpUrl, name: &str) -> Result<Self, BrokerError> {
        let unavailable = |error: &dyn std::fmt::Display| BrokerError::Unavailable(error.to_string());
        let (address, runtime) = sanitizing(url.secret(), handshake(url)).map_err(|error| unavailable(&error))?;
        let name = name.to_owned();
        let manager = Manager::new(address, move || connection_properties(&name), runtime);
        let pool = Pool::builder(manager)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(CALL_TIMEOUT))
            .wait_timeout(Some(CALL_TIMEOUT))
            .build()
            .map_err(|error| unavailable(&error))?;
        Ok(Self { shown: url.address(), pool })
    }

    async fn connect(&self) -> Result<Connection, BrokerError> {
        let object = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => BrokerError::Unavailable(connect_reason(&error)),
            error => BrokerError::Unavailable(error.to_string()),
        })?;
        // It leaves the pool at once: a connection knows itself how long it is of use, and one that is worn out, or lost
        // and still held by its Leases, must not take the place of the one that replaces it.
        Ok(Object::take(object))
    }
}

/// Returns how to begin TLS, if the URL asks for it.
fn handshake(url: &AmqpUrl) -> Option<Handshake> {
    let tls = Arc::new(url.tls()?.clone());
    let host: Arc<str> = url.host().into();
    Some(Arc::new(move |stream: BrokerStream| {
        let (tls, host) = (Arc::clone(&tls), Arc::clone(&host));
        Box::pin(async move { tls.connect(stream, &host).await }) as Pin<Box<_>>
    }))
}

impl Kind {
    /// Begins at the address of this number.
    pub(super) fn new(
        urls: &AmqpUrls,
        start: usize,
        gateway: &str,
        role: Role,
        limits: Arc<Limits>,
    ) -> Result<Self, BrokerError> {
        let name = format!("{gateway} {}", role.as_str());
        let addresses = urls.iter().map(|url| Address::new(url, &name)).collect::<Result<Vec<_>, _>>()?;
        let rotation = Rotation::new(addresses.len(), start);
        Ok(Self {
            role,
            addresses,
            rotation,
            opened: Mutex::default(),
            told: AtomicUsize::new(usize::MAX),
            limits,
            tried: CancellationToken::new(),
            has_failed: AtomicBool::new(false),
        })
    }

    /// Takes note of what came of a try to connect.
    pub(super) fn note(&self, has_failed: bool) {
        self.has_failed.store(has_failed, Ordering::Relaxed);
        self.tried.cancel();
    }

    /// Says why there is no connection.
    pub(super) fn no_connection(&self) -> BrokerError {
        if self.has_failed.load(Ordering::Relaxed) { BrokerError::NotConnected } else { BrokerError::Reconnecting }
    }

    /// Opens another connection.
    pub(super) async fn connect(&self) -> Result<BrokerConnection, BrokerError> {
        self.connect_with(|connection| ready(Ok(connection))).await
    }

    /// Opens another connection and prepares it, at the first address that takes it; tries each once.
    pub(super) async fn connect_with<L, F: Future<Output = Result<L, lapin::Error>>>(
        &self,
        prepare: impl Fn(BrokerConnection) -> F,
    ) -> Result<L, BrokerError> {
        self.leave_lost();
        let mut failures = Vec::new();
        for at in self.rotation.round() {
            match self.connect_at(at, &prepare).await {
                Ok(connection) => {
                    self.rotation.stay(at);
                    self.tell_address(at);
                    return Ok(connection);
                }
                Err(error) => {
                    let (connection, node) = (self.role.as_str(), &self.addresses[at].shown);
                    debug!(node, connection, %error, "no connection to this address");
                    self.rotation.leave(at);
                    failures.push((at, error));
                }
            }
        }
        Err(self.failure(failures))
    }

    async fn connect_at<L, F: Future<Output = Result<L, lapin::Error>>>(
        &self,
        at: usize,
        prepare: impl Fn(BrokerConnection) -> F,
    ) -> Result<L, BrokerError> {
        let connection = self.addresses[at].connect().await?;
        let status = connection.status().clone();
        let connection = BrokerConnection::new(connection, self.role, Arc::clone(&self.limits));
        match timeout(CALL_TIMEOUT, prepare(connection)).await {
            Ok(Ok(connection)) => {
                self.opened().push((at, status));
                Ok(connection)
            }
            Ok(Err(error)) => Err(BrokerError::Unavailable(error.to_string())),
            Err(_) => Err(BrokerError::Unavailable("no answer while preparing a connection".to_owned())),
        }
    }

    fn opened(&self) -> MutexGuard<'_, Vec<(usize, ConnectionStatus)>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on at the next address where a connection was lost: its node may be about to stop, or be silent.
    fn leave_lost(&self) {
        self.opened().retain(|(at, status)| {
            let is_there = status.connected();
            if !is_there {
                self.rotation.leave(*at);
            }
            is_there
        });
    }

    /// Logs it when connections of this kind are to another address than before, if there are several.
    fn tell_address(&self, at: usize) {
        let before = self.told.swap(at, Ordering::Relaxed);
        if self.addresses.len() > 1 && before != at {
            let (connection, node) = (self.role.as_str(), &self.addresses[at].shown);
            info!(connection, node, "connected to one of the broker's addresses");
        }
    }

    /// Returns the failure of a whole round: what each address said, if there are several.
    fn failure(&self, failures: Vec<(usize, BrokerError)>) -> BrokerError {
        let is_one = self.addresses.len() == 1;
        let mut told = String::new();
        for (at, error) in failures {
            let reason = match error {
                error if is_one => return error,
                BrokerError::Unavailable(reason) => reason,
                error => error.to_string(),
            };
            let separator = if told.is_empty() { "" } else { "; " };
            // Writing to a string cannot fail.
            let _ = write!(told, "{separator}{}: {reason}", self.addresses[at].shown);
        }
        BrokerError::Unavailable(told)
    }

    /// Returns how many connections there are to each address, by host and port.
    pub(super) fn connected(&self) -> BTreeMap<&str, usize> {
        let mut counts: BTreeMap<&str, usize> =
            self.addresses.iter().map(|address| (address.shown.as_str(), 0)).collect();
        for (at, _) in self.opened().iter().filter(|(_, status)| status.connected()) {
            *counts.entry(&self.addresses[*at].shown).or_default() += 1;
        }
        counts
    }
}
