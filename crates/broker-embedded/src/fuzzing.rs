//! What fuzz targets see of the embedded broker's store.

pub use super::store::fuzzing::{Record, Records, read_again};
use super::{log::Retention, position::Position, state::BrokerState};

/// Reads records as a start does, and then each mailbox to its end, or to the first of its events that is not in
/// memory.
///
/// Returns how many messages were found; `None` if a start would refuse the records.
#[must_use]
pub fn recover(records: &Records, retention: Retention) -> Option<usize> {
    let recovered = records.recover(retention)?;
    let clients: Vec<_> = recovered.mailboxes.iter().map(|(client, _)| client.clone()).collect();
    let mut state = BrokerState::new(recovered.log, recovered.mailboxes);
    let mut found = 0;
    for client in &clients {
        let mut from = Position::before(0);
        while let Some(scan) = state.scan(client, from, usize::MAX) {
            found += scan.found.len();
            from = scan.reached;
            if scan.complete {
                break;
            }
        }
    }
    if let Some(end) = state.log.expired(recovered.clock.now(), u64::MAX) {
        let (last, _) = state.last_of_topics(end);
        state.waiting_for(&last, |_, _| {});
        state.trim(end);
    }
    Some(found)
}
