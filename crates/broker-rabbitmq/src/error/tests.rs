use lapin::protocol::AMQPError;

use super::*;

fn error(code: u16, text: &str) -> lapin::Error {
    ErrorKind::ProtocolError(AMQPError::from_id(code, text.into()).unwrap()).into()
}

#[test]
fn one_reply_code_is_not_taken_for_one_cause() {
    use Refusal::{InUse, Limit, Mismatch, NoExchange, NoQueue, Other, OtherExpiry, OtherType, QueueAway};
    for (code, text, expected) in [
        (404, "NOT_FOUND - no queue 'postern.mailbox.x' in vhost '/'", NoQueue),
        (404, "NOT_FOUND - no exchange 'postern.events' in vhost '/'", NoExchange),
        (404, "NOT_FOUND - home node 'b@host' of durable queue 'q' in vhost '/' is down or inaccessible", QueueAway),
        (404, "NOT_FOUND - queue 'q' in vhost '/' process is stopped by supervisor", QueueAway),
        (404, "NOT_FOUND - failed to perform operation on queue 'q' in vhost '/' due to timeout", QueueAway),
        (403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use", InUse),
        (403, "ACCESS_REFUSED - access to topic 'bad.#' in exchange 'postern.events' in vhost '/' refused", Other),
        (
            406,
            "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q': received none but current is …",
            Mismatch,
        ),
        (
            406,
            "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q': received 'classic' but …",
            OtherType,
        ),
        (406, "… - inequivalent arg 'x-expires' for queue 'q': received '5' but current is '7'", OtherExpiry(Some(7))),
        (
            406,
            "… - inequivalent arg 'x-expires' for queue 'q': received none but current is the value '7' of type 'long'",
            OtherExpiry(Some(7)),
        ),
        (
            406,
            "… - inequivalent arg 'x-expires' for queue 'q': received the value '5' of type 'long' but current is none",
            OtherExpiry(None),
        ),
        (406, "PRECONDITION_FAILED - cannot declare queue 'q': queue limit in vhost 'v' (2) is reached", Limit),
        (406, "PRECONDITION_FAILED - message size 20971520 is larger than configured max size 16777216", Other),
        (406, "PRECONDITION_FAILED - unknown delivery tag 1", Other),
        (530, "NOT_ALLOWED - number of channels opened for user 'u' has reached the maximum allowed … (3)", Limit),
        (530, "NOT_ALLOWED - access to vhost 'v' refused for user 'u': connection limit (1) is reached", Limit),
        (530, "NOT_ALLOWED - vhost v not found", Other),
    ] {
        assert_eq!(refusal(&error(code, text)), Some(expected), "{text}");
    }
    assert_eq!(refusal(&ErrorKind::ChannelsLimitReached.into()), None);
}

#[test]
fn the_node_of_a_queue_is_read_from_the_refusal() {
    let down = "NOT_FOUND - home node 'b@host' of durable queue 'q' in vhost '/' is down or inaccessible";
    assert_eq!(home_node(down), Some("b@host"));
    assert_eq!(home_node("NOT_FOUND - queue 'q' in vhost '/' process is stopped by supervisor"), None);
}

#[test]
fn an_acknowledgement_that_came_too_late_is_told_from_other_refusals() {
    let late = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms…";
    assert!(is_ack_timeout(&error(406, late)));
    assert!(!is_ack_timeout(&error(406, "PRECONDITION_FAILED - unknown delivery tag 1")));
}

#[test]
fn a_limit_of_channels_is_read_from_the_refusal() {
    let user =
        "NOT_ALLOWED - number of channels opened for user 'u (7)' has reached the maximum allowed user limit of (30)";
    assert_eq!(channel_limit(&error(530, user)), Some(ChannelLimit(Some(30))));
    assert_eq!(
        channel_limit(&error(530, "NOT_ALLOWED - number of channels opened on node is at its limit")),
        Some(ChannelLimit(None))
    );
    assert_eq!(channel_limit(&error(530, "NOT_ALLOWED - vhost v not found")), None);
    assert_eq!(channel_limit(&error(404, "NOT_FOUND - number of channels (3)")), None);
}
