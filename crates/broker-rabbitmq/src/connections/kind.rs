//! Where the connections of one kind come from.

use std::sync::Arc;

use amqp::{AmqpUrl, connection_properties};
use amqp_sanitizer::sanitizing;
use broker::{BrokerError, limits::CALL_TIMEOUT};
use deadpool_lapin::{Manager, Object, Pool, PoolError, Runtime};
use lapin::Connection;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    connection::{BrokerConnection, Role},
    limits::Limits,
};

/// See the module.
pub(super) struct Kind {
    pub(super) role: Role,
    pool: Pool,
    limits: Arc<Limits>,
    /// Cancelled once the first try to connect is over, however it went.
    pub(super) tried: CancellationToken,
}

impl Kind {
    pub(super) fn new(url: &AmqpUrl, gateway: &str, role: Role, limits: Arc<Limits>) -> Result<Self, BrokerError> {
        let unavailable = |error: &dyn std::fmt::Display| BrokerError::Unavailable(error.to_string());
        let (address, runtime) = sanitizing(url.secret()).map_err(|error| unavailable(&error))?;
        let name = format!("{gateway} {}", role.as_str());
        let manager = Manager::new(address, move || connection_properties(&name), runtime);
        let pool = Pool::builder(manager)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(CALL_TIMEOUT))
            .wait_timeout(Some(CALL_TIMEOUT))
            .build()
            .map_err(|error| unavailable(&error))?;
        Ok(Self { role, pool, limits, tried: CancellationToken::new() })
    }

    /// Opens another connection.
    pub(super) async fn connect(&self) -> Result<BrokerConnection, BrokerError> {
        self.connect_with(async |connection| Ok(connection)).await
    }

    /// Opens another connection and prepares it.
    ///
    /// It leaves the pool at once: a connection knows itself how long it is of use, and one that is worn out, or lost
    /// and still held by its Leases, must not take the place of the one that replaces it.
    pub(super) async fn connect_with<L>(
        &self,
        prepare: impl AsyncFnOnce(BrokerConnection) -> Result<L, lapin::Error>,
    ) -> Result<L, BrokerError> {
        let object = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => BrokerError::Unavailable(error.to_string()),
            error => BrokerError::Unavailable(error.to_string()),
        })?;
        let connection: Connection = Object::take(object);
        let connection = BrokerConnection::new(connection, self.role, Arc::clone(&self.limits));
        match timeout(CALL_TIMEOUT, prepare(connection)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(BrokerError::Unavailable(error.to_string())),
            Err(_) => Err(BrokerError::Unavailable("no answer while preparing a connection".to_owned())),
        }
    }
}
