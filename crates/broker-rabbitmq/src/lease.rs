//! A Lease: an exclusive consumer on a channel of its own.
//!
//! Release is always the same two steps: nack with requeue, so that everything goes back to its old place; then close,
//! whose answer says that it has. The consumer is not cancelled before them. A queue without a consumer looks free to
//! another gateway, and while its oldest messages are still unacknowledged here, that gateway would be handed newer
//! ones first. What the broker hands to the consumer between the two steps, the close requeues in order once more.

use std::{pin::Pin, sync::Arc};

use amqp::{message, names, short_string};
use broker::{BrokerError, Content, Delivery, Lease, LeaseEnded, LeaseRequest, Seldom, limits::CALL_TIMEOUT};
use events::{ClientId, Event};
use futures_util::{FutureExt, StreamExt, stream::Peekable};
use lapin::{
    Channel, Consumer,
    message::Delivery as Message,
    options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{
    connections::{ChannelSlot, Connections, OwnChannel},
    error::{Failure, Refusal, has_no_channel, is_ack_timeout, refusal},
    out_of_reach::OutOfReach,
    pulse::Moment,
    queue, task,
};

/// What came of one try to open a Lease.
pub(super) enum Attempt {
    Opened(Box<AmqpLease>),
    /// The queue has another consumer.
    Held,
    /// The queue is gone again.
    Vanished,
}

/// Whether messages still come.
#[derive(Debug, Clone, Copy)]
enum Consuming {
    On,
    /// The consumer has ended without an error, and why is still to be asked.
    Over,
    Ended(LeaseEnded),
}

/// The exclusive consumer of one mailbox, on a channel of its own.
#[derive(Debug)]
pub struct AmqpLease {
    connections: Arc<Connections>,
    out_of_reach: Arc<OutOfReach>,
    client: ClientId,
    channel: OwnChannel,
    consumer: Peekable<Consumer>,
    backlog: u32,
    window: u16,
    /// The gateway that has let go for it has confirmed what the client has seen.
    is_seen_confirmed: bool,
    /// A message came under this Lease: a marker of a creation that comes later is that of another gateway at the same
    /// moment.
    has_begun: bool,
    /// A loss was told that no Lease had told before: its client has yet to see it, so a further one before the end of
    /// this Lease, of another gateway that knew of the loss, tells nothing more.
    has_told_loss: bool,
    consuming: Consuming,
    /// When it was surely held.
    held_at: Moment,
}

/// Opens the Lease of a mailbox that exists and has no consumer; so nothing here is likely to be refused. A dropped
/// call keeps nothing open.
pub(super) async fn open(
    connections: &Arc<Connections>,
    out_of_reach: &Arc<OutOfReach>,
    mut slot: ChannelSlot,
    request: &LeaseRequest,
    backlog: u32,
) -> Result<Attempt, BrokerError> {
    let failed = |error| BrokerError::from(Failure("open a lease", error));
    let mut tries_left = 3;
    let channel = loop {
        match slot.open().await {
            Ok(channel) => break channel,
            // Another connection may have one.
            Err(error) if has_no_channel(&error) && tries_left > 0 => {
                tries_left -= 1;
                slot = connections.leasing().await?;
            }
            Err(error) => return Err(failed(error)),
        }
    };
    let held_at = Moment::now();
    match consume(&channel, request).await {
        Ok(consumer) => Ok(Attempt::Opened(Box::new(AmqpLease {
            connections: Arc::clone(connections),
            out_of_reach: Arc::clone(out_of_reach),
            client: request.client.clone(),
            channel,
            consumer: consumer.peekable(),
            backlog,
            window: request.window,
            is_seen_confirmed: false,
            has_begun: false,
            has_told_loss: false,
            consuming: Consuming::On,
            held_at,
        }))),
        Err(error) => match refusal(&error) {
            Some(Refusal::InUse) => Ok(Attempt::Held),
            Some(Refusal::NoQueue) => Ok(Attempt::Vanished),
            _ => Err(failed(error)),
        },
    }
}

async fn consume(channel: &Channel, request: &LeaseRequest) -> Result<Consumer, lapin::Error> {
    let exclusive = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
    let (name, tag) = (names::mailbox(&request.client), consumer_tag(request));
    // Else, when the queue is deleted, the broker's channel consumes by itself from one that was made in its place, and
    // says nothing: the Lease would go on in a mailbox that it does not know.
    let mut arguments = FieldTable::default();
    arguments.insert(names::ENDS_WITH_QUEUE.into(), AMQPValue::Boolean(true));
    // Written at once, and taken by the broker in this order.
    let (bounded, consumer) = tokio::join!(
        biased;
        channel.basic_qos(request.window, BasicQosOptions::default()),
        channel.basic_consume(name, tag, exclusive, arguments),
    );
    bounded?;
    consumer
}

/// Shows an operator who polls and from where: `{client}@{id of the event seen last, or "start"}`.
fn consumer_tag(request: &LeaseRequest) -> ShortString {
    let from = request.last_seen.as_ref().map_or("start", |id| id.as_str());
    let tag = format!("{}@{from}", request.client);
    // 128 bytes of client, 80 of id: always short enough; the check is against a change of those limits.
    short_string(&tag).unwrap_or_default()
}

fn read(message: Message) -> Delivery {
    let control = message::control(&message);
    let is =
        |sought: &str| matches!(control, Some(AMQPValue::LongString(kind)) if kind.as_bytes() == sought.as_bytes());
    let (is_marker, is_loss) = (is(queue::MARKER), is(queue::LOST));
    let event = message::read(&message.routing_key, &message.properties, message.data);
    let content = match event {
        Event { id, .. } if is_marker => Content::Created(id),
        Event { id, .. } if is_loss => Content::Lost(id),
        event => Content::Event(event),
    };
    Delivery { tag: message.delivery_tag, redelivered: message.redelivered, content }
}

impl AmqpLease {
    /// Takes note of what the gateway has confirmed that has let go for it.
    pub(super) fn after(self, is_seen_confirmed: bool) -> Self {
        Self { is_seen_confirmed, ..self }
    }

    /// Asks why the consumer has ended: only a mailbox that does not exist was deleted.
    async fn why_over(&self) -> LeaseEnded {
        let looked = task::look(&self.connections, &self.client).await;
        match &looked {
            Ok(None) => {}
            Err(error @ BrokerError::QueueAway { .. }) => self.out_of_reach.met(&self.client, error),
            // It may be back already.
            Ok(Some(_)) | Err(_) => self.out_of_reach.suspect(&self.client),
        }
        match looked {
            Ok(None) => LeaseEnded::MailboxGone,
            Ok(Some(_)) => LeaseEnded::BrokerLost,
            Err(error) => {
                static LOST: Seldom = Seldom::a_minute();
                if let Some(left_out) = LOST.due() {
                    warn!(%error, left_out, "a lease was lost");
                }
                LeaseEnded::BrokerLost
            }
        }
    }

    async fn acknowledge(&self, tag: u64, multiple: bool) -> Result<(), LeaseEnded> {
        self.channel.basic_ack(tag, BasicAckOptions { multiple }).await.map_err(|error| {
            debug!(%error, "an acknowledgement could not be written");
            LeaseEnded::BrokerLost
        })
    }

    async fn give_back(&mut self) -> Result<(), lapin::Error> {
        self.channel.basic_nack(0, BasicNackOptions { multiple: true, requeue: true }).await?;
        self.channel.close().await
    }
}

impl Lease for AmqpLease {
    fn backlog(&self) -> u32 {
        self.backlog
    }

    fn window(&self) -> u16 {
        self.window
    }

    fn is_seen_confirmed(&self) -> bool {
        self.is_seen_confirmed
    }

    async fn next(&mut self) -> Result<Delivery, LeaseEnded> {
        // The library's stream is pending for ever once it has ended.
        if let Consuming::Ended(ended) = self.consuming {
            return Err(ended);
        }
        let ended = loop {
            let next = if matches!(self.consuming, Consuming::Over) { None } else { self.consumer.next().await };
            match next {
                Some(Ok(message)) => {
                    let delivery = read(message);
                    let is_later = std::mem::replace(&mut self.has_begun, true);
                    let is_told = match delivery.content {
                        Content::Event(_) => false,
                        Content::Created(_) => is_later,
                        Content::Lost(_) => {
                            let has_told = self.has_told_loss || !delivery.redelivered;
                            std::mem::replace(&mut self.has_told_loss, has_told)
                        }
                    };
                    if !is_told {
                        return Ok(delivery);
                    }
                    // If this call is dropped before, a later confirm takes the second marker along.
                    self.acknowledge(delivery.tag, false).await?;
                }
                // A consumer ends without an error when its queue is deleted, when the broker loses the queue's node,
                // and when its connection is closed by us. A call that is dropped here leaves the question to the next
                // one.
                None if self.channel.status().connected() => {
                    self.consuming = Consuming::Over;
                    // On the heap: a Lease that waits would be as large.
                    break Box::pin(self.why_over()).await;
                }
                None => break LeaseEnded::BrokerLost,
                Some(Err(error)) if is_ack_timeout(&error) => {
                    tell_ack_timeout(&error);
                    break LeaseEnded::BrokerLost;
                }
                Some(Err(error)) => {
                    debug!(%error, "a lease was lost");
                    break LeaseEnded::BrokerLost;
                }
            }
        };
        self.consuming = Consuming::Ended(ended);
        Err(ended)
    }

    async fn is_drained(&mut self) -> Result<bool, LeaseEnded> {
        // The look closes the channel only where the mailbox is gone or its node is away. Then this Lease has ended.
        let asking = async {
            let waiting = queue::look(&self.channel, &self.client).await?.message_count();
            // The queue may have sent messages to this channel just before it counted. The channel handles its requests
            // in order: once it has answered this one, those messages have arrived.
            self.channel.basic_qos(self.window, BasicQosOptions::default()).await?;
            Ok(waiting == 0)
        };
        match timeout(CALL_TIMEOUT, asking).await {
            // What was counted is another mailbox, if this one was deleted: then the consumer has ended by now.
            Ok(Ok(is_drained)) => {
                let has_ended = matches!(Pin::new(&mut self.consumer).peek().now_or_never(), Some(None));
                Ok(is_drained && !has_ended)
            }
            Ok(Err(error)) => {
                debug!(%error, "a lease was lost");
                let is_gone = matches!(refusal(&error), Some(Refusal::NoQueue));
                self.out_of_reach.met(&self.client, &Failure("look at a mailbox", error).into());
                Err(if is_gone { LeaseEnded::MailboxGone } else { LeaseEnded::BrokerLost })
            }
            Err(_) => Ok(false),
        }
    }

    async fn ensure_held(&mut self) -> Result<(), LeaseEnded> {
        if self.connections.pulse().has_run_since(self.held_at) {
            return Ok(());
        }
        let now = Moment::now();
        // Anything that is answered will do: the broker has not given up this channel then.
        let asked = timeout(CALL_TIMEOUT, self.channel.basic_qos(self.window, BasicQosOptions::default())).await;
        if !matches!(asked, Ok(Ok(()))) {
            debug!(client = %self.client, "a lease was lost while this process stood still");
            self.consuming = Consuming::Ended(LeaseEnded::BrokerLost);
            return Err(LeaseEnded::BrokerLost);
        }
        self.held_at = now;
        Ok(())
    }

    async fn confirm(&mut self, tag: u64) -> Result<(), LeaseEnded> {
        self.acknowledge(tag, true).await
    }

    async fn release(mut self) -> bool {
        if !self.channel.status().connected() {
            return false;
        }
        // After that time the whole connection is given up, which does the same by force.
        match timeout(CALL_TIMEOUT, self.give_back()).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => debug!(%error, "a release met a channel that was closed already"),
            Err(_) => {
                static UNANSWERED: Seldom = Seldom::a_minute();
                if let Some(left_out) = UNANSWERED.due() {
                    let waited = CALL_TIMEOUT.as_secs();
                    warn!(left_out, "a release got no answer for {waited} s; replacing its connection");
                }
                self.channel.replace_connection().await;
            }
        }
        false
    }
}

/// Says that a setting does not fit the broker's. Every client that is slow to confirm brings it about.
fn tell_ack_timeout(error: &lapin::Error) {
    static TOO_SLOW: Seldom = Seldom::a_minute();
    if let Some(left_out) = TOO_SLOW.due() {
        warn!(
            %error,
            left_out,
            "the broker gave a client less time to confirm than --confirm-deadline; nothing is lost, but set \
             --confirm-deadline below the broker's consumer_timeout"
        );
    }
}
