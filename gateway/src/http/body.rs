//! The body of an answer: whole, or a stream that comes as events do.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http_body_util::{Either, Full, StreamBody};
use hyper::{Response, body::Frame};

/// The body of every answer.
pub(super) type Body = Either<Full<Bytes>, StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>>;

/// Makes a `200` whose body is known.
pub(super) fn whole(body: Bytes) -> Response<Body> {
    Response::new(Either::Left(Full::new(body)))
}

/// Makes a `200` whose body comes piece by piece. Dropping the body drops the stream: that is how it learns that its client
/// hung up.
pub(super) fn streamed(pieces: BoxStream<'static, Result<Frame<Bytes>, Infallible>>) -> Response<Body> {
    Response::new(Either::Right(StreamBody::new(pieces)))
}
