//! A Feed as a stream: it never has to be confirmed, and ends only with the gateway.

use std::{sync::Arc, time::Duration};

use access::Principal;
use broker::Broker;
use feeds::{Cursor, FeedBatch, FeedOutcome, Start};
use tokio::time::Instant;

use super::{
    poll::{check_followed, count_events},
    request::FeedPoll,
};
use crate::http::{
    app::App,
    batch,
    body::HttpResponse,
    held::HeldPollGuard,
    metrics::{Answer, Follower, Following, Transport},
    problem::Problem,
    sse::{COMMENT_EVERY, Next, Source, Text, come_back_later, streamed},
};

/// Follows a Feed from where the client left off.
pub(crate) fn stream<B: Broker>(
    app: &Arc<App<B>>,
    poll: Box<FeedPoll>,
    expires: Option<Instant>,
    principal: Option<&Principal>,
) -> Result<HttpResponse, Problem> {
    check_followed(app, &poll.request.pattern)?;
    app.metrics.answered(Answer::Stream);
    let Ok(held) = app.hold_poll(principal) else { return Ok(come_back_later()) };
    let following = app.metrics.following(Follower::Streaming);
    Ok(streamed(FeedStream { app: Arc::clone(app), poll, expires, place: None, _held: held, _following: following }))
}

struct FeedStream<B: Broker> {
    app: Arc<App<B>>,
    poll: Box<FeedPoll>,
    /// When the rights of the client end.
    expires: Option<Instant>,
    place: Option<Cursor>,
    _held: HeldPollGuard,
    _following: Following,
}

impl<B: Broker> Source for FeedStream<B> {
    async fn next(&mut self) -> Next {
        if self.expires.is_some_and(|expires| expires <= Instant::now()) {
            return Next::Last(Text::default().expired().into_bytes());
        }
        // "Now" would be another moment to a client that loses its stream before it was told a place.
        let wait = if self.poll.request.start == Start::Now { Duration::ZERO } else { COMMENT_EVERY };
        let deadline = Instant::now() + wait;
        self.poll.request.deadline = self.expires.map_or(deadline, |expires| expires.min(deadline));
        match self.app.feed.poll(&self.poll.request).await {
            FeedOutcome::Batch(batch) => {
                count_events(&batch, self.poll.request.start.goes_on(), Transport::Stream, &self.app.metrics);
                self.continue_after(batch.last_seen);
                if let Some(piece) = batch.stream.get() {
                    return Next::Chunk(piece.clone());
                }
                let room = self.app.outgoing.take(batch::max_feed_len(&batch)).await;
                Next::Chunk(batch.stream.get_or_init(|| room.hold(encode(&batch).into_bytes())).clone())
            }
            FeedOutcome::Nothing(end) if self.place == Some(end) => Text::default().comment().into(),
            FeedOutcome::Nothing(end) => {
                self.continue_after(end);
                Text::default().place(&end).into()
            }
            FeedOutcome::ShuttingDown(place) => {
                let text = place.map_or_else(Text::default, |place| Text::default().place(&place));
                Next::Last(text.come_back_later().into_bytes())
            }
            FeedOutcome::Broker(_) | FeedOutcome::NotReady => {
                Next::Last(Text::default().come_back_later().into_bytes())
            }
        }
    }
}

impl<B: Broker> FeedStream<B> {
    fn continue_after(&mut self, place: Cursor) {
        self.place = Some(place);
        self.poll.request.start = Start::After(place);
    }
}

fn encode(batch: &FeedBatch) -> Text {
    let mut text = Text::default();
    if batch.reset {
        // With events, the client's place moves with the first of them: a loss of this piece is a loss of all of it.
        text.push_reset(batch.events.is_empty().then_some(&batch.last_seen));
    }
    for (n, logged) in batch.events.iter().enumerate() {
        let is_last = n + 1 == batch.events.len();
        let place = if is_last { batch.last_seen } else { Cursor::after(logged) };
        text.push(&place, &batch::encode_event(&logged.event, logged.event.resent));
    }
    text
}
