//! The body of an answer: whole, or a stream that comes as events do.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http_body_util::{Either, StreamBody};
use hyper::{
    Response,
    body::{Body as HttpBody, Frame, SizeHint},
};

use super::socket::Fate;

/// The body of every answer.
pub(super) type Body = Either<Whole, StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>>;

/// How much of an answer over HTTP/2 is given to hyper before the client has made room for it (RFC 9113, section 5.2): as much
/// as one DATA frame holds by default.
const PIECE: usize = 16 * 1024;

/// A body that is known. It goes out in one piece where it has its connection for itself.
#[derive(Debug)]
pub(super) struct Whole {
    rest: Bytes,
    /// Of an answer that shares its connection: whether it was taken, only its own body can tell.
    fate: Option<Arc<Fate>>,
}

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let most = if self.fate.is_some() { PIECE } else { usize::MAX };
        let length = self.rest.len().min(most);
        let piece = self.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some(fate) = &self.fate {
            if self.rest.is_empty() {
                fate.written();
            }
            fate.seal();
        }
    }
}

/// Makes a `200` whose body is known.
pub(super) fn whole(body: Bytes) -> Response<Body> {
    Response::new(Either::Left(Whole { rest: body, fate: None }))
}

/// Has an answer that shares its connection with others tell by itself whether it was taken: it goes out in pieces, and one
/// that is dropped with a rest was not.
pub(super) fn observed(mut response: Response<Body>, fate: Arc<Fate>) -> Response<Body> {
    if let Either::Left(whole) = response.body_mut() {
        whole.fate = Some(fate);
    }
    response
}

/// Makes a `200` whose body comes piece by piece. Dropping the body drops the stream: that is how it learns that its client
/// hung up.
pub(super) fn streamed(pieces: BoxStream<'static, Result<Frame<Bytes>, Infallible>>) -> Response<Body> {
    Response::new(Either::Right(StreamBody::new(pieces)))
}
