//! What is served at which listener.
//!
//! The admin listener has what an operator asks, and nothing else: where it is, no event and no mailbox can be reached.
//! `/live` and `/ready` are served everywhere, for load balancers.

use super::{listener::Audience, metrics::Operation, problem::Problem};

/// Says why what is asked for is not served at this listener.
pub(super) fn check(audience: Audience, operation: Operation, has_public_metrics: bool) -> Result<(), Problem> {
    match (audience, operation) {
        (_, Operation::Live | Operation::Ready) | (Audience::Admins, Operation::Metrics) => Ok(()),
        (Audience::Admins, _) => Err(Problem::NotForAdmins),
        (_, Operation::Metrics) if !has_public_metrics => Err(Problem::MetricsElsewhere),
        _ => Ok(()),
    }
}
