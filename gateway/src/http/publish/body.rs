//! The body of a request that publishes: read to its end, and undone if it was compressed.

use std::{sync::Arc, time::Duration};

use broker::Broker;
use bytes::Bytes;
use events::{ContentCoding, ContentType, InflateError, Payload};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::{
    sync::OwnedSemaphorePermit,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::super::{app::App, connection::socket::ConnectionStatus, problem::Problem, transit::Room};

/// A body may take so many times as long as a head: a publisher that vanished in the middle must not keep its
/// connection's place.
const BODY_PER_HEAD: u32 = 3;

/// A body that came whole, with its place among those that publish; both are kept until the broker has what is in it.
pub(super) struct Upload {
    bytes: Bytes,
    /// For its bytes.
    pub(super) room: Room,
    /// When its last byte came.
    pub(super) came: Instant,
    max: usize,
    _place: OwnedSemaphorePermit,
}

impl Upload {
    /// Reads a body; `place` is one among those that publish.
    pub(super) async fn receive<B: Broker>(
        app: &Arc<App<B>>,
        status: &ConnectionStatus,
        place: OwnedSemaphorePermit,
        body: Incoming,
    ) -> Result<Self, Problem> {
        let mut room = app.incoming.none();
        let (max, patience) = (app.options.max_body, patience(app));
        let read = timeout(patience, read(body, max, &mut room)).await;
        let bytes = read.map_err(|_| Problem::BodyTooSlow(patience))??;
        status.half_close.await_answer();
        Ok(Self { bytes, room, came: Instant::now(), max, _place: place })
    }

    /// Returns the body as it was before it was compressed.
    pub(super) async fn inflated(&mut self, coding: ContentCoding) -> Result<Bytes, Problem> {
        inflate(coding, std::mem::take(&mut self.bytes), self.max, &mut self.room).await
    }
}

/// A form is what `curl -d` declares for whatever it sends, so it says no more than nothing at all.
pub(super) fn take(declared: Option<ContentType>, payload: Bytes) -> Result<(ContentType, Payload), Problem> {
    let declared = declared.filter(|declared| !declared.is_form());
    Payload::checked(declared, payload).map_err(|error| {
        Problem::BadRequest(format!(
            "Content-Type says JSON but the body is not one JSON value (UTF-8, at most {} levels deep): {error}",
            Payload::MAX_JSON_DEPTH
        ))
    })
}

fn patience<B: Broker>(app: &App<B>) -> Duration {
    app.options.header_timeout * BODY_PER_HEAD
}

/// Undoes the coding of a body, off the runtime's threads: a body of the largest size takes milliseconds.
async fn inflate(coding: ContentCoding, payload: Bytes, most: usize, room: &mut Room) -> Result<Bytes, Problem> {
    if coding == ContentCoding::Identity {
        return Ok(payload);
    }
    if !room.grow_to(payload.len() + most) {
        return Err(Problem::NoRoomForEvent);
    }
    match spawn_blocking(move || coding.inflate(&payload, most)).await {
        Ok(Some(Ok(inflated))) => Ok(Bytes::from(inflated)),
        Ok(Some(Err(InflateError::TooLarge(most)))) => Err(Problem::BodyTooLarge(most)),
        Ok(Some(Err(InflateError::Damaged(error)))) => {
            Err(Problem::BadRequest(format!("Content-Encoding: the body cannot be decompressed: {error}")))
        }
        Ok(None) => Err(Problem::ContentCoding),
        Err(_) => Err(Problem::ShuttingDown),
    }
}

/// Reads a body into bytes of its own. A slice of the connection's read buffer, which is 8 KiB and more, would keep all
/// of that in memory for as long as the event.
async fn read(mut body: Incoming, most: usize, room: &mut Room) -> Result<Bytes, Problem> {
    // A body that says that it is too large is not even begun.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > most {
        return Err(Problem::BodyTooLarge(most));
    }
    // Without an announcement it can become as large as any.
    let expected = if announced > 0 { announced } else { most };
    let mut payload = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::BadRequest(format!("the body ended early: {error}")))?;
        let Ok(piece) = frame.into_data() else { continue };
        let length = payload.len() + piece.len();
        if length > most {
            return Err(Problem::BodyTooLarge(most));
        }
        let capacity = grown(payload.capacity(), length, expected);
        if !room.grow_to(capacity) {
            return Err(Problem::NoRoomForEvent);
        }
        payload.reserve_exact(capacity - payload.len());
        payload.extend_from_slice(&piece);
    }
    Ok(payload.into_boxed_slice().into())
}

/// Returns how large a buffer should be for so many bytes: doubled, so that it is seldom copied, but no larger than it
/// has to become. What it holds besides its bytes takes memory, too.
fn grown(capacity: usize, length: usize, expected: usize) -> usize {
    if length <= capacity { capacity } else { (2 * capacity).clamp(length, expected.max(length)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_by_doubling_and_not_beyond_what_it_has_to_hold() {
        let mut capacity = 0;
        let grown: Vec<_> = [30, 60, 70, 100, 130, 1000]
            .map(|length| {
                capacity = grown(capacity, length, 150);
                capacity
            })
            .into();
        assert_eq!(grown, [30, 60, 120, 120, 150, 1000]);
    }
}
