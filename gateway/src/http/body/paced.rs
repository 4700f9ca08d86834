//! An answer over HTTP/2.
//!
//! hyper and h2 keep a piece of a body until the client has made room for it (RFC 9113, section 5.2), and ask for no
//! other. A client that makes none would keep its answer for ever, on a connection that is well. So the answer has
//! times by which it is to be taken, watched from outside; after that its bytes are dropped, its place is free, and its
//! stream is reset. Where room for answers is short, those that wait for their client have less time.
//!
//! An answer is taken when its last piece was written: until then its body does not end.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, stream::BoxStream};
use hyper::body::SizeHint;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::http::{
    connection::{
        socket::{ConnectionStatus, time_for},
        stream_task::StreamTask,
    },
    held::HeldPollGuard,
    transit::Transit,
};

/// How much of an answer is given to hyper at once: as much as one DATA frame holds by default.
const PIECE: usize = 16 * 1024;

/// Within what time a stream is asked for its next piece. It writes a comment every 15 s.
const STREAM_PATIENCE: Duration = Duration::from_mins(1);

/// How long a client may make no room for more where room for answers is short.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Paced {
    answer: Arc<Mutex<Answer>>,
    /// Whether the answer was taken, only its own body can tell.
    status: Arc<ConnectionStatus>,
    /// None for an answer that has nothing to be taken.
    _watch: Option<AbortOnDropHandle<()>>,
}

struct Answer {
    rest: Bytes,
    pieces: Option<BoxStream<'static, Bytes>>,
    /// How many pieces are not written yet.
    unwritten: usize,
    /// Waits for the last piece to be written.
    at_end: Option<Waker>,
    /// When the client has last made room.
    moved: Instant,
    /// When it is given up, unless it goes on before.
    due: Instant,
    /// When it is given up in any case; none for a stream.
    last: Option<Instant>,
    given_up: bool,
    place: Option<HeldPollGuard>,
    stream: Option<StreamTask>,
}

impl Paced {
    pub(super) fn whole(
        rest: Bytes,
        place: Option<HeldPollGuard>,
        status: Arc<ConnectionStatus>,
        transit: &Transit,
    ) -> Self {
        let last = Instant::now() + time_for(rest.len() as u64);
        Self::new(Answer { rest, last: Some(last), ..Answer::new(place) }, status, transit)
    }

    pub(super) fn streamed(
        pieces: BoxStream<'static, Bytes>,
        place: Option<HeldPollGuard>,
        status: Arc<ConnectionStatus>,
        transit: &Transit,
    ) -> Self {
        Self::new(Answer { pieces: Some(pieces), ..Answer::new(place) }, status, transit)
    }

    fn new(mut answer: Answer, status: Arc<ConnectionStatus>, transit: &Transit) -> Self {
        answer.moves();
        let is_taken = answer.is_taken();
        let answer = Arc::new(Mutex::new(answer));
        let watch = || AbortOnDropHandle::new(tokio::spawn(watch(Arc::downgrade(&answer), transit.clone())));
        let watch = (!is_taken).then(watch);
        Self { answer, status, _watch: watch }
    }

    pub(super) fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let answer = &mut *lock(&self.answer);
        if answer.given_up {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        // Else it may be asked because the stream has more, and not because the client has made room.
        if answer.unwritten == 0 {
            answer.moves();
        }
        while let Some(pieces) = &mut answer.pieces
            && answer.rest.is_empty()
        {
            match ready!(Pin::new(pieces).poll_next(cx)) {
                Some(piece) => answer.rest = piece,
                None => answer.pieces = None,
            }
        }
        if answer.rest.is_empty() {
            if answer.unwritten == 0 {
                return Poll::Ready(None);
            }
            answer.at_end = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = answer.rest.len().min(PIECE);
        let bytes = answer.rest.split_to(length);
        answer.unwritten += 1;
        answer.moves();
        Poll::Ready(Some(Ok(Bytes::from_owner(Piece { bytes, answer: Arc::downgrade(&self.answer) }))))
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
            self.status.written();
        }
        self.status.finish();
    }
}

impl Answer {
    fn new(place: Option<HeldPollGuard>) -> Self {
        let now = Instant::now();
        Self {
            rest: Bytes::new(),
            pieces: None,
            unwritten: 0,
            at_end: None,
            moved: now,
            due: now,
            last: None,
            given_up: false,
            place,
            stream: StreamTask::current(),
        }
    }

    /// Takes note that the client has made room, or that it need not yet.
    fn moves(&mut self) {
        self.moved = Instant::now();
        // A stream is asked for its next piece at least as often as it writes a comment.
        let patience = if self.waits_for_client() { time_for(PIECE as u64) } else { STREAM_PATIENCE };
        self.due = self.last.map_or(self.moved + patience, |last| last.min(self.moved + patience));
    }

    /// Gives it less time, if it waits for its client.
    fn hurry(&mut self) {
        if self.waits_for_client() {
            self.due = self.due.min(self.moved + SHORT_PATIENCE);
        }
    }

    /// Tells whether there is something that the client has not made room for.
    fn waits_for_client(&self) -> bool {
        self.unwritten > 0 || !self.rest.is_empty()
    }

    fn is_taken(&self) -> bool {
        self.rest.is_empty() && self.pieces.is_none() && self.unwritten == 0 && !self.given_up
    }
}

/// A piece of an answer, which says when it was written.
struct Piece {
    bytes: Bytes,
    answer: Weak<Mutex<Answer>>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let Some(answer) = self.answer.upgrade() else { return };
        let mut answer = lock(&answer);
        answer.unwritten -= 1;
        answer.moves();
        let at_end = if answer.unwritten == 0 { answer.at_end.take() } else { None };
        drop(answer);
        if let Some(at_end) = at_end {
            at_end.wake();
        }
    }
}

/// Gives an answer up when it is due.
async fn watch(answer: Weak<Mutex<Answer>>, transit: Transit) {
    loop {
        let due = {
            let Some(answer) = answer.upgrade() else { return };
            let mut answer = lock(&answer);
            if answer.due <= Instant::now() {
                answer.given_up = true;
                let dropped = (std::mem::take(&mut answer.rest), answer.pieces.take(), answer.place.take());
                let stream = answer.stream.take();
                // A stream may take other locks as it ends.
                drop(answer);
                drop(dropped);
                if let Some(stream) = stream {
                    stream.end();
                }
                return;
            }
            answer.due
        };
        tokio::select! {
            () = sleep_until(due) => {}
            () = transit.short() => {
                if let Some(answer) = answer.upgrade() {
                    lock(&answer).hurry();
                }
            }
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

    fn whole(bytes: &Arc<Vec<u8>>, transit: &Transit) -> Paced {
        Paced::whole(Bytes::from_owner(Shared(Arc::clone(bytes))), None, Arc::default(), transit)
    }

    fn streamed(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Paced {
        Paced::streamed(pieces.boxed(), None, Arc::default(), &Transit::new(0))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_in_time_gives_up_its_bytes() {
        let bytes = Arc::new(vec![0; 2 * PIECE]);
        let paced = whole(&bytes, &Transit::new(0));
        assert_eq!(piece(&paced).await.unwrap().unwrap().len(), PIECE);
        sleep(time_for(0)).await;
        assert_eq!(Arc::strong_count(&bytes), 2, "so many bytes have longer");
        sleep(time_for(2 * PIECE as u64)).await;
        assert_eq!(Arc::strong_count(&bytes), 1, "what was not taken is dropped, though nothing asks for it");
        assert_eq!(piece(&paced).await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_answer_of_which_nothing_is_taken_has_no_longer_than_a_piece() {
        let bytes = Arc::new(vec![0; 100 * PIECE]);
        let paced = whole(&bytes, &Transit::new(0));
        for _ in 0..10 {
            drop(piece(&paced).await.unwrap().unwrap());
            sleep(time_for(0)).await;
        }
        assert_eq!(Arc::strong_count(&bytes), 2, "it goes on");
        sleep(time_for(PIECE as u64)).await;
        assert_eq!(Arc::strong_count(&bytes), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn where_room_is_short_only_answers_that_move_are_kept() {
        let (bytes, transit) = (Arc::new(vec![0; 100 * PIECE]), Transit::new(1));
        let (moving, stalled) = (whole(&bytes, &transit), whole(&bytes, &transit));
        let idle = futures_util::stream::pending().boxed();
        let idle = Paced::streamed(idle, None, Arc::default(), &transit);
        assert!(tokio::time::timeout(Duration::ZERO, piece(&idle)).await.is_err());
        // It was asked for, and is not written.
        let unwritten = piece(&stalled).await.unwrap().unwrap();
        let _all = transit.try_take(1).unwrap();
        for _ in 0..4 {
            assert!(piece(&moving).await.unwrap().is_ok());
            sleep(Duration::from_secs(2)).await;
            assert!(transit.try_take(1).is_none());
        }
        sleep(Duration::from_millis(1)).await;
        drop(unwritten);
        assert!(piece(&stalled).await.unwrap().is_err());
        assert!(piece(&moving).await.unwrap().is_ok());
        assert!(tokio::time::timeout(Duration::ZERO, piece(&idle)).await.is_err(), "it has nothing to be taken");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_has_more_and_is_not_taken_does_not_move() {
        let pieces = futures_util::stream::iter([Bytes::from_static(b"piece")]);
        let paced = streamed(pieces.chain(futures_util::stream::pending()));
        let _unwritten = piece(&paced).await.unwrap().unwrap();
        for _ in 0..3 {
            assert!(tokio::time::timeout(Duration::from_secs(10), piece(&paced)).await.is_err());
        }
        sleep(Duration::from_secs(10)).await;
        assert!(piece(&paced).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn an_answer_ends_when_its_last_piece_is_written() {
        let paced = whole(&Arc::new(vec![0; 10]), &Transit::new(0));
        let last = piece(&paced).await.unwrap().unwrap();
        assert!(!paced.is_end());
        let (end, ()) = tokio::join!(piece(&paced), async { drop(last) });
        assert!(end.is_none() && paced.is_end());
    }

    #[tokio::test]
    async fn a_piece_without_bytes_is_not_the_end_of_a_stream() {
        let paced = streamed(futures_util::stream::iter([Bytes::new(), Bytes::from_static(b"piece")]));
        assert_eq!(piece(&paced).await.unwrap().unwrap(), "piece");
        assert!(piece(&paced).await.is_none() && paced.is_end());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_lasts_as_long_as_it_is_asked_for_pieces() {
        let paced = streamed(futures_util::stream::repeat(Bytes::from_static(b"piece")));
        for _ in 0..10 {
            assert!(piece(&paced).await.unwrap().is_ok());
            sleep(STREAM_PATIENCE.mul_f32(0.9)).await;
        }
        sleep(STREAM_PATIENCE).await;
        assert!(piece(&paced).await.unwrap().is_err());
    }
}
