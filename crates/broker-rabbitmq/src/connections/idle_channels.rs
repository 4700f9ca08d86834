//! Channels of short tasks that have ended well, for the next tasks.
//!
//! RabbitMQ starts five processes for a channel, and ends them with it: for a task of three requests that is half of the
//! work. Only as many channels are kept as a steady load takes up again; where the broker allows few, none is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connection::{BrokerConnection, OwnChannel};

/// How many channels wait for a task. At any load a channel that comes back is soon taken again, so more than this are
/// idle only when a burst ends.
const MAX_IDLE: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct IdleChannels(Mutex<Vec<OwnChannel>>);

impl IdleChannels {
    /// Takes out a channel of this connection.
    pub(super) fn take(&self, connection: &Arc<BrokerConnection>) -> Option<OwnChannel> {
        let mut idle = self.locked();
        loop {
            // What does not fit is of a connection that was replaced, or was closed meanwhile.
            match idle.pop()? {
                channel if channel.is_open_on(connection) => return Some(channel),
                _ => {}
            }
        }
    }

    /// Keeps a channel of this connection if another task may use it; else it is closed.
    pub(super) fn keep(&self, channel: OwnChannel, connection: &Arc<BrokerConnection>) {
        let mut idle = self.locked();
        if channel.is_open_on(connection) && connection.has_channels_to_spare() && idle.len() < MAX_IDLE {
            idle.push(channel);
        }
    }

    /// Closes all.
    pub(super) fn clear(&self) {
        self.locked().clear();
    }

    fn locked(&self) -> MutexGuard<'_, Vec<OwnChannel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
