//! An answer over HTTP/2.
//!
//! hyper asks for the next piece of a body when the client has made room for it (RFC 9113, section 5.2), and not before. A client
//! that makes none would keep its answer for ever, on a connection that is well. So the answer has a time by which it is to be
//! taken, watched from outside; after that its bytes are dropped, and its place is free.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, stream::BoxStream};
use hyper::body::SizeHint;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::http::{
    poll::Place,
    socket::{Fate, time_for},
};

/// How much of an answer is given to hyper at once: as much as one DATA frame holds by default.
const PIECE: usize = 16 * 1024;

/// Within what time a stream is asked for its next piece. It writes a comment every 15 s.
const STREAM_PATIENCE: Duration = Duration::from_mins(1);

/// See the module.
pub(super) struct Paced {
    answer: Arc<Mutex<Answer>>,
    /// Whether the answer was taken, only its own body can tell.
    fate: Arc<Fate>,
    /// None for an answer that has nothing to be taken.
    _watch: Option<AbortOnDropHandle<()>>,
}

struct Answer {
    rest: Bytes,
    pieces: Option<BoxStream<'static, Bytes>>,
    /// When it is given up, unless it goes on before.
    due: Instant,
    given_up: bool,
    place: Option<Place>,
}

impl Paced {
    pub(super) fn whole(rest: Bytes, place: Option<Place>, fate: Arc<Fate>) -> Self {
        let due = Instant::now() + time_for(rest.len() as u64);
        Self::new(Answer { rest, pieces: None, due, given_up: false, place }, fate)
    }

    pub(super) fn streamed(pieces: BoxStream<'static, Bytes>, place: Option<Place>, fate: Arc<Fate>) -> Self {
        let due = Instant::now() + STREAM_PATIENCE;
        Self::new(Answer { rest: Bytes::new(), pieces: Some(pieces), due, given_up: false, place }, fate)
    }

    fn new(answer: Answer, fate: Arc<Fate>) -> Self {
        let is_taken = answer.is_taken();
        let answer = Arc::new(Mutex::new(answer));
        let watch = (!is_taken).then(|| AbortOnDropHandle::new(tokio::spawn(watch(Arc::downgrade(&answer)))));
        Self { answer, fate, _watch: watch }
    }

    pub(super) fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let answer = &mut *lock(&self.answer);
        if answer.given_up {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        while let Some(pieces) = &mut answer.pieces
            && answer.rest.is_empty()
        {
            answer.due = Instant::now() + STREAM_PATIENCE;
            match ready!(Pin::new(pieces).poll_next(cx)) {
                Some(piece) => {
                    answer.due += time_for(piece.len() as u64);
                    answer.rest = piece;
                }
                None => answer.pieces = None,
            }
        }
        if answer.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = answer.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(answer.rest.split_to(length))))
    }

    pub(super) fn is_end(&self) -> bool {
        lock(&self.answer).is_taken()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let answer = lock(&self.answer);
        let is_whole = answer.pieces.is_none() && !answer.given_up;
        if is_whole { SizeHint::with_exact(answer.rest.len() as u64) } else { SizeHint::default() }
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        if self.is_end() {
            self.fate.written();
        }
        self.fate.seal();
    }
}

impl Answer {
    fn is_taken(&self) -> bool {
        self.rest.is_empty() && self.pieces.is_none() && !self.given_up
    }
}

/// Gives an answer up when it is due.
async fn watch(answer: Weak<Mutex<Answer>>) {
    let mut due = Instant::now();
    loop {
        sleep_until(due).await;
        let Some(answer) = answer.upgrade() else { return };
        let mut answer = lock(&answer);
        due = answer.due;
        if due <= Instant::now() {
            answer.given_up = true;
            let dropped = (std::mem::take(&mut answer.rest), answer.pieces.take(), answer.place.take());
            // A stream may take other locks as it ends.
            drop(answer);
            drop(dropped);
            return;
        }
    }
}

fn lock(answer: &Mutex<Answer>) -> MutexGuard<'_, Answer> {
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio::time::sleep;

    use super::*;

    struct Shared(Arc<Vec<u8>>);

    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    async fn piece(paced: &Paced) -> Option<io::Result<Bytes>> {
        std::future::poll_fn(|cx| paced.poll_piece(cx)).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_in_time_gives_up_its_bytes() {
        let dropped = Arc::new(vec![0; 2 * PIECE]);
        let paced = Paced::whole(Bytes::from_owner(Shared(Arc::clone(&dropped))), None, Arc::default());
        assert_eq!(piece(&paced).await.unwrap().unwrap().len(), PIECE);
        sleep(time_for(0)).await;
        assert_eq!(Arc::strong_count(&dropped), 2, "so many bytes have longer");
        sleep(time_for(2 * PIECE as u64)).await;
        assert_eq!(Arc::strong_count(&dropped), 1, "what was not taken is dropped, though nothing asks for it");
        assert_eq!(piece(&paced).await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_piece_without_bytes_is_not_the_end_of_a_stream() {
        let pieces = futures_util::stream::iter([Bytes::new(), Bytes::from_static(b"piece")]).boxed();
        let paced = Paced::streamed(pieces, None, Arc::default());
        assert_eq!(piece(&paced).await.unwrap().unwrap(), "piece");
        assert!(piece(&paced).await.is_none() && paced.is_end());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_lasts_as_long_as_it_is_asked_for_pieces() {
        let pieces = futures_util::stream::repeat(Bytes::from_static(b"piece")).boxed();
        let paced = Paced::streamed(pieces, None, Arc::default());
        for _ in 0..10 {
            assert!(piece(&paced).await.unwrap().is_ok());
            sleep(STREAM_PATIENCE).await;
        }
        sleep(time_for(5) + Duration::from_millis(10)).await;
        assert!(piece(&paced).await.unwrap().is_err());
    }
}
