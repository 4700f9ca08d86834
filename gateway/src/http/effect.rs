//! What a request changes is done whole or not at all: it does not end with its connection.

use std::panic::resume_unwind;

use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::{body::HttpResponse, problem::Problem};

/// Runs the part of a handler that changes something, in a task of its own. A handler that is dropped meanwhile,
/// because its client hung up, leaves it running.
pub(super) async fn run(
    effects: &TaskTracker,
    effect: impl Future<Output = Result<HttpResponse, Problem>> + Send + 'static,
) -> Result<HttpResponse, Problem> {
    // On the heap: on its way into a task a future is copied several times.
    match effects.spawn(Box::pin(effect).in_current_span()).await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends.
            Err(_) => Err(Problem::ShuttingDown),
        },
    }
}
