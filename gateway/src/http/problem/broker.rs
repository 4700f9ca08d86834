//! The words for what a broker did not do.

use broker::BrokerError;

/// Says why the broker did not do what was asked.
pub(super) fn refusal(error: &BrokerError) -> String {
    match error {
        BrokerError::Refused { attempted, .. } => {
            format!("the broker refused to {attempted}; the gateway's log has its reason")
        }
        BrokerError::OtherQueueType { .. } => {
            "this queue exists in the broker as another type (a mailbox is a classic queue, the feed a stream), so its \
             order cannot be promised; the gateway's log names it; delete it, and it is made anew (a mailbox: DELETE \
             /clients/{client})"
                .to_owned()
        }
        BrokerError::LimitReached { attempted, .. } => format!(
            "a limit of the broker keeps this gateway from this ({attempted}); the gateway's log has its reason; try again later"
        ),
        BrokerError::NoRoom { attempted, reason } => {
            format!("a limit of the broker keeps this gateway from this ({attempted}): {reason}; try again later")
        }
        BrokerError::TooManyBindings(most) => format!(
            "a mailbox is bound to at most {most} topic patterns, with those that were ended and still have unconfirmed \
             events; name fewer, with * or #, or end some: DELETE /clients/{{client}}/topics/{{pattern}}"
        ),
        BrokerError::QueueAway { .. } => {
            "the broker cannot reach this queue now: its node is down, or its process has stopped; what is in it is \
             kept; try again"
                .to_owned()
        }
        BrokerError::Busy => {
            "the broker is slow now, and the mailboxes that were asked for earlier are opened first; try again: the place \
             among them is kept for a while"
                .to_owned()
        }
        BrokerError::Blocked => {
            "the broker is short of memory or disk and takes nothing now; try again later".to_owned()
        }
        BrokerError::Unwritable(reason) => {
            format!("the gateway's store cannot be written now ({reason}); make room on its disk, or try again later")
        }
        _ => "the broker cannot be reached now; try again".to_owned(),
    }
}

/// Says why there is no confirm for an event, and what its publisher does next.
pub(super) fn no_confirm(id: &str, error: &BrokerError) -> String {
    match error {
        BrokerError::Blocked => format!(
            "the broker is short of memory or disk and takes no events now; retry later with the same Event-Id: {id}"
        ),
        BrokerError::NotConnected | BrokerError::Reconnecting => {
            format!("the broker cannot be reached now, so the event was not stored; retry with the same Event-Id: {id}")
        }
        BrokerError::Refused { .. } => {
            format!(
                "the broker refused this event, or one that was published beside it; the gateway's log has its reason; \
                 if it was not this one, retry with Postern-Resent: true and the same Event-Id: {id}"
            )
        }
        BrokerError::Unwritable(reason) => format!(
            "the gateway's store cannot be written now ({reason}); make room on its disk, or retry later; the event may \
             have been stored, so retry with Postern-Resent: true and the same Event-Id: {id}"
        ),
        _ => format!(
            "the broker did not confirm the event; it may have been stored; retry with Postern-Resent: true and the same Event-Id: {id}"
        ),
    }
}
