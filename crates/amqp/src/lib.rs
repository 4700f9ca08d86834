//! Postern on AMQP 0-9-1: everything that the gateway and the publisher must agree on.
//!
//! [`names`] and [`message`] are the contract with the rest of the world: any program that follows them can publish.
//! [`AmqpUrls`], [`Rotation`], [`connection_properties`], [`ConfirmChannel`] and [`PublishingConnection`] are how
//! Postern's own binaries connect and publish.
//! Auto-recovery of the AMQP library stays off everywhere: it is unsafe with exclusive consumers, and a publisher has
//! to know which events it must resend.

mod cloud_events;
mod headers;
pub mod message;
pub mod names;
mod publishing;
mod rotation;
mod tls;
mod url;
mod urls;

use lapin::{ConnectionProperties, types::ShortString};

pub use publishing::{
    ConfirmChannel, Confirmation, ConnectError, PublishError, PublishingConnection, declare_exchange,
};
pub use rotation::Rotation;
pub use tls::{TlsError, TlsFiles, connect_reason};
pub use url::{AmqpUrl, AmqpUrlError};
pub use urls::{AmqpUrls, AmqpUrlsError};

/// Returns the properties of a connection that an operator sees under `name`.
#[must_use]
pub fn connection_properties(name: &str) -> ConnectionProperties {
    ConnectionProperties::default().with_connection_name(name.into())
}

/// A text is longer than the 255 bytes of an AMQP short string (AMQP 0-9-1, section 4.2.5.3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes do not fit an AMQP short string, which has at most 255")]
pub struct ShortStringError(usize);

/// Converts a text that may come from outside; the library's own `From` panics where this returns an error.
pub fn short_string(text: &str) -> Result<ShortString, ShortStringError> {
    ShortString::try_new(text).map_err(|_| ShortStringError(text.len()))
}
