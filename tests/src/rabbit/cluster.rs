//! Nodes that are one broker: a classic queue lives on one of them, and is away when that is.

use std::{ops::Index, time::Duration};

use futures_util::future::join_all;

use super::{RabbitNode, place::Place};
use crate::{Finished, Log, program};

/// A reset node starts its application anew.
const JOIN: Duration = Duration::from_mins(2);

/// Nodes that are one broker, by number.
#[derive(Debug)]
pub struct RabbitCluster(Vec<RabbitNode>);

impl RabbitCluster {
    /// Starts so many nodes with these lines in the `rabbitmq.conf` of each; three take about 40 s.
    pub async fn start(nodes: usize, settings: &[&str]) -> Self {
        let first = RabbitNode::start_with(settings).await;
        let mut others = join_all((1..nodes).map(|_| first.start_beside(settings))).await;
        for other in &mut others {
            other.join(&first).await;
        }
        others.insert(0, first);
        Self(others)
    }

    /// Kills a node (SIGKILL): what it keeps is away.
    pub fn kill9(&mut self, number: usize) {
        self.0[number].kill9();
    }

    /// Starts a killed node again.
    pub async fn start_again(&mut self, number: usize) {
        self.0[number].start_again().await;
    }

    /// Tells on which node each classic queue of the default virtual host lives, by the node's number. All must run.
    pub async fn homes(&self) -> Vec<(String, usize)> {
        let rows = self[0].rabbitmqctl(&["list_queues", "--no-table-headers", "name", "pid"]).await;
        // An Erlang process names its node: `<rabbit@host.1700000000.123.0>`.
        let home = |pid: &str| self.0.iter().position(|node| pid.contains(&node.place.name));
        let row = |row: &str| row.split_once('\t').and_then(|(name, pid)| Some((name.to_owned(), home(pid)?)));
        rows.lines().filter_map(row).collect()
    }
}

impl Index<usize> for RabbitCluster {
    type Output = RabbitNode;

    fn index(&self, number: usize) -> &RabbitNode {
        &self.0[number]
    }
}

impl Drop for RabbitCluster {
    /// The first node has the port mapper of all.
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}

impl RabbitNode {
    /// Starts another node that can join this one. It must be dropped before this one.
    async fn start_beside(&self, settings: &[&str]) -> Self {
        let place = Place::beside(&self.place, settings);
        let log = Log::default();
        let server = place.server(&log);
        let mut node = Self { server, _epmd: None, log, place, queue_type: self.queue_type };
        node.wait_started().await;
        node
    }

    /// Gives up what it is and becomes a part of another node's cluster.
    async fn join(&mut self, other: &Self) {
        for step in [&["stop_app"][..], &["join_cluster", &other.place.name], &["start_app"]] {
            self.patiently(step).await;
        }
        self.wait_started().await;
    }

    /// Tells whether tests run on RabbitMQ 4 (`tests/run --rabbitmq 4`), and not on the system's.
    pub fn is_version_4() -> bool {
        super::place::programs().is_some()
    }

    /// As [`Self::rabbitmqctl`], for what takes longer.
    async fn patiently(&self, arguments: &[&str]) {
        let mut command = self.place.command("rabbitmqctl");
        command.args(["--quiet", "--node", &self.place.name]).args(arguments);
        let Finished { status, stdout, stderr } = program::finish("rabbitmqctl", &mut command, JOIN).await;
        assert!(status.success(), "rabbitmqctl {arguments:?} failed ({status}):\n{stdout}{stderr}");
    }
}
