//! Nodes that are one broker: a classic queue lives on one of them, and is away when that is.

use std::time::Duration;

use super::{RabbitNode, place::Place};
use crate::{Finished, Log, program};

/// A reset node starts its application anew.
const JOIN: Duration = Duration::from_mins(2);

impl RabbitNode {
    /// Starts another node and lets it join this one; takes about 20 s. It must be dropped before this one.
    pub async fn start_joined(&self) -> Self {
        let place = Place::beside(&self.place, &[]);
        let log = Log::default();
        let server = place.server(&log);
        let mut node = Self { server, _epmd: None, log, place, queue_type: self.queue_type };
        node.wait_started().await;
        for step in [&["stop_app"][..], &["join_cluster", &self.place.name], &["start_app"]] {
            node.patiently(step).await;
        }
        node.wait_started().await;
        node
    }

    /// Takes the node out of the cluster without ending its process: its queues are away.
    pub async fn leave(&self) {
        self.patiently(&["stop_app"]).await;
    }

    /// Lets the node take part again.
    pub async fn come_back(&mut self) {
        self.patiently(&["start_app"]).await;
        self.wait_started().await;
    }

    /// As [`Self::rabbitmqctl`], for what takes longer.
    async fn patiently(&self, arguments: &[&str]) {
        let mut command = self.place.command("rabbitmqctl");
        command.args(["--quiet", "--node", &self.place.name]).args(arguments);
        let Finished { status, stdout, stderr } = program::finish("rabbitmqctl", &mut command, JOIN).await;
        assert!(status.success(), "rabbitmqctl {arguments:?} failed ({status}):\n{stdout}{stderr}");
    }
}
