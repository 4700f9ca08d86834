//! A private RabbitMQ node that a test may kill.
//!
//! Everything a node shares with others by default is its own: ports, data, cookie, node name, port mapper (epmd). So
//! nodes of tests that run at once, and a broker of the system, do not notice each other. All listen on loopback only.
//! The server is a direct child: its start script is told to replace itself by the Erlang machine, so that SIGKILL and
//! SIGTERM reach what they mean.

mod cluster;
mod epmd;
mod place;

use std::{process::ExitStatus, time::Duration};

pub use self::cluster::RabbitCluster;

use amqp::AmqpUrl;
use serde::Deserialize;
use tokio::{net::TcpStream, time::Instant};

use self::{
    epmd::Epmd,
    place::{HOW_TO_GET_IT, Place},
};
use crate::{Amqp, Finished, Log, Process, eventually, note, program, unique};

/// A node starts in 4 to 6 s on two idle cores. One that the port mapper has forgotten tells it its name again each minute.
const START: Duration = Duration::from_mins(2);
const STOP: Duration = Duration::from_secs(30);
const CLI: Duration = Duration::from_mins(2);

/// What the command line tool says of a node that it cannot ask yet.
const NOT_YET: [&str; 2] = ["requires the 'rabbit' app to be running", "unable to perform an operation on node"];

/// How long it may refuse for other reasons. In CI, whatever began with one node failed once while the node was new.
const UNSTEADY: Duration = Duration::from_mins(1);

/// Its exit status when it cannot be used like that (`EX_USAGE` of sysexits.h).
const USAGE: i32 = 64;

/// What it says when an attempt that seemed to fail has done the work.
const DONE: &str = "already exists";

/// A RabbitMQ node with its own data, killed and removed when it is dropped.
#[derive(Debug)]
pub struct RabbitNode {
    // In the order in which they end.
    server: Process,
    /// `None` where that of another node is shared.
    _epmd: Option<Epmd>,
    log: Log,
    place: Place,
    /// The default queue type of its virtual hosts, when it is not RabbitMQ's own.
    queue_type: Option<&'static str>,
}

/// One line of `rabbitmqctl list_queues`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct QueueRow {
    /// The queue.
    pub name: String,
    /// Messages that wait for a consumer.
    #[serde(rename = "messages_ready")]
    pub ready: u32,
    /// Messages that are delivered and not confirmed.
    #[serde(rename = "messages_unacknowledged")]
    pub unacknowledged: u32,
    /// Consumers.
    pub consumers: u32,
}

impl RabbitNode {
    /// Starts a node and waits until it takes connections; panics with the end of its log if it does not.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Returns the URL of a broker: the one that is there, or that of a node that is started for want of it.
    pub async fn unless_at(url: Option<&AmqpUrl>) -> (Option<Self>, String) {
        if let Some(url) = url {
            return (None, url.secret().to_owned());
        }
        note("starting a private RabbitMQ");
        let node = Self::start().await;
        let url = node.url();
        (Some(node), url)
    }

    /// Starts a node with more lines in its `rabbitmq.conf`, such as `channel_max = 16`.
    pub async fn start_with(settings: &[&str]) -> Self {
        let place = Place::new(settings);
        let epmd = Epmd::start(&place).await;
        let log = Log::default();
        let server = place.server(&log);
        let mut node = Self { server, _epmd: Some(epmd), log, place, queue_type: None };
        node.wait_started().await;
        node
    }

    /// Gives its virtual hosts, the default one and those that tests make, another default queue type.
    ///
    /// RabbitMQ 3.10 has no such line for its configuration and cannot change a virtual host that exists, so the
    /// default one, empty as yet, is made anew.
    pub(crate) async fn default_queue_type(&mut self, queue_type: &'static str) {
        self.queue_type = Some(queue_type);
        self.rabbitmqctl(&["delete_vhost", "/"]).await;
        self.add_vhost("/", self.queue_type).await;
    }

    /// Returns the port at which it takes clients.
    pub const fn port(&self) -> u16 {
        self.place.amqp_port
    }

    /// Returns the URL of its default virtual host.
    pub fn url(&self) -> String {
        self.url_of("%2f")
    }

    /// Returns the URL of one of its virtual hosts, whose name needs no escaping.
    pub fn url_of(&self, vhost: &str) -> String {
        self.url_as("guest", "guest", vhost)
    }

    /// Returns the URL of one of its virtual hosts for a user; no name needs escaping.
    pub fn url_as(&self, user: &str, password: &str, vhost: &str) -> String {
        format!("amqp://{user}:{password}@127.0.0.1:{}/{vhost}", self.place.amqp_port)
    }

    /// Makes a new virtual host and returns its URL; takes about 1 s. For tests that count all queues, or share a feed.
    pub async fn vhost(&self, prefix: &str) -> String {
        let vhost = unique(prefix);
        self.add_vhost(&vhost, self.queue_type).await;
        self.url_of(&vhost)
    }

    /// Makes a new virtual host in which a queue is of this type unless its declaration names another one.
    pub async fn vhost_of_type(&self, prefix: &str, queue_type: &str) -> String {
        let vhost = unique(prefix);
        self.add_vhost(&vhost, Some(queue_type)).await;
        self.url_of(&vhost)
    }

    async fn add_vhost(&self, vhost: &str, queue_type: Option<&str>) {
        let mut arguments = vec!["add_vhost", vhost];
        if let Some(queue_type) = queue_type {
            arguments.extend(["--default-queue-type", queue_type]);
        }
        self.rabbitmqctl(&arguments).await;
        self.rabbitmqctl(&["set_permissions", "-p", vhost, "guest", ".*", ".*", ".*"]).await;
    }

    /// Kills the node (SIGKILL): what it had not written is lost.
    pub fn kill9(&mut self) {
        self.server.kill9();
    }

    /// Stops the node in order (SIGTERM) and waits until it is gone, about 1 s.
    pub async fn stop(&mut self) -> ExitStatus {
        self.server.terminate();
        self.server.wait_exit(STOP).await
    }

    /// Starts a killed or stopped node again, on the same port and data.
    pub async fn start_again(&mut self) {
        assert!(self.server.exit_status().is_some(), "the node still runs: stop it or kill it first");
        self.server = self.place.server(&self.log);
        self.wait_started().await;
    }

    /// Stops the node in order and starts it again.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    /// Stops the node where it is: connections stay open and silent, as with a network that swallows packets.
    pub fn freeze(&self) {
        self.server.freeze();
    }

    /// Lets a frozen node go on.
    pub fn thaw(&self) {
        self.server.thaw();
    }

    /// Returns the process, to read what it uses.
    pub const fn process(&self) -> &Process {
        &self.server
    }

    /// Runs the real command line tool against this node and returns its output; panics if it fails. Takes 0.3 to 2 s.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) -> String {
        let mut first = None;
        let started = Instant::now();
        eventually(CLI, "a node that runs", async || {
            let mut command = self.place.command("rabbitmqctl");
            command.args(["--quiet", "--node", &self.place.name]).args(arguments);
            let Finished { status, stdout, stderr } = program::finish("rabbitmqctl", &mut command, CLI).await;
            if status.success() || (first.is_some() && stderr.contains(DONE)) {
                return Ok(stdout);
            }
            // A node takes connections a moment before it says that it is running.
            let is_starting = NOT_YET.iter().any(|words| stderr.contains(words));
            let may_pass = is_starting || (status.code() != Some(USAGE) && started.elapsed() < UNSTEADY);
            let told = format!("rabbitmqctl {arguments:?} failed ({status}):\n{stdout}{stderr}");
            assert!(may_pass, "{told}\nat first: {first:?}");
            first.get_or_insert_with(|| told.clone());
            Err(told)
        })
        .await
    }

    /// Lists the queues of a virtual host. Unlike a passive declare this touches no queue's expiry clock.
    pub async fn queues(&self, vhost: &str) -> Vec<QueueRow> {
        let columns = ["name", "messages_ready", "messages_unacknowledged", "consumers"];
        let arguments = [&["list_queues", "--vhost", vhost, "--formatter", "json"], &columns[..]].concat();
        let json = self.rabbitmqctl(&arguments).await;
        serde_json::from_str(&json).unwrap_or_else(|e| panic!("list_queues is not as expected ({e}):\n{json}"))
    }

    /// Returns what the node has logged.
    pub const fn log(&self) -> &Log {
        &self.log
    }

    async fn wait_started(&mut self) {
        let Self { server, log, place, .. } = self;
        let url = format!("amqp://guest:guest@127.0.0.1:{}/%2f", place.amqp_port);
        eventually(START, "RabbitMQ to take connections", async || {
            if let Some(status) = server.exit_status() {
                panic!("RabbitMQ ended while it started ({status}); {HOW_TO_GET_IT}\n{}", log.tail(30));
            }
            TcpStream::connect(("127.0.0.1", place.amqp_port)).await.map_err(|_| log.tail(5))?;
            match Amqp::try_connect(&url).await {
                // It answers, also where it has no such user.
                Err(error) if !error.to_string().contains("ACCESS_REFUSED") => return Err(error.to_string()),
                _ => {}
            }
            // Without its name there the command line tool would not find it.
            let names = epmd::names(place.epmd_port).await.map_err(|e| e.to_string())?;
            let is_known = place.name.split('@').next().is_some_and(|name| names.contains(name));
            is_known.then_some(()).ok_or_else(|| format!("epmd has no {} among these nodes:\n{names}", place.name))
        })
        .await;
    }
}
