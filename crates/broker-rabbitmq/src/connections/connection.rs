//! A connection: it carries Leases, or the channels of short administrative tasks, or those that publish.

use std::{
    future::pending,
    ops::Deref,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lapin::{Channel, Connection};
use tokio::{runtime::Handle, task::JoinError, time::timeout};

use super::limits::{Limits, comfortable_leases, max_closed_by_server, max_places};
use crate::error::{ChannelLimit, channel_limit, has_no_channel, soft_error};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Publish,
    Admin,
    Lease,
    Feed,
}

impl Role {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Admin => "admin",
            Self::Lease => "consume",
            Self::Feed => "feed",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct BrokerConnection {
    connection: Connection,
    role: Role,
    limits: Arc<Limits>,
    /// Channels that are open, or about to be.
    places: AtomicUsize,
    closed_by_server: AtomicUsize,
}

impl BrokerConnection {
    pub(super) const fn new(connection: Connection, role: Role, limits: Arc<Limits>) -> Self {
        Self { connection, role, limits, places: AtomicUsize::new(0), closed_by_server: AtomicUsize::new(0) }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Tells whether the broker reads nothing from it because it is out of memory or disk.
    pub(crate) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    pub(super) fn places(&self) -> usize {
        self.places.load(Ordering::Relaxed)
    }

    /// Returns how many channels it carries at most.
    pub(crate) fn max_places(&self) -> usize {
        max_places(self.channel_max())
    }

    /// Returns with how many Leases it is time for another connection.
    pub(super) fn comfortable_leases(&self) -> usize {
        comfortable_leases(self.channel_max())
    }

    pub(super) fn channel_max(&self) -> u16 {
        self.connection.configuration().channel_max()
    }

    pub(super) fn is_full(&self) -> bool {
        self.places() >= self.max_places()
    }

    /// Tells whether it should take no more Leases; those that it has stay.
    pub(super) fn is_out_of_channels(&self) -> bool {
        self.closed_by_server.load(Ordering::Relaxed) >= max_closed_by_server(self.channel_max())
    }

    /// Tells whether a channel may stay open without use: the connection is to stay, and the broker is not known to allow
    /// few channels.
    pub(super) fn has_channels_to_spare(&self) -> bool {
        !self.is_out_of_channels() && !self.limits.are_learned()
    }

    /// Opens a channel without a place, which the library closes when it is dropped. Prefer [`ChannelSlot::open`].
    ///
    /// The number of a channel that the server closed once fails with that old error when its turn comes again: the
    /// error says nothing about now, and the next number is tried.
    pub(super) async fn channel(&self) -> Result<Channel, lapin::Error> {
        let mut tries_left = self.closed_by_server.load(Ordering::Relaxed) + 1;
        loop {
            tries_left -= 1;
            match self.connection.create_channel().await {
                Err(error) if tries_left > 0 && soft_error(&error).is_some() => {}
                Err(error) => {
                    if let Some(ChannelLimit(limit)) = channel_limit(&error) {
                        self.limits.refused(limit);
                    }
                    if has_no_channel(&error) {
                        self.wear_out();
                    }
                    return Err(error);
                }
                Ok(channel) => return Ok(channel),
            }
        }
    }

    /// Counts a channel that is closed and was not closed by us.
    pub(super) fn note_closed(&self) {
        if self.is_connected() {
            self.closed_by_server.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets it take no more Leases, and has the supervisor replace it.
    pub(super) fn wear_out(&self) {
        self.closed_by_server.fetch_max(max_closed_by_server(self.channel_max()), Ordering::Relaxed);
    }

    /// Gives the connection up, with every Lease on it: the broker takes back what is unconfirmed.
    pub(crate) async fn replace(&self) {
        self.wear_out();
        self.close().await;
    }

    /// Closes the connection; a broker that does not answer loses it by the heartbeat.
    pub(super) async fn close(&self) {
        let _ = timeout(Duration::from_secs(1), self.connection.close(200, "closing".into())).await;
    }
}

/// A place for one channel on a connection.
#[derive(Debug)]
pub(crate) struct ChannelSlot(Arc<BrokerConnection>);

impl ChannelSlot {
    /// Takes a place if the connection, and the broker's limit for all of them, have one.
    pub(super) fn take(connection: Arc<BrokerConnection>) -> Option<Self> {
        if connection.is_full() || !connection.limits.take(connection.role == Role::Lease) {
            return None;
        }
        connection.places.fetch_add(1, Ordering::Relaxed);
        Some(Self(connection))
    }

    /// Opens the channel of this place.
    pub(crate) async fn open(self) -> Result<OwnChannel, lapin::Error> {
        // On a task of its own: a cancelled call occupies the place until the broker has answered.
        let opening = tokio::spawn(async move {
            let channel = self.channel().await?;
            Ok(OwnChannel { channel, place: Some(self) })
        });
        match opening.await.map_err(JoinError::try_into_panic) {
            Ok(opened) => opened,
            Err(Ok(panic)) => resume_unwind(panic),
            // The runtime ends.
            Err(Err(_)) => pending().await,
        }
    }
}

impl Deref for ChannelSlot {
    type Target = BrokerConnection;

    fn deref(&self) -> &BrokerConnection {
        &self.0
    }
}

impl Drop for ChannelSlot {
    fn drop(&mut self) {
        self.0.places.fetch_sub(1, Ordering::Relaxed);
        self.0.limits.free(self.0.role == Role::Lease);
    }
}

/// The channel of a place.
///
/// Dropping it closes the channel in the background, and frees the place when the broker has confirmed that. The same
/// holds for a cancelled call:
///
/// * A slow broker never has more pending calls than the connection has places.
/// * No consumer outlives the call that asked for it. The library alone would keep the consumer of a cancelled
///   `basic.consume`: until the connection ended, it would hold the deliveries that it got, and an exclusive one its
///   queue.
#[derive(Debug)]
pub(crate) struct OwnChannel {
    channel: Channel,
    /// `None` once it was closed.
    place: Option<ChannelSlot>,
}

impl OwnChannel {
    /// Closes it and waits for the broker's answer. To be called once.
    pub(crate) async fn close(&mut self) -> Result<(), lapin::Error> {
        self.channel.close(200, "done".into()).await?;
        self.place = None;
        Ok(())
    }

    /// Tells whether it can be used, and is a channel of this connection.
    pub(super) fn is_open_on(&self, connection: &Arc<BrokerConnection>) -> bool {
        self.channel.status().connected() && self.place.as_ref().is_some_and(|place| Arc::ptr_eq(&place.0, connection))
    }

    /// Tells whether the broker has closed it, and not the whole connection.
    pub(crate) fn was_refused(&self) -> bool {
        !self.channel.status().connected() && self.place.as_ref().is_some_and(|connection| connection.is_connected())
    }

    /// Gives up the whole connection, with every other channel on it.
    pub(crate) async fn replace_connection(self) {
        if let Some(connection) = &self.place {
            connection.replace().await;
        }
    }
}

impl Deref for OwnChannel {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        &self.channel
    }
}

impl Drop for OwnChannel {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        if !self.channel.status().connected() {
            place.note_closed();
        } else if let Ok(runtime) = Handle::try_current() {
            let channel = self.channel.clone();
            runtime.spawn(async move {
                if channel.close(200, "done".into()).await.is_err() {
                    place.note_closed();
                }
            });
        } else {
            // The process is about to end, and its connections with it.
        }
    }
}
