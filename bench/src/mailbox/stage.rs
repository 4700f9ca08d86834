//! What both sides share: a broker, a gateway, and a mailbox for each client.

use std::time::Duration;

use amqp::names;
use anyhow::Context;
use events::{ClientId, Topic};
use futures_util::{StreamExt, TryStreamExt, stream};
use postern_tests::{Amqp, Gateway, RabbitNode, Request, eventually, note, unique};

use super::{options::Options, poller::Poller};

/// How many clients are set up at once.
const AT_ONCE: usize = 16;

/// How long the gateway may take to notice what its clients did.
const NOTICE: Duration = Duration::from_mins(1);

/// One reader and the topic of its events.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// Its name; its mailbox is named after it.
    pub(crate) id: ClientId,
    /// No other client's mailbox is bound to it.
    pub(crate) topic: Topic,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The gateway.
    pub(crate) gateway: Gateway,
    /// The broker, if it is a private one.
    pub(crate) node: Option<RabbitNode>,
    /// Where the broker is.
    pub(crate) url: String,
    /// Every client has an empty mailbox, which is not read.
    pub(crate) clients: Vec<Client>,
}

impl Stage {
    /// Starts the processes and makes the mailboxes, through the gateway, so that they are as it makes them.
    pub(crate) async fn set_up(options: &Options, clients: u32) -> anyhow::Result<Self> {
        let (node, url) = RabbitNode::unless_at(options.amqp_url.as_ref()).await;
        let room = (clients + 16).to_string();
        let gateway = Gateway::builder().amqp_url(&url).flag("--max-connections", &room).flag("--max-mailboxes", &room);
        let mut gateway = gateway.start().await;
        gateway.wait_ready().await;
        let run = unique("bench");
        note(&format!("making {clients} mailboxes"));
        let clients: Vec<Client> = (0..clients)
            .map(|index| Ok(Client { id: format!("{run}-{index}").parse()?, topic: format!("{run}.{index}").parse()? }))
            .collect::<anyhow::Result<_>>()?;
        let address = gateway.address();
        // The first poll of a client makes its mailbox.
        let made = for_each(&clients, async |_, client| Poller::open(address, client).await);
        made.await.with_context(|| format!("the gateway's log ends:\n{}", gateway.log().tail(5)))?;
        // What the gateway remembers of making them is no part of what it needs for reading them.
        gateway.restart().await;
        gateway.wait_ready().await;
        Ok(Self { gateway, node, url, clients })
    }

    /// Waits until a gauge of the gateway has this value.
    pub(crate) async fn wait_gauge(&self, name: &str, value: usize) {
        let line = format!("postern_{name} {value}");
        eventually(NOTICE, &line, async || {
            let metrics = Request::get("/metrics").send(self.gateway.address()).await.text();
            let found = metrics.lines().find(|line| line.starts_with(&format!("postern_{name} "))).map(str::to_owned);
            if found.as_ref() == Some(&line) { Ok(()) } else { Err(found) }
        })
        .await;
    }

    /// Waits until no mailbox is read.
    pub(crate) async fn wait_unread(&self) {
        self.wait_gauge("sessions", 0).await;
    }

    /// Removes the mailboxes from a broker that is not ours, then ends everything.
    pub(crate) async fn tear_down(mut self) {
        if self.node.is_none() {
            let amqp = Amqp::connect(&self.url).await;
            for client in &self.clients {
                amqp.delete_queue(names::mailbox(&client.id).as_str()).await;
            }
        }
        self.gateway.kill9();
    }
}

/// Does something for every client, for several at once, and returns the results in the order of the clients.
pub(crate) async fn for_each<T>(
    clients: &[Client],
    task: impl AsyncFn(usize, &Client) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let task = &task;
    let tasks = clients.iter().enumerate().map(|(index, client)| async move { task(index, client).await });
    stream::iter(tasks).buffered(AT_ONCE).try_collect().await.context("a client could not be set up")
}
