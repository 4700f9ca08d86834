//! Publishing events: in order, each with a confirm of its own.
//!
//! Not cancel-safe: of a dropped call any event may be stored.

use broker::{BrokerError, limits::CALL_TIMEOUT};
use events::Event;
use tokio::time::{Instant, timeout};

use super::connections::{Connections, PublishConnection, Published};

/// What became of an event; nothing yet.
type Outcome = Option<Result<Published, BrokerError>>;

/// Publishes events in their order, and waits for all confirms at once; returns what became of each. A missing exchange is
/// restored, once; `restore_exchange` is told since when it is missed.
pub(super) async fn publish_all(
    connections: &Connections,
    events: &[Event],
    restore_exchange: impl AsyncFnOnce(Instant) -> Result<(), BrokerError>,
) -> Vec<Result<(), BrokerError>> {
    let publishing = match connections.publishing().await {
        Ok(publishing) => publishing,
        Err(error) => return vec![Err(error); events.len()],
    };
    let mut outcomes: Vec<Outcome> = events.iter().map(|_| None).collect();
    // What has no outcome when the time is over is unconfirmed.
    let _ = timeout(CALL_TIMEOUT, store(&publishing, events, &mut outcomes, restore_exchange)).await;
    let settled = |outcome| match outcome {
        Some(Ok(Published::Stored)) => Ok(()),
        Some(Ok(Published::NoExchange)) => Err(BrokerError::Unavailable("the exchange was deleted".to_owned())),
        Some(Err(error)) => Err(error),
        None => Err(BrokerError::Unconfirmed(CALL_TIMEOUT)),
    };
    outcomes.into_iter().map(settled).collect()
}

async fn store(
    publishing: &PublishConnection,
    events: &[Event],
    outcomes: &mut [Outcome],
    restore_exchange: impl AsyncFnOnce(Instant) -> Result<(), BrokerError>,
) {
    let began = Instant::now();
    publishing.publish_all(events, outcomes).await;
    if !outcomes.iter().any(|outcome| matches!(outcome, Some(Ok(Published::NoExchange)))) {
        return;
    }
    // Those that came after the broker had closed the channel found it closed.
    let is_missed =
        |outcome: &Outcome| matches!(outcome, Some(Ok(Published::NoExchange) | Err(BrokerError::Unavailable(_))));
    let missed: Vec<usize> = (0..events.len()).filter(|n| is_missed(&outcomes[*n])).collect();
    // The events were sent, also if this fails.
    let restored = restore_exchange(began).await.map_err(BrokerError::after_sending);
    if let Err(error) = restored {
        for n in missed {
            outcomes[n] = Some(Err(error.clone()));
        }
        return;
    }
    // The broker does not say which event it met first, so each may be stored.
    let again: Vec<Event> = missed.iter().map(|n| Event { resent: true, ..events[*n].clone() }).collect();
    for n in &missed {
        outcomes[*n] = None;
    }
    let mut anew: Vec<Outcome> = again.iter().map(|_| None).collect();
    publishing.publish_all(&again, &mut anew).await;
    for (n, outcome) in missed.into_iter().zip(anew) {
        outcomes[n] = outcome;
    }
}
