//! Asking the broker for a consumer.

use lapin::Channel;
use scopeguard::{ScopeGuard, guard};
use tokio::runtime::Handle;

use super::links::Occupied;

/// Runs a question for a consumer on a channel, and returns the channel's place with the answer.
///
/// A dropped call gives the question up and closes the channel. Else the library would keep the consumer that nobody waits for
/// any more, and the channel with it: until the connection ends, that consumer would keep what the broker hands to it, and an
/// exclusive one its whole queue.
pub(super) async fn ask<T>(link: Occupied, channel: &Channel, question: impl Future<Output = T>) -> (Occupied, T) {
    let asking = guard((link, channel.clone()), |(link, channel)| give_up(link, channel));
    let answer = question.await;
    let (link, _) = ScopeGuard::into_inner(asking);
    (link, answer)
}

/// Closes the channel when the broker has answered. That may take as long as it likes: only this place waits for it.
fn give_up(link: Occupied, channel: Channel) {
    // Without a runtime the process is about to end, and its connections with it.
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move {
            if channel.close(200, "given up".into()).await.is_err() {
                link.note_if_closed(&channel);
            }
        });
    }
}
