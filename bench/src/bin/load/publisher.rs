//! The client that publishes, one event at a time.

use anyhow::ensure;
use mio::{Registry, Token};

use super::{connection::Connection, options::Options, target, watcher::Scratch};

/// See the module.
#[derive(Debug)]
pub(crate) struct Publisher {
    connection: Connection,
    path: String,
    /// The last event was answered for.
    is_done: bool,
}

impl Publisher {
    /// Connects, if it is to publish.
    pub(crate) fn open(options: &Options, registry: &Registry, token: Token) -> anyhow::Result<Option<Self>> {
        let Some(path) = options.publish.clone() else { return Ok(None) };
        let connection = Connection::open(options.address, registry, token)?;
        Ok(Some(Self { connection, path, is_done: true }))
    }

    /// Publishes an event, for one client or for all.
    pub(crate) fn publish(&mut self, client: usize, number: u32, scratch: &mut Scratch) -> anyhow::Result<()> {
        self.is_done = false;
        target::publish(&self.path.replace("{}", &client.to_string()), number, &mut scratch.request);
        self.connection.send(&scratch.request)
    }

    /// Reads what has come.
    pub(crate) fn read(&mut self, scratch: &mut Scratch) -> anyhow::Result<()> {
        if let Some(answer) = self.connection.read(&mut scratch.answer)? {
            ensure!([200, 201, 202].contains(&answer.status), "not published: {}", answer.text());
            self.is_done = true;
        }
        Ok(())
    }

    /// Tells whether the server has taken the last event.
    pub(crate) const fn is_done(&self) -> bool {
        self.is_done
    }
}
