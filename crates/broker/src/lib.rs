//! What the gateway needs of a broker, and what it may rely on.
//!
//! A [`Broker`] keeps mailboxes; a [`Lease`] is the exclusive right to read one. The contract, for every broker:
//!
//! * **Order.** A Lease hands over a mailbox's messages in the order in which they were stored. What comes back by a
//!   release, a lost connection or a restart stands in its old place: all of it, flagged `redelivered`, comes before
//!   the first message that was never handed over.
//! * **Durability.** A message leaves its mailbox only by [`Lease::confirm`]. After [`Broker::publish`] returned `Ok`,
//!   the event is in the durable store of every mailbox that was bound when it was called.
//! * **Exclusiveness.** At most one Lease of a mailbox is open. A second one is [`OpenError::Held`].
//! * **Tags** of one Lease grow strictly; they mean nothing to another Lease.
//! * **A mailbox that had to be created** has a [`Content::Created`] as its first message, before any event, so that
//!   its reader can be told that an older mailbox is gone. It may be left out where the mailbox was created for a Lease
//!   of a client that has not [`seen`](LeaseRequest::seen_before) anything: there is nothing to tell. One Lease hands
//!   over no second one, also where two gateways created the mailbox at once.
//! * **What a mailbox has lost** without its client's doing has a [`Content::Lost`] in its place.
//!
//! Several gateways on one broker hand mailboxes over to each other: [`handover`].
//!
//! The log of all events, which Feeds are read from, has a contract of its own: [`log`]. What every broker limits, and
//! for how long it keeps a mailbox, is in [`limits`] and [`expiry`]; how it fails, in [`BrokerError`]. [`Seldom`] keeps
//! it from logging one trouble at any rate.
//!
//! Brokers know nothing of HTTP, polls or windows.

mod error;
pub mod expiry;
pub mod handover;
pub mod limits;
pub mod log;
mod remembered;
mod seldom;

use std::sync::Arc;

use events::{ClientId, Event, EventId, TopicPattern};

pub use self::{
    error::{BrokerError, LeaseEnded, OpenError},
    remembered::Remembered,
    seldom::Seldom,
};
use self::{
    handover::{Claim, Holder, Instance},
    log::EventLog,
};

/// A message that was handed over under a Lease and is not confirmed yet.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its place in this Lease.
    pub tag: u64,
    /// The broker says that it was handed over before, to any reader.
    pub redelivered: bool,
    /// What it holds.
    pub content: Content,
}

/// What a message in a mailbox can be.
#[derive(Debug, Clone)]
pub enum Content {
    /// An event of a publisher.
    Event(Event),
    /// The first message of a mailbox that had to be created. It has an id, so that it can be confirmed like an event.
    /// It concerns a client that saw something of an older mailbox.
    Created(EventId),
    /// Events that were in the mailbox are gone, unseen. It concerns every client, and can be confirmed like an event.
    Lost(EventId),
}

/// What is asked of [`Broker::open`].
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    /// Whose mailbox.
    pub client: ClientId,
    /// What the mailbox is bound to from now on, besides what it is bound to already. Empty: a mailbox must exist.
    pub topics: Vec<TopicPattern>,
    /// The client has seen something: if its mailbox has to be created, it gets a marker, for the older one is gone.
    pub seen_before: bool,
    /// The event that the client saw last, if it is known, for an operator's eyes.
    pub last_seen: Option<EventId>,
    /// How many messages may be handed over and unconfirmed at once.
    pub window: u16,
    /// Why another gateway should give the mailbox up.
    pub claim: Claim,
}

/// What is known of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxStatus {
    /// Messages that wait in the broker, not handed over.
    pub queued: u32,
    /// Whether its Lease is held, through this gateway or another.
    pub leased: bool,
}

/// Keeps mailboxes. Every method may be called at any time, also without a connection.
pub trait Broker: Send + Sync + 'static {
    /// The right to read one mailbox.
    type Lease: Lease;

    /// The log of every event.
    type Log: EventLog;

    /// Returns the log.
    fn log(&self) -> Arc<Self::Log>;

    /// Returns the name of this process among all that use the same broker.
    fn instance(&self) -> Instance;

    /// Answers other gateways that want what is read here, until the call is dropped. A broker that serves one process
    /// alone has nothing to do.
    fn answer_others(&self, _holder: Arc<dyn Holder>) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Opens the Lease of a mailbox; creates and binds the mailbox as far as needed.
    ///
    /// Asks a holder to let go, and waits up to [`MAX_HOLDER_WAIT`](limits::MAX_HOLDER_WAIT) for it. When more are asked
    /// for than the broker opens, a call waits for its turn for as long as it is not dropped. A dropped call keeps no
    /// Lease; one that was on its way is free again a moment later.
    fn open(&self, request: LeaseRequest) -> impl Future<Output = Result<Self::Lease, OpenError>> + Send;

    /// Says at once, as far as this process knows, whether a mailbox has room for these topics: a stream cannot say it
    /// later.
    fn has_room_for(&self, _client: &ClientId, _topics: &[TopicPattern]) -> Result<(), BrokerError> {
        Ok(())
    }

    /// Binds a mailbox to more topics; creates it if there is none.
    fn bind(&self, client: &ClientId, topics: &[TopicPattern]) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Takes one binding from a mailbox; no mailbox or no such binding is no error.
    fn unbind(&self, client: &ClientId, topic: &TopicPattern) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Returns when the gateway that reads a mailbox has taken note that the mailbox was unbound from a pattern, unless
    /// none reads it. Fails if that gateway cannot be told: it would not bind the pattern again for a client that names it.
    fn tell_unbound(
        &self,
        _client: &ClientId,
        _topic: &TopicPattern,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Drops a mailbox with all that is in it and ends its Lease; no mailbox is no error.
    fn delete(&self, client: &ClientId) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Tells what is known of a mailbox; `None` if there is none.
    fn mailbox(&self, client: &ClientId) -> impl Future<Output = Result<Option<MailboxStatus>, BrokerError>> + Send;

    /// Stores an event in every mailbox bound to its topic; none is no error.
    ///
    /// A broker that knows that it has stored an event of this id and topic a short time ago leaves it at that.
    ///
    /// On any error but [`BrokerError::Refused`], [`BrokerError::NotConnected`] and [`BrokerError::Reconnecting`] it may
    /// be stored all the same; after [`BrokerError::Rejected`] it is, in every mailbox that had room.
    fn publish(&self, event: &Event) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Stores events as [`Self::publish`] does, in their order, and waits for all of them at once. Returns what became of
    /// each.
    ///
    /// A broker with a store of its own stores all of them or none: no reader and no restart finds a part of them.
    fn publish_all(&self, events: &[Event]) -> impl Future<Output = Vec<Result<(), BrokerError>>> + Send;

    /// Tells whether the broker can be used now.
    fn is_ready(&self) -> bool;

    /// Waits until a part of the broker has ended without which it does not work again in this process, and says which
    /// part. A broker that restarts its parts never returns. Cancel-safe.
    fn failed(&self) -> impl Future<Output = &'static str> + Send {
        std::future::pending()
    }

    /// Ends in order, after every Lease was released; nothing may be called any more.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// The exclusive right to read one mailbox. Dropping it gives everything back, but without waiting for that.
pub trait Lease: Send + 'static {
    /// Returns how many messages waited when the Lease was opened; not exact under concurrent publishes, nor beyond the
    /// window.
    fn backlog(&self) -> u32;

    /// Returns how many messages may be unconfirmed at once; never more than was asked for.
    fn window(&self) -> u16;

    /// Tells whether the holder that has let go for this Lease has confirmed what the token of the
    /// [`Claim`] stands for. Then nothing that is handed over now is what the client saw, however alike it is.
    fn is_seen_confirmed(&self) -> bool {
        false
    }

    /// Waits for the next message. Cancel-safe. After an error it must not be called again.
    fn next(&mut self) -> impl Future<Output = Result<Delivery, LeaseEnded>> + Send;

    /// Returns whether the mailbox is drained: [`Self::next`] has returned every message that was stored before this
    /// call, or returns it without waiting. Also returns `false` if the broker does not say so in time. Cancel-safe.
    /// After an error only [`Self::release`] may be called.
    fn is_drained(&mut self) -> impl Future<Output = Result<bool, LeaseEnded>> + Send;

    /// Makes sure that the mailbox was not given to another Lease while this process stood still, frozen or asleep, and
    /// has not noticed yet. What was handed over before such a pause may be read and confirmed elsewhere by now. Costs
    /// nothing as long as there was none. After an error only [`Self::release`] may be called.
    fn ensure_held(&mut self) -> impl Future<Output = Result<(), LeaseEnded>> + Send {
        std::future::ready(Ok(()))
    }

    /// Confirms everything up to and including `tag`, for good. Not cancel-safe.
    fn confirm(&mut self, tag: u64) -> impl Future<Output = Result<(), LeaseEnded>> + Send;

    /// Puts everything unconfirmed back in its old place and ends the Lease.
    ///
    /// When it returns, another Lease of the mailbox can be opened. Takes at most
    /// [`CALL_TIMEOUT`](limits::CALL_TIMEOUT).
    ///
    /// Returns whether the broker has surely taken every confirm of this Lease: one that was on its way when a connection
    /// broke may be lost, and then what it named is handed over again.
    fn release(self) -> impl Future<Output = bool> + Send;
}
