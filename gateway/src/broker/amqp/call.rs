//! How long a call to the broker may take, and what it came to.

use std::time::Duration;

use tokio::time::timeout;

use super::error::Failure;
use crate::broker::BrokerError;

/// How long a call may take; the broker answers in milliseconds when it is well.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

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
