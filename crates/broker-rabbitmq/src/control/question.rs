//! Asking the holder of a mailbox for it.
//!
//! The question goes to the gateway that made the client's token. If there is no answer soon, because that gateway is
//! gone, or is not the holder, it goes to all. Another gateway may be faster when the mailbox becomes free; then all are
//! asked again, a few times at most. An answer only tells when to look again: the mailbox is looked at now and then
//! without any.

use std::time::Duration;

use broker::{
    LeaseRequest,
    handover::{Instance, Reply},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Control,
    message::{Message, Number, Request},
};

/// How long the gateway that made the token is waited for, before all are asked. A release takes a few milliseconds, and a
/// Lease is kept for 50 ms.
const DIRECT_WAIT: Duration = Duration::from_millis(100);

/// The pause before all are asked after too many questions were.
const TOO_MANY_PAUSE: Duration = Duration::from_millis(200);

/// How often all are asked for one poll at most.
const MAX_ROUNDS: u32 = 4;

/// What has come of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The mailbox may be free.
    Look,
    /// The client has a newer poll elsewhere.
    Newer,
}

/// A question whose answers are waited for, until it is dropped.
pub(crate) struct Question<'a> {
    control: &'a Control,
    request: Request,
    /// Who is asked first, and has not been.
    direct: Option<Instance>,
    /// When all are asked, unless they have been.
    broadcast: Option<Instant>,
    /// How often they have been.
    rounds: u32,
    replies: mpsc::UnboundedReceiver<(Instance, Reply)>,
}

impl Control {
    /// Gets ready to ask for a mailbox.
    pub(crate) fn question(&self, lease: &LeaseRequest) -> Question<'_> {
        let request = Request {
            req: Number(rand::random()),
            from: self.instance,
            client: lease.client.clone(),
            last_seen: lease.claim.last_seen.clone(),
            poll: lease.claim.poll.clone(),
        };
        let (sender, replies) = mpsc::unbounded_channel();
        self.questions().insert(request.req, sender);
        // This gateway knows that it holds nothing.
        let direct = lease.claim.holder.filter(|holder| *holder != self.instance);
        let wait = if direct.is_some() { DIRECT_WAIT } else { Duration::ZERO };
        Question { control: self, request, direct, broadcast: Some(Instant::now() + wait), rounds: 0, replies }
    }
}

impl Question<'_> {
    /// Asks, unless that was done, and waits for an answer, but not longer than this.
    pub(crate) async fn wait(&mut self, time: Duration) -> Heard {
        let until = Instant::now() + time;
        if let Some(holder) = self.direct.take() {
            self.control.tell(holder, &Message::Release(self.request.clone())).await;
        }
        loop {
            let broadcast = self.broadcast.filter(|broadcast| *broadcast <= until);
            tokio::select! {
                biased;
                Some((from, reply)) = self.replies.recv() => match reply {
                    // If it is held after this, it is by another one.
                    Reply::Released | Reply::NotHeld => {
                        self.broadcast = (self.rounds < MAX_ROUNDS).then(Instant::now);
                        return Heard::Look;
                    }
                    Reply::Newer => return Heard::Newer,
                    Reply::Offered(lease) => {
                        let take = Message::Take { request: self.request.clone(), lease: Number(lease) };
                        self.control.tell(from, &take).await;
                    }
                },
                () = sleep_until(broadcast.unwrap_or(until)) => {
                    if broadcast.is_none() {
                        return Heard::Look;
                    }
                    if self.control.ask_all(&Message::Release(self.request.clone())).await {
                        self.broadcast = None;
                        self.rounds += 1;
                    } else {
                        self.broadcast = Some(Instant::now() + TOO_MANY_PAUSE);
                    }
                }
            }
        }
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.control.questions().remove(&self.request.req);
    }
}
