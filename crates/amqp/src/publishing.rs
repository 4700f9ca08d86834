//! Publishing with confirms.
//!
//! [`ConfirmChannel::publish`] writes one event and returns its [`Confirmation`]; awaiting that tells whether the
//! broker has stored it in every queue that was bound (RabbitMQ, "Publisher Confirms"). Many may be in flight at once.
//! Dropping a `Confirmation` abandons the question, not the event: it may or may not be stored.
//!
//! [`PublishingConnection`] is for a program that does nothing else: a connection and one such channel, opened and
//! closed together. It does not come back by itself: the sender has to know that it was gone before it resends.

use std::{
    future::poll_fn,
    io,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use lapin::{
    Channel, Connection, ConnectionProperties, ErrorKind, ExchangeKind, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions},
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
    runtime::default_runtime,
    tcp::AMQPUriTcpExt,
    types::FieldTable,
    uri::AMQPScheme,
};

use super::{AmqpUrl, ShortStringError, connect_reason, connection_properties, message, names, short_string};
use events::Event;

/// Why an event is not known to be stored.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The event cannot be written as an AMQP message.
    #[error("the event does not fit an AMQP message: {0}")]
    Unwritable(#[from] ShortStringError),
    /// The broker closed the channel over this event, for example because it is larger than the broker allows, or
    /// because the user may not publish to its topic.
    #[error("the broker refused the event: {0}")]
    Refused(lapin::Error),
    /// The broker took the event but at least one queue did not (a full queue with `reject-publish`).
    #[error("a queue did not take the event; it is full and its policy says reject-publish")]
    Rejected,
    /// The connection went before the confirm came: the event may or may not be stored.
    #[error("the connection to the broker was lost before it confirmed: {0}")]
    Lost(lapin::Error),
}

impl PublishError {
    /// Tells whether sending the same event again can help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unwritable(_) | Self::Refused(_) => false,
            Self::Rejected | Self::Lost(_) => true,
        }
    }
}

impl From<lapin::Error> for PublishError {
    fn from(error: lapin::Error) -> Self {
        // What a message's own fault closes a channel with, its topic included, to which the user may not publish;
        // everything else is the connection's or the operator's.
        let own_fault =
            [AMQPSoftError::PRECONDITIONFAILED, AMQPSoftError::CONTENTTOOLARGE, AMQPSoftError::ACCESSREFUSED];
        let own_fault = own_fault.into_iter().any(|kind| is_soft(&error, kind));
        if own_fault { Self::Refused(error) } else { Self::Lost(error) }
    }
}

/// Declares [`names::EXCHANGE`].
pub async fn declare_exchange(channel: &Channel) -> Result<(), lapin::Error> {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(names::EXCHANGE.into(), ExchangeKind::Topic, durable, FieldTable::default()).await
}

/// Makes sure that [`names::EXCHANGE`] exists, and returns a channel that is open.
///
/// The first question is passive, which needs no permission: a user that may only publish can use an exchange that is
/// there. An active declaration needs the right to configure it, and so to delete it.
async fn find_exchange(connection: &Connection) -> Result<Channel, ConnectError> {
    let channel = connection.create_channel().await?;
    let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let name = names::EXCHANGE.into();
    match channel.exchange_declare(name, ExchangeKind::Topic, passive, FieldTable::default()).await {
        Ok(()) => return Ok(channel),
        // The channel is closed with that.
        Err(error) if is_soft(&error, AMQPSoftError::NOTFOUND) => {}
        Err(error) => return Err(error.into()),
    }
    let channel = connection.create_channel().await?;
    match declare_exchange(&channel).await {
        Ok(()) => Ok(channel),
        Err(error) if is_soft(&error, AMQPSoftError::ACCESSREFUSED) => Err(ConnectError::NoExchange(error)),
        Err(error) => Err(error.into()),
    }
}

/// A channel in confirm mode on which events are published to [`names::EXCHANGE`]. Cloning shares it.
#[derive(Debug, Clone)]
pub struct ConfirmChannel {
    channel: Channel,
    /// Held while an event gets its number and its place in the library's queue. The library does these one after the
    /// other: two tasks at once could swap them, and each would get the confirm of the other's event.
    turn: Arc<Mutex<()>>,
}

impl ConfirmChannel {
    /// Opens the channel and declares the exchange if it is missing, so that a publisher may start before any gateway.
    pub async fn open(connection: &Connection) -> Result<Self, ConnectError> {
        Ok(Self::reopen(find_exchange(connection).await?).await?)
    }

    /// Declares the exchange on a channel that was opened for nothing else.
    pub async fn prepare(channel: Channel) -> Result<Self, lapin::Error> {
        declare_exchange(&channel).await?;
        Self::reopen(channel).await
    }

    /// As [`Self::prepare`], where the exchange is known to exist.
    pub async fn reopen(channel: Channel) -> Result<Self, lapin::Error> {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { channel, turn: Arc::default() })
    }

    /// Tells whether the channel can still be used.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.channel.status().connected()
    }

    /// Writes an event to the broker; events are stored in the order in which these calls are first polled.
    ///
    /// Waits as long as the broker does not read, which it does not while it is out of memory or disk.
    pub async fn publish(&self, event: &Event) -> Result<Confirmation, PublishError> {
        let topic = short_string(event.topic.as_str())?;
        let properties = message::properties(event)?;
        let options = BasicPublishOptions::default();
        let exchange = names::EXCHANGE.into();
        let mut writing = pin!(self.channel.basic_publish(exchange, topic, options, &event.payload, properties));
        let begun = poll_fn(|cx| {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            Poll::Ready(writing.as_mut().poll(cx))
        });
        let confirm = match begun.await {
            Poll::Ready(confirm) => confirm?,
            Poll::Pending => writing.await?,
        };
        Ok(Confirmation(confirm))
    }
}

/// The broker's word on one published event, to be awaited with [`Confirmation::stored`].
#[derive(Debug)]
#[must_use = "an event is not known to be stored before this was awaited"]
pub struct Confirmation(PublisherConfirm);

impl Confirmation {
    /// Waits until the broker has stored the event. No queue bound to its topic is no error.
    pub async fn stored(self) -> Result<(), PublishError> {
        match self.0.await? {
            lapin::Confirmation::Ack(_) | lapin::Confirmation::NotRequested => Ok(()),
            lapin::Confirmation::Nack(_) => Err(PublishError::Rejected),
        }
    }
}

/// Why a [`PublishingConnection`] could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The broker answered, and said no: user, password, virtual host or permissions.
    #[error("the broker refused ({0}); check user, password, virtual host and permissions")]
    Refused(lapin::Error),
    /// There is no exchange yet, and this user may not declare one. A gateway does.
    #[error("there is no exchange yet, and this user may not declare it: start a gateway first ({0})")]
    NoExchange(lapin::Error),
    /// TLS cannot be spoken with it: the broker is not trusted, or wants another certificate.
    #[error("{}", connect_reason(.0))]
    Untrusted(lapin::Error),
    /// No answer came, or not to the end.
    #[error("{0}")]
    Unreachable(lapin::Error),
}

impl ConnectError {
    /// Tells whether the same attempt may succeed later without a change by an operator.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Untrusted(_) => false,
            Self::NoExchange(_) | Self::Unreachable(_) => true,
        }
    }
}

impl From<lapin::Error> for ConnectError {
    fn from(error: lapin::Error) -> Self {
        // AMQP 0-9-1, section 1.1: the reply codes that speak of rights and arguments, not of the broker's health.
        let said_no = matches!(error.kind(), ErrorKind::ProtocolError(e) if matches!(
            e.kind(),
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
                | AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED | AMQPSoftError::PRECONDITIONFAILED)
        ));
        let is_untrusted =
            matches!(error.kind(), ErrorKind::IOError(reason) if reason.kind() == io::ErrorKind::InvalidData);
        match (said_no, is_untrusted) {
            (true, _) => Self::Refused(error),
            (_, true) => Self::Untrusted(error),
            _ => Self::Unreachable(error),
        }
    }
}

fn is_soft(error: &lapin::Error, kind: AMQPSoftError) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(reply) if *reply.kind() == AMQPErrorKind::Soft(kind))
}

/// Opens a connection, over TLS if the URL says so.
async fn connect(url: &AmqpUrl, properties: ConnectionProperties) -> lapin::Result<Connection> {
    let Some(tls) = url.tls().cloned() else { return Connection::connect(url.secret(), properties).await };
    // The library's own TLS would trust the authorities of this system as well, and knows no certificates but those.
    let mut plain = url.uri().clone();
    plain.scheme = AMQPScheme::AMQP;
    let host = url.host().to_owned();
    Connection::connector(
        plain,
        default_runtime()?,
        async move |uri, runtime| {
            let stream = uri.connect_async(&runtime).await?;
            Ok(tls.connect(stream, &host).await?)
        },
        properties,
    )
    .await
}

/// A connection of its own with one [`ConfirmChannel`] on it.
#[derive(Debug)]
pub struct PublishingConnection {
    connection: Connection,
    channel: ConfirmChannel,
}

impl PublishingConnection {
    /// Connects under a name that the broker's operator sees. Tries once; dropping the future abandons the attempt.
    pub async fn open(url: &AmqpUrl, name: &str) -> Result<Self, ConnectError> {
        let connection = connect(url, connection_properties(name)).await?;
        let channel = ConfirmChannel::open(&connection).await?;
        Ok(Self { connection, channel })
    }

    /// Returns the channel to publish on.
    #[must_use]
    pub const fn channel(&self) -> &ConfirmChannel {
        &self.channel
    }

    /// Tells whether the broker has stopped reading from publishers because it is out of memory or disk.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Tells whether the connection is there.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Says goodbye to the broker. What is unconfirmed stays unknown; a connection that is gone already is no error.
    pub async fn close(&self) {
        // 200: "reply-success" (AMQP 0-9-1, section 1.1).
        let _ = self.connection.close(200, "done".into()).await;
    }
}
