//! A held poll without hyper's buffers.
//!
//! hyper keeps two buffers of 8 KiB with each connection of HTTP/1, also while a request is answered, and a page of each
//! has been written to. So the future that answers a request is kept beside hyper, in [`Held`]. Once it has waited for a
//! while, hyper's connection is taken apart and only the socket is read, until the answer is there. Then a new
//! connection of hyper reads a request that stands for the first one, and writes that answer.
//!
//! Meanwhile this does what hyper does: it reads on once, keeps what came, and drops the handler when the client has
//! gone. Only a request is parked that the one in its place stands for in all that hyper looks at: a GET of HTTP/1.1
//! without a body, on a connection that is kept.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::{
    Method, Request, Response, Version,
    body::{Body, Incoming},
    header::CONNECTION,
    service::Service,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::socket::{ConnectionStatus, ObservedSocket};
use crate::http::access_log::Recorded;

/// After how long a request is parked. A new connection of hyper costs up to six microseconds, which a client that gets
/// events all the time would pay for each of them.
const PARK_AFTER: Duration = Duration::from_secs(1);

/// What stands for the request.
const SUBSTITUTE: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// How many bytes of what a client sends after its request are kept.
const MAX_EARLY: usize = 512;

type Answer = Response<Recorded>;
/// What answers a request. On the heap from the start: it is large, and moved from hand to hand.
pub(super) type Handler = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

/// The request of one connection that is answered now.
#[derive(Clone, Default)]
pub(super) struct Held(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    answering: Option<Handler>,
    /// The answer of a request that was parked.
    answer: Option<Answer>,
    can_be_parked: bool,
    is_parked: bool,
    /// How many requests came.
    requests: u64,
}

impl Held {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes hyper's future of the request for one that is to live on without it.
    pub(super) fn park(&self) {
        self.state().is_parked = true;
    }

    /// Waits for the answer to a parked request; `early` is what hyper has read after it. Returns what the next
    /// connection of hyper is to read first, or `None` if the client has gone.
    pub(super) async fn answered(
        &self,
        socket: &mut ObservedSocket<impl AsyncRead + AsyncWrite + Unpin>,
        mut early: Vec<u8>,
    ) -> Option<Vec<u8>> {
        let has_answer = poll_fn(|cx| {
            if early.is_empty() {
                let mut room = [0; MAX_EARLY];
                let mut buf = ReadBuf::new(&mut room);
                match Pin::new(&mut *socket).poll_read(cx, &mut buf) {
                    Poll::Ready(Ok(())) if !buf.filled().is_empty() => early = buf.filled().to_vec(),
                    Poll::Ready(_) => return Poll::Ready(false),
                    Poll::Pending => {}
                }
            }
            let mut state = self.state();
            let Ok(answer) = ready!(state.poll_answer(cx));
            state.answer = Some(answer);
            Poll::Ready(true)
        });
        let has_answer = has_answer.await;
        let dropped = self.state().end();
        drop(dropped);
        has_answer.then(|| [SUBSTITUTE, early.as_slice()].concat())
    }
}

impl State {
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, Infallible>> {
        if let Some(answer) = self.answer.take() {
            return Poll::Ready(Ok(answer));
        }
        self.answering.as_mut().map_or(Poll::Pending, |answering| answering.as_mut().poll(cx))
    }

    /// Returns the future of the request that is over, to be dropped without the lock.
    #[must_use]
    fn end(&mut self) -> Option<Handler> {
        (self.can_be_parked, self.is_parked) = (false, false);
        self.answering.take()
    }
}

/// A service whose requests can be parked.
pub(super) struct Parking<S> {
    pub(super) service: S,
    pub(super) held: Held,
}

impl<S> Service<Request<Incoming>> for Parking<S>
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible, Future = Handler>,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let mut state = self.held.state();
        if state.answer.is_none() {
            state.requests += 1;
            state.can_be_parked = can_be_parked(&request);
            state.answering = Some(self.service.call(request));
        }
        drop(state);
        Answering(self.held.clone())
    }
}

/// Tells whether the substitute stands for a request.
fn can_be_parked<B: Body>(request: &Request<B>) -> bool {
    let mut connection = request.headers().get_all(CONNECTION).iter();
    request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && request.body().is_end_stream()
        && connection.all(|value| value.as_bytes().eq_ignore_ascii_case(b"keep-alive"))
}

/// What hyper has of a request. Dropped before there is an answer, it drops the handler, unless that was parked.
pub(super) struct Answering(Held);

impl Future for Answering {
    type Output = Result<Answer, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.state();
        let answer = ready!(state.poll_answer(cx));
        let dropped = state.end();
        drop(state);
        drop(dropped);
        Poll::Ready(answer)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = self.0.state();
        let dropped = if state.is_parked { None } else { state.end() };
        drop(state);
        drop(dropped);
    }
}

/// When a request has waited long enough to be parked.
///
/// One timer for all requests of a connection: a client that polls often has it look once a second, not once a poll.
pub(super) struct Patience {
    held: Held,
    status: Arc<ConnectionStatus>,
    /// The request that was seen last, and when it is to be parked.
    request: u64,
    due: Instant,
}

impl Patience {
    pub(super) fn with(held: &Held, status: &Arc<ConnectionStatus>) -> Self {
        Self { held: held.clone(), status: Arc::clone(status), request: 0, due: Instant::now() }
    }

    /// Waits until there is a request to be parked. To be polled after hyper's connection, each time: it is not told
    /// when a request comes.
    pub(super) async fn over(&mut self) {
        let mut alarm = pin!(sleep_until(self.due));
        poll_fn(|cx| self.poll_over(alarm.as_mut(), cx)).await;
    }

    fn poll_over(&mut self, mut alarm: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        let request = {
            let state = self.held.state();
            if !state.can_be_parked {
                return Poll::Pending;
            }
            state.requests
        };
        if request != self.request {
            (self.request, self.due) = (request, Instant::now() + PARK_AFTER);
        }
        loop {
            ready!(alarm.as_mut().poll(cx));
            let now = Instant::now();
            // hyper still has a part of the answer before.
            if self.status.is_lagging() {
                self.due = now + PARK_AFTER;
            }
            if self.due <= now {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(self.due);
        }
    }
}
