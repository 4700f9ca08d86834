//! The answers that several handlers give.

use bytes::Bytes;
use hyper::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};

use super::body::{self, HttpResponse};

/// Returns an answer without a body, such as a `204`.
pub(super) fn empty(status: StatusCode) -> HttpResponse {
    let mut response = body::whole(Bytes::new());
    *response.status_mut() = status;
    response
}

/// Returns a `200` of this media type.
pub(super) fn typed(media_type: &'static str, body: impl Into<Bytes>) -> HttpResponse {
    let mut response = body::whole(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Returns an answer of JSON.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> HttpResponse {
    let mut response = typed("application/json", body);
    *response.status_mut() = status;
    response
}
