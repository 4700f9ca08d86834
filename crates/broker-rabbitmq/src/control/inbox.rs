//! The queue in which a gateway gets what others tell it.
//!
//! It is on the administrative connection: the one that publishes is stopped while the broker is short of memory or
//! disk. Its name has a random part, so that a gateway that reconnects never meets the queue of its last connection.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use amqp::names;
use broker::{
    BrokerError, Seldom,
    handover::{Holder, Instance, Noting, Reply, Wanted},
};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use lapin::{
    Channel, Consumer, ExchangeKind,
    options::{BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::{
    ALL, Control, EXPIRATION,
    message::{Answer, Message, Number, Request, Said, Written},
};
use crate::{call::in_time, connections::OwnChannel};

/// How many messages wait in the inbox; of more, the oldest are dropped.
const MAX_WAITING: i32 = 10_000;

/// How many questions of other gateways are considered at once; more are not answered.
const MAX_CONSIDERED: usize = 10_000;

/// The pause before the inbox is opened again. Without it, readers that move wait longer, and nothing else is wrong.
const PAUSE: Duration = Duration::from_millis(500);

/// The same where the broker has said no: each refusal takes the number of a channel for good.
const PAUSE_OF_REFUSED: Duration = Duration::from_mins(1);

/// How often the inbox is bound.
const BIND_AGAIN: Duration = Duration::from_secs(5);

/// Why an inbox is not read any more.
enum Ended {
    /// Its channel or its queue is gone.
    Lost,
    /// The broker has refused a message: the exchange is gone, or may not be written to.
    InDoubt,
}

/// A question of another gateway, until it is answered.
type Considered<'a> = BoxFuture<'a, ()>;

impl Control {
    /// Answers other gateways, as long as it is polled.
    pub(crate) async fn answer(&self, holder: Arc<dyn Holder>) {
        let mut last_doubt: Option<Instant> = None;
        loop {
            let pause = match self.open().await {
                Ok((channel, queue, inbox)) => {
                    self.is_open.store(true, Ordering::Relaxed);
                    let ended = tokio::select! {
                        ended = self.read(inbox, &*holder) => ended,
                        ended = self.keep_bound(&channel, &queue) => ended,
                    };
                    self.is_open.store(false, Ordering::Relaxed);
                    let now = Instant::now();
                    match ended {
                        Ended::InDoubt if last_doubt.replace(now).is_some_and(|last| now < last + PAUSE_OF_REFUSED) => {
                            tell_refused(&"messages to it are refused");
                            PAUSE_OF_REFUSED
                        }
                        Ended::InDoubt | Ended::Lost => PAUSE,
                    }
                }
                Err(error @ BrokerError::Refused { .. }) => {
                    tell_refused(&error);
                    PAUSE_OF_REFUSED
                }
                Err(error) => {
                    debug!(%error, "the inbox for other gateways could not be opened");
                    PAUSE
                }
            };
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        }
    }

    /// Declares the inbox and begins to read it. It goes with the channel.
    async fn open(&self) -> Result<(OwnChannel, ShortString, Consumer), BrokerError> {
        let place = self.connections.administering().await?;
        in_time("open the inbox of this gateway", async {
            let channel = place.open().await?;
            let queue = declare_queue(&channel, self.instance).await?;
            self.bind(&channel, &queue).await?;
            let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..BasicConsumeOptions::default() };
            let consuming =
                channel.basic_consume(queue.clone(), ShortString::default(), options, FieldTable::default());
            let inbox = consuming.await?;
            Ok((channel, queue, inbox))
        })
        .await
    }

    async fn bind(&self, channel: &Channel, queue: &ShortString) -> Result<(), lapin::Error> {
        declare_exchange(channel).await?;
        for key in [self.instance.to_string().as_str(), ALL] {
            let (exchange, options) = (names::CONTROL_EXCHANGE.into(), QueueBindOptions::default());
            channel.queue_bind(queue.clone(), exchange, key.into(), options, FieldTable::default()).await?;
        }
        Ok(())
    }

    /// Binds the inbox again and again. Where the exchange is deleted, only the gateway that sends next notices: the others
    /// would hear nothing any more.
    async fn keep_bound(&self, channel: &Channel, queue: &ShortString) -> Ended {
        loop {
            sleep(BIND_AGAIN).await;
            if let Err(error) = self.bind(channel, queue).await {
                debug!(%error, "the inbox for other gateways could not be bound again");
                return Ended::Lost;
            }
        }
    }

    /// Reads the inbox until it ends.
    async fn read(&self, mut inbox: Consumer, holder: &dyn Holder) -> Ended {
        let mut considered = FuturesUnordered::<Considered<'_>>::new();
        loop {
            tokio::select! {
                message = inbox.next() => {
                    let Some(Ok(message)) = message else { return Ended::Lost };
                    let is_for_all = message.routing_key.as_str() == ALL;
                    let Some(message) = Message::decode(&message.data) else { continue };
                    if considered.len() < MAX_CONSIDERED {
                        considered.extend(self.consider(message, is_for_all, holder));
                    }
                }
                () = self.doubt.notified() => return Ended::InDoubt,
                Some(()) = considered.next() => {}
            }
        }
    }

    /// Takes note of a message; if it is a question, the answer is still to be given.
    fn consider(&self, message: Message, is_for_all: bool, holder: &dyn Holder) -> Option<Considered<'_>> {
        match message {
            Message::Release(request) => return self.hand_over(&request, None, is_for_all, holder),
            Message::Take { request, lease } => return self.hand_over(&request, Some(lease.0), is_for_all, holder),
            Message::Released { answer, confirmed } => self.answered(answer, Said::Released { confirmed }),
            Message::NotHeld { answer, to } => self.answered(answer, Said::NotHeld(to.map(|named| named.0))),
            Message::Newer(answer) => self.answered(answer, Said::Newer),
            Message::Offer { answer, lease } => self.answered(answer, Said::Offered(lease)),
            Message::Noted(answer) => self.answered(answer, Said::Noted),
            Message::Unbound { from, client, topic, req } if from != self.instance => {
                return self.note_unbound(from, req, holder.unbound(&client, &topic)?);
            }
            Message::Away { from, node, clients } if from != self.instance => {
                self.out_of_reach.heard(clients.0, &node);
            }
            Message::Told { from, clients } if from != self.instance => self.out_of_reach.told_elsewhere(clients.0),
            // It comes from here.
            Message::Unbound { .. } | Message::Away { .. } | Message::Told { .. } => {}
        }
        None
    }

    /// Says that it is noted where the mailbox is read here. Gateways of an older version do not ask.
    fn note_unbound(&self, to: Instance, req: Option<Written<Number>>, noting: Noting) -> Option<Considered<'_>> {
        let answer = Answer { req: req?.0, from: self.instance };
        Some(Box::pin(async move {
            if noting.await {
                self.tell(to, &Message::Noted(answer)).await;
            }
        }))
    }

    fn hand_over(
        &self,
        request: &Request,
        offered: Option<u64>,
        is_for_all: bool,
        holder: &dyn Holder,
    ) -> Option<Considered<'_>> {
        if request.from == self.instance {
            return None;
        }
        let wanted = Wanted { client: request.client.clone(), claim: request.claim(), offered };
        let replying = holder.hand_over(wanted);
        // Of all gateways at most one has something to say.
        if replying.is_none() && is_for_all {
            return None;
        }
        let (to, answer) = (request.from, Answer { req: request.req, from: self.instance });
        let client = request.client.clone();
        Some(Box::pin(async move {
            let message = match replying {
                None => Message::NotHeld { answer, to: self.successor(&client).map(Written) },
                Some(replying) => {
                    let Some(reply) = replying.await else { return };
                    if let Reply::Released { .. } = reply {
                        self.successors().insert(client, to);
                    }
                    Message::reply(answer, reply)
                }
            };
            self.tell(to, &message).await;
        }))
    }
}

fn tell_refused(error: &dyn fmt::Display) {
    static REFUSED: Seldom = Seldom::a_minute();
    if REFUSED.due().is_some() {
        warn!(
            %error,
            "this user may not use postern.control, so gateways do not hand mailboxes over to each other, and clients \
             that move between them wait; see the users of docs/src/amqp.md"
        );
    }
}

async fn declare_exchange(channel: &Channel) -> Result<(), lapin::Error> {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let (name, arguments) = (names::CONTROL_EXCHANGE.into(), FieldTable::default());
    channel.exchange_declare(name, ExchangeKind::Direct, durable, arguments).await
}

async fn declare_queue(channel: &Channel, instance: Instance) -> Result<ShortString, lapin::Error> {
    let name: ShortString = format!("{}.{instance}.{:08x}", names::CONTROL_EXCHANGE, rand::random::<u32>()).into();
    let expiration = i32::try_from(EXPIRATION.as_millis()).unwrap_or(i32::MAX);
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
    arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(expiration));
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(MAX_WAITING));
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.clone(), options, arguments).await?;
    Ok(name)
}
