//! Asking the holder of a mailbox for it.
//!
//! The question goes to the gateway that made the client's token, or that was given the mailbox here. Where that one has
//! given it to another, it says so, and that one is asked. If there is no answer soon, because the gateway is gone, or
//! nothing is known, all are asked, a few times at most: a message may be lost, or another gateway be faster when the
//! mailbox becomes free. An answer only tells when to look again: the mailbox is looked at now and then without any.

use std::time::Duration;

use broker::{LeaseRequest, handover::Instance};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Control,
    message::{Message, Number, Request, Said},
};

/// How long one gateway is waited for, before all are asked. A release takes a few milliseconds, and a Lease is kept for
/// 50 ms.
const DIRECT_WAIT: Duration = Duration::from_millis(100);

/// How many gateways are asked one after the other at most: all of a round robin of so many, until each knows which is
/// next.
const MAX_DIRECT: u32 = 8;

/// How long the word of the gateway that has let go is waited for where the mailbox was found free before it came. The two
/// take different ways through the broker, and mostly arrive within a millisecond or two of each other.
const WORD_WAIT: Duration = Duration::from_millis(150);

/// The pause before all are asked again where no answer came. A holder may be waiting for its Lease to be a second old.
const ASK_AGAIN: Duration = Duration::from_millis(700);

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
    /// Who is asked next.
    direct: Option<Instance>,
    /// Who is asked where that one does not answer.
    fallback: Option<Instance>,
    /// How many gateways were asked by name.
    asked: u32,
    /// When all are asked, unless they have been often enough.
    broadcast: Option<Instant>,
    /// How often they have been.
    rounds: u32,
    is_seen_confirmed: bool,
    /// A question is on its way that has no answer yet.
    is_open: bool,
    replies: mpsc::UnboundedReceiver<(Instance, Said)>,
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
        let holder = lease.claim.holder.filter(|holder| *holder != self.instance);
        let mut successor = self.successor(&lease.client).filter(|successor| Some(*successor) != holder);
        let direct = holder.or_else(|| successor.take());
        Question {
            control: self,
            request,
            direct,
            fallback: successor,
            asked: 0,
            broadcast: Some(Instant::now()),
            rounds: 0,
            is_seen_confirmed: false,
            is_open: false,
            replies,
        }
    }
}

impl Question<'_> {
    /// Tells, of a mailbox that is free, and perhaps was held and asked for, whether the gateway that has let go has
    /// confirmed what the token of the poll stands for. Waits a moment for its word: without it, the next of equal messages
    /// would be taken for the one that was seen. A gateway that is frozen or gone does not send it.
    pub(crate) async fn is_seen_confirmed(asked: Option<&mut Self>) -> bool {
        let Some(question) = asked else { return false };
        let until = Instant::now() + WORD_WAIT;
        while question.is_open && !question.is_seen_confirmed {
            let Ok(Some((_, said))) = timeout_at(until, question.replies.recv()).await else { break };
            match said {
                Said::Released { confirmed } => (question.is_open, question.is_seen_confirmed) = (false, confirmed),
                Said::NotHeld(_) => question.is_open = false,
                Said::Newer | Said::Offered(_) | Said::Noted => {}
            }
        }
        question.is_seen_confirmed
    }

    /// Asks, unless that was done, and waits for an answer, but not longer than this.
    pub(crate) async fn wait(&mut self, time: Duration) -> Heard {
        let until = Instant::now() + time;
        loop {
            if let Some(holder) = self.direct.take() {
                self.asked += 1;
                self.is_open |= self.control.tell(holder, &Message::Release(self.request.clone())).await;
                self.broadcast_after(DIRECT_WAIT);
            }
            let broadcast = self.broadcast.filter(|broadcast| *broadcast <= until);
            tokio::select! {
                biased;
                Some((from, said)) = self.replies.recv() => match said {
                    Said::Newer => return Heard::Newer,
                    Said::Offered(lease) => {
                        let take = Message::Take { request: self.request.clone(), lease };
                        self.control.tell(from, &take).await;
                    }
                    Said::Noted => {}
                    Said::NotHeld(Some(next)) if self.asked < MAX_DIRECT && next != self.control.instance => {
                        self.direct = Some(next);
                    }
                    Said::NotHeld(_) => {
                        self.is_open = false;
                        self.broadcast_after(Duration::ZERO);
                        return Heard::Look;
                    }
                    Said::Released { confirmed } => {
                        self.is_open = false;
                        self.is_seen_confirmed |= confirmed;
                        // If it is held after this, it is by another one.
                        self.broadcast_after(Duration::ZERO);
                        return Heard::Look;
                    }
                },
                () = sleep_until(broadcast.unwrap_or(until)) => {
                    if broadcast.is_none() {
                        return Heard::Look;
                    }
                    if let Some(next) = self.fallback.take() {
                        self.direct = Some(next);
                        continue;
                    }
                    let question = Message::Release(self.request.clone());
                    if let Some(was_sent) = self.control.ask_all(&self.request.client, &question).await {
                        self.is_open |= was_sent;
                        self.rounds += 1;
                        self.broadcast_after(ASK_AGAIN);
                    } else {
                        self.broadcast_after(TOO_MANY_PAUSE);
                    }
                }
            }
        }
    }

    fn broadcast_after(&mut self, pause: Duration) {
        self.broadcast = (self.rounds < MAX_ROUNDS).then(|| Instant::now() + pause);
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.control.questions().remove(&self.request.req);
    }
}
