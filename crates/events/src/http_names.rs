//! Names of HTTP headers that the gateway and its clients must agree on, in lower case, as HTTP/2 has them.

/// The header by which a publisher gives an event its id, so that a retry is the same event.
pub const EVENT_ID: &str = "event-id";

/// Another name of it, by which many clients send it (draft-ietf-httpapi-idempotency-key-header).
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header (`true` or `false`) by which a publisher says that it may have stored the event already. The crate
/// `amqp` has its namesake.
pub const RESENT: &str = "postern-resent";

/// The header in which an answer has the token that the client echoes.
pub const LAST_SEEN: &str = "last-seen";

/// The header in which a client echoes it: that of Server-Sent Events (WHATWG HTML, section 9.2).
pub const LAST_EVENT_ID: &str = "last-event-id";

/// The header with the id by which a request is found in logs; of the client or a proxy, else of the gateway.
pub const REQUEST_ID: &str = "x-request-id";
