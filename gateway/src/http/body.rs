//! The body of an answer: whole, or a stream that comes as events do.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use hyper::{
    Request, Response,
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    header::CONTENT_LENGTH,
};

use self::paced::Paced;
use super::{connection::socket::ConnectionStatus, held::HeldPollGuard, security_headers, transit::Transit};

mod paced;

/// A request, as hyper hands it over.
pub(super) type HttpRequest = Request<Incoming>;

/// An answer.
pub(super) type HttpResponse = Response<Body>;

/// The body of every answer.
pub(super) struct Body {
    kind: Kind,
    /// That of its request among those that are held, until it is over.
    place: Option<HeldPollGuard>,
}

enum Kind {
    /// It goes out in one piece.
    Whole(Bytes),
    Streamed(BoxStream<'static, Bytes>),
    /// Either of them, on a connection of HTTP/2.
    Paced(Paced),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = match &mut self.kind {
            Kind::Whole(rest) if rest.is_empty() => Poll::Ready(None),
            Kind::Whole(rest) => Poll::Ready(Some(Ok(std::mem::take(rest)))),
            Kind::Streamed(pieces) => pieces.as_mut().poll_next(cx).map(|piece| piece.map(Ok)),
            Kind::Paced(paced) => paced.poll_piece(cx),
        };
        piece.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(rest) => rest.is_empty(),
            Kind::Streamed(_) => false,
            Kind::Paced(paced) => paced.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(rest) => SizeHint::with_exact(rest.len() as u64),
            Kind::Streamed(_) => SizeHint::default(),
            Kind::Paced(paced) => paced.size_hint(),
        }
    }
}

/// Makes a `200` whose body is known.
pub(super) fn whole(body: Bytes) -> Response<Body> {
    response(Kind::Whole(body))
}

/// Every answer is made here.
fn response(kind: Kind) -> Response<Body> {
    let mut response = Response::new(Body { kind, place: None });
    *response.headers_mut() = security_headers::of_every_answer();
    response
}

/// Makes a `200` whose body comes piece by piece. Dropping the body drops the stream: that is how it learns that its
/// client hung up.
pub(super) fn streamed(pieces: BoxStream<'static, Bytes>) -> Response<Body> {
    response(Kind::Streamed(pieces))
}

/// Keeps the place of a poll for as long as its answer, which a client of HTTP/2 may take when it likes.
pub(super) fn keeping(place: HeldPollGuard, response: Response<Body>) -> Response<Body> {
    response.map(|body| Body { place: Some(place), ..body })
}

/// Leaves out the body, as an answer to HEAD does, and tells its length if that is known (RFC 9110, section 9.3.2).
/// hyper does so over HTTP/1 alone.
pub(super) fn left_out(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    // Of an answer that has none anyway, such as a 304, the length of what it stands for is not known.
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        parts.headers.insert(CONTENT_LENGTH, length.into());
    }
    Response::from_parts(parts, Body { kind: Kind::Whole(Bytes::new()), place: body.place })
}

/// Has an answer that shares its connection with others tell by itself whether it was taken, and end if it is not taken
/// in time.
pub(super) fn paced(response: Response<Body>, status: Arc<ConnectionStatus>, transit: &Transit) -> Response<Body> {
    response.map(|Body { kind, place }| {
        let paced = match kind {
            Kind::Whole(rest) => Paced::whole(rest, place, status, transit),
            Kind::Streamed(pieces) => Paced::streamed(pieces, place, status, transit),
            Kind::Paced(paced) => paced,
        };
        Body { kind: Kind::Paced(paced), place: None }
    })
}
