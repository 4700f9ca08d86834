//! Telling the gateway that reads a mailbox that the mailbox was unbound from a pattern.
//!
//! That gateway knows what it has bound, and binds it no second time. If it did not hear of the unbinding, a poll that
//! names the pattern would be held, and what is published meanwhile would be in no mailbox. So the unbinding is done when
//! that gateway says that it has taken note.

use std::time::Duration;

use broker::BrokerError;
use events::{ClientId, TopicPattern};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{
    ALL, Control,
    message::{Message, Number, Said, Written},
};
use crate::task;

/// How long the gateway that reads the mailbox may take.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The pause before it is told again. A message may be lost.
const TELL_AGAIN: Duration = Duration::from_millis(500);

impl Control {
    /// Tells all gateways that a mailbox was unbound from a pattern, until the one that reads it has taken note or none
    /// reads it.
    pub(crate) async fn tell_unbound(&self, client: &ClientId, topic: &TopicPattern) -> Result<(), BrokerError> {
        let number = Number(rand::random());
        let (sender, mut noted) = mpsc::unbounded_channel();
        self.questions().insert(number, sender);
        let _waiting = Waiting(self, number);
        let (from, topic) = (self.instance, topic.clone());
        let message = Message::Unbound { from, client: client.clone(), topic, req: Some(Written(number)) };
        let give_up = Instant::now() + MAX_WAIT;
        loop {
            // Not counted as a question: a client may be unbound from all of its topics at once, each by a request of its own.
            self.send(ALL, &message).await;
            let mailbox = task::look(&self.connections, client).await?;
            if mailbox.is_none_or(|mailbox| mailbox.consumer_count() == 0) {
                return Ok(());
            }
            if let Ok(Some((_, Said::Noted))) = timeout(TELL_AGAIN, noted.recv()).await {
                return Ok(());
            }
            if Instant::now() >= give_up {
                let reason = "the gateway that reads the mailbox has not said that it knows that the topic was unbound";
                return Err(BrokerError::Unavailable(reason.to_owned()));
            }
        }
    }
}

/// Answers are taken until this is dropped.
struct Waiting<'a>(&'a Control, Number);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.questions().remove(&self.1);
    }
}
