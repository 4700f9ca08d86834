//! What a run is to do, without the names of flags.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use amqp::AmqpUrls;

use crate::{
    crowd::behaviour::Behaviour,
    publishers::pace::Pace,
    require::Requirement,
    streams::Streams,
    target::{Names, Target},
};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Which server, and how it is asked.
    pub(crate) target: Target,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where events are published, if not by AMQP.
    pub(crate) publish_address: SocketAddr,
    /// The broker to which publishers send, in place of the server.
    pub(crate) amqp: Option<AmqpUrls>,
    /// How clients and topics are named.
    pub(crate) names: Names,
    /// Which streams there are.
    pub(crate) streams: Streams,
    /// Which run this is.
    pub(crate) run: u32,
    /// How many clients there are, step by step.
    pub(crate) clients: Vec<u32>,
    /// How many there may be at most, while a limit is looked for.
    pub(crate) max_clients: u32,
    /// How clients behave.
    pub(crate) behaviour: Behaviour,
    /// How fast events are published.
    pub(crate) pace: Pace,
    /// For how long, in each step.
    pub(crate) duration: Option<Duration>,
    /// How many events, in each step.
    pub(crate) events: Option<u64>,
    /// Only the first so many topics get events.
    pub(crate) among: u32,
    /// How long a payload is at least, in bytes.
    pub(crate) size: usize,
    /// How long to wait at the end for what is missing.
    pub(crate) drain: Duration,
    /// How long to listen at the end for what must not come.
    pub(crate) listen: Duration,
    /// How long to wait for clients that do not get in.
    pub(crate) patience: Duration,
    /// The processes to look at.
    pub(crate) watched: Vec<u32>,
    /// What must hold.
    pub(crate) requirements: Vec<Requirement>,
    /// What is to be found: the number up to which the requirements hold.
    pub(crate) limit_of: Option<LimitOf>,
    /// Where the report goes besides standard output.
    pub(crate) json: Option<PathBuf>,
    /// The same, as a page.
    pub(crate) html: Option<PathBuf>,
    /// How many processes share the clients, this one included if it is one.
    pub(crate) workers: u32,
    /// This process is one of them.
    pub(crate) worker: Option<u32>,
    /// Another program follows the run on standard output and starts the publishing.
    pub(crate) is_followed: bool,
    /// Say nothing while the run goes on.
    pub(crate) is_quiet: bool,
    /// How it was asked for, for the report.
    pub(crate) command: String,
}

/// What grows until a requirement fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LimitOf {
    /// The number of clients.
    Clients,
    /// Events a second.
    Rate,
}
