//! A mailbox as a stream: one poll of its Session, which goes on after what it got until there is too much to confirm.

use std::{sync::Arc, time::Duration};

use access::Principal;
use broker::Broker;
use events::ClientId;
use mailboxes::{Answered, Batch, Continuation, LastSeen, Outcome, PollRequest, Receipt};
use tokio::time::Instant;

use super::poll::count_events;
use crate::http::{
    app::App,
    batch,
    body::HttpResponse,
    connection::socket::ConnectionStatus,
    held::HeldPollGuard,
    metrics::{Answer, Transport},
    problem::Problem,
    sse::{COMMENT_EVERY, Next, Source, Text, come_back_later, streamed},
};

/// How long the client may have something without confirming it.
const CONFIRM_WITHIN: Duration = Duration::from_secs(20);

/// Streams a mailbox.
pub(crate) async fn stream<B: Broker>(
    app: &Arc<App<B>>,
    status: &Arc<ConnectionStatus>,
    client: ClientId,
    request: Box<PollRequest>,
    expires: Option<Instant>,
    principal: Option<Principal>,
) -> Result<HttpResponse, Problem> {
    app.broker.has_room_for(&client, &request.topics)?;
    if request.topics.is_empty() && app.registry.unconfirmed(&client).is_none() {
        // What else goes wrong here passes, and is told by the stream.
        if let Ok(None) = app.broker.mailbox(&client).await {
            return Err(Problem::NoMailbox);
        }
    }
    let Ok(held) = app.hold_poll(principal.as_ref()) else { return Ok(come_back_later()) };
    app.metrics.answered(Answer::Stream);
    Ok(streamed(MailboxStream {
        app: Arc::clone(app),
        status: Arc::clone(status),
        client,
        request,
        expires,
        receipt: None,
        got: None,
        _held: held,
    }))
}

/// Dropped before it has ended, it says that its client hung up.
struct MailboxStream<B: Broker> {
    app: Arc<App<B>>,
    status: Arc<ConnectionStatus>,
    client: ClientId,
    request: Box<PollRequest>,
    /// When the rights of the client end.
    expires: Option<Instant>,
    /// Names the poll, once it had its first answer.
    receipt: Option<Receipt>,
    /// The last event that was sent, and when the first was.
    got: Option<(LastSeen, Instant)>,
    _held: HeldPollGuard,
}

impl<B: Broker> Source for MailboxStream<B> {
    async fn next(&mut self) -> Next {
        if self.expires.is_some_and(|expires| expires <= Instant::now()) {
            return self.end(Text::default().expired());
        }
        let Some(outcome) = self.outcome().await else {
            return self.end(Text::default().come_back_to_confirm());
        };
        match outcome {
            Outcome::Batch(batch) => {
                let since = self.got.take().map_or_else(Instant::now, |(_, since)| since);
                self.got = Some((batch.last_seen.clone(), since));
                let room = self.app.outgoing.take(batch::max_len(&batch)).await;
                count_events(&batch, Transport::Stream, &self.app.metrics);
                Next::Chunk(room.hold(encode(&batch).into_bytes()))
            }
            Outcome::Nothing if self.confirm_by().is_none_or(|confirm_by| Instant::now() < confirm_by) => {
                Text::default().comment().into()
            }
            Outcome::Nothing | Outcome::WindowFull => self.end(Text::default().come_back_to_confirm()),
            Outcome::Replaced => self.end(Text::default().replaced()),
            Outcome::MailboxGone
            | Outcome::NoMailbox
            | Outcome::Held
            | Outcome::TooManyMailboxes
            | Outcome::Broker(_)
            | Outcome::ShuttingDown { .. } => self.end(Text::default().come_back_later()),
        }
    }
}

impl<B: Broker> MailboxStream<B> {
    /// Waits for what comes next; `None`: the Session is over.
    async fn outcome(&mut self) -> Option<Outcome> {
        let deadline = Instant::now() + COMMENT_EVERY;
        let deadline = self.expires.map_or(deadline, |expires| expires.min(deadline));
        if let Some(receipt) = &self.receipt {
            let after = self.got.as_ref().map(|(last_seen, _)| last_seen.clone());
            let deadline = self.confirm_by().map_or(deadline, |confirm_by| confirm_by.min(deadline));
            let (limit, may_see) = (self.request.limit, self.request.may_see.clone());
            return receipt.resume(Continuation { after, limit, deadline, may_see }).await;
        }
        let request = PollRequest { deadline, ..(*self.request).clone() };
        let Answered { outcome, receipt } = self.app.registry.poll(&self.client, request).await;
        self.receipt = receipt;
        Some(outcome)
    }

    fn confirm_by(&self) -> Option<Instant> {
        self.got.as_ref().map(|(_, since)| *since + CONFIRM_WITHIN)
    }

    /// Ends the answer in order; from here on its connection tells whether it arrived.
    fn end(&mut self, last: Text) -> Next {
        self.status.answering(self.receipt.take());
        Next::Last(last.into_bytes())
    }
}

impl<B: Broker> Drop for MailboxStream<B> {
    fn drop(&mut self) {
        if let Some(receipt) = &self.receipt {
            receipt.undelivered();
        }
    }
}

fn encode(batch: &Batch) -> Text {
    let mut text = Text::default();
    if batch.reset {
        text.push_reset(Some(&batch.last_seen));
    }
    for each in &batch.events {
        text.push(&each.last_seen(), &batch::encode_event(&each.event, each.redelivered));
    }
    text
}
