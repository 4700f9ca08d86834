//! A connection: it carries Leases, or the channels of short administrative tasks, or those that publish.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use deadpool_lapin::Object;
use lapin::Channel;
use tokio::time::timeout;

use crate::broker::amqp::error::soft_error;

/// Leases beyond this may find no channel number: 2047 (RabbitMQ's `channel_max`) less those that are lost.
const MOST_LEASES: usize = 1400;

/// With this many numbers lost to channels that the server closed, the connection is replaced.
const MOST_CLOSED_BY_SERVER: usize = 500;

/// See the module.
#[derive(Debug)]
pub(in crate::broker::amqp) struct Link {
    /// `None` only while it is being dropped.
    connection: Option<Object>,
    leases: AtomicUsize,
    closed_by_server: AtomicUsize,
}

impl Link {
    pub(super) const fn new(connection: Object) -> Self {
        Self { connection: Some(connection), leases: AtomicUsize::new(0), closed_by_server: AtomicUsize::new(0) }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.status().connected())
    }

    /// Tells whether the broker reads nothing from it because it is out of memory or disk.
    pub(in crate::broker::amqp) fn is_blocked(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.status().blocked())
    }

    pub(super) fn leases(&self) -> usize {
        self.leases.load(Ordering::Relaxed)
    }

    pub(super) fn is_full(&self) -> bool {
        self.leases() >= MOST_LEASES
    }

    /// Tells whether it should take no more Leases; those that it has stay.
    pub(super) fn is_worn_out(&self) -> bool {
        self.closed_by_server.load(Ordering::Relaxed) >= MOST_CLOSED_BY_SERVER
    }

    /// Opens a channel.
    ///
    /// The number of a channel that the server closed once fails with that old error when its turn comes again: the
    /// error says nothing about now, and the next number is tried.
    pub(in crate::broker::amqp) async fn channel(&self) -> Result<Channel, lapin::Error> {
        let mut tries_left = self.closed_by_server.load(Ordering::Relaxed) + 1;
        loop {
            let Some(connection) = &self.connection else {
                return Err(lapin::ErrorKind::InvalidConnectionState(lapin::ConnectionState::Closed).into());
            };
            tries_left -= 1;
            match connection.create_channel().await {
                Err(error) if tries_left > 0 && soft_error(&error).is_some() => {}
                result => return result,
            }
        }
    }

    /// Counts a channel that failed, if it was the server that closed it.
    pub(in crate::broker::amqp) fn note_if_closed(&self, channel: &Channel) {
        if !channel.status().connected() {
            self.note_closed();
        }
    }

    /// Counts a channel that is closed and was not closed by us.
    pub(super) fn note_closed(&self) {
        if self.is_connected() {
            self.closed_by_server.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives the connection up, with every Lease on it: the broker takes back what is unconfirmed.
    pub(in crate::broker::amqp) async fn replace(&self) {
        self.closed_by_server.store(MOST_CLOSED_BY_SERVER, Ordering::Relaxed);
        self.close().await;
    }

    /// Closes the connection; a broker that does not answer loses it by the heartbeat.
    pub(super) async fn close(&self) {
        if let Some(connection) = &self.connection {
            let _ = timeout(Duration::from_secs(1), connection.close(200, "closing".into())).await;
        }
    }
}

impl Drop for Link {
    /// Takes the connection out of its pool if it must not be used again.
    fn drop(&mut self) {
        let worn_out = self.is_worn_out();
        if let Some(connection) = self.connection.take().filter(|_| worn_out) {
            drop(Object::take(connection));
        }
    }
}

/// A place for one Lease on a connection.
#[derive(Debug)]
pub(in crate::broker::amqp) struct Occupied(Arc<Link>);

impl Occupied {
    pub(in crate::broker::amqp) fn new(link: Arc<Link>) -> Self {
        link.leases.fetch_add(1, Ordering::Relaxed);
        Self(link)
    }
}

impl Deref for Occupied {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.0
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.leases.fetch_sub(1, Ordering::Relaxed);
    }
}
