//! What goes wrong for one client or publisher. The run goes on: it is counted by kind, and told in the report.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// Nothing listens, or its queue of new connections is full.
    Refused,
    /// The connection was not made in time.
    NotConnected,
    /// The server has reset the connection.
    Reset,
    /// The server has closed the connection before the answer was whole.
    Closed,
    /// There was no answer in time. For a client that is a time-out, and no failure.
    NotAnswered,
    /// No port or no open file was left on this machine.
    Exhausted,
    /// The server allows fewer streams on one connection (HTTP/2).
    NoStream,
    /// The AMQP broker is not there.
    BrokerUnreachable,
    /// The AMQP broker does not let this user in.
    BrokerRefused,
    /// The AMQP broker does not take this event.
    EventRefused,
    /// A queue of the AMQP broker is full, and rejects events.
    QueueFull,
    /// Another error of the operating system.
    System(i32),
    /// The answer was no HTTP.
    Malformed,
    /// An answer with a status that is neither one with events nor one of nothing.
    Status(u16),
}

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Self {
        // EMFILE and ENFILE have no kind of their own.
        const NO_FILES: [i32; 2] = [24, 23];
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::NotConnected,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                Self::Reset
            }
            // These come of HTTP/2, which has errors of its own.
            io::ErrorKind::UnexpectedEof => Self::Closed,
            io::ErrorKind::QuotaExceeded => Self::NoStream,
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Self::Exhausted,
            _ if error.raw_os_error().is_some_and(|code| NO_FILES.contains(&code)) => Self::Exhausted,
            // No error of the system: the library found it.
            _ if error.raw_os_error().is_none() => Self::Malformed,
            _ => Self::System(error.raw_os_error().unwrap_or_default()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::NotConnected => f.write_str("not connected in time"),
            Self::Reset => f.write_str("connection reset"),
            Self::Closed => f.write_str("connection closed"),
            Self::NotAnswered => f.write_str("no answer in time"),
            Self::Exhausted => f.write_str("no port or no open file left here"),
            Self::NoStream => f.write_str("more --streams-per-connection than the server allows"),
            Self::BrokerUnreachable => f.write_str("broker not reached"),
            Self::BrokerRefused => f.write_str("broker refused the connection"),
            Self::EventRefused => f.write_str("broker refused the event"),
            Self::QueueFull => f.write_str("rejected by a full queue"),
            Self::System(code) => write!(f, "{}", io::Error::from_raw_os_error(*code)),
            Self::Malformed => f.write_str("no HTTP"),
            Self::Status(status) => write!(f, "status {status}"),
        }
    }
}
