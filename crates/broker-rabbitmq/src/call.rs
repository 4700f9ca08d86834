//! Making a call to the broker, and what it came to.

use broker::{BrokerError, limits::CALL_TIMEOUT};
use tokio::time::timeout;

use super::error::Failure;

/// Makes a call; an error says what was `attempted`.
pub(super) async fn in_time<T>(
    attempted: &'static str,
    call: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, BrokerError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(result) => result.map_err(|error| Failure(attempted, error).into()),
        Err(_) => Err(BrokerError::Unavailable(format!("no answer to: {attempted}"))),
    }
}
