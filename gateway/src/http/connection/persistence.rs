//! What an answer says about its connection (RFC 9112, section 9.3).

use std::time::Duration;

use bytes::Bytes;
use hyper::{
    Version,
    body::Body,
    header::{CONNECTION, HeaderName, HeaderValue},
};

use crate::http::body::HttpResponse;

/// The header that announces how long a connection is kept.
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Says to a client of HTTP/1.0 that its connection ends with the answer: if it is to, and if the answer's length is
/// not known, as such a client knows no chunks (RFC 9112, section 6.3). hyper says that the connection is kept to one
/// that has asked for that, unless the answer is of HTTP/1.0, too.
pub(super) fn announce_close_to_http_1_0(version: Version, response: &mut HttpResponse) {
    if version != Version::HTTP_10 {
        return;
    }
    if response.body().size_hint().exact().is_none() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if response.headers().contains_key(CONNECTION) {
        *response.version_mut() = Version::HTTP_10;
    }
}

/// Has a connection end with this answer, unless that is said already. Its client opens the next one where a load
/// balancer sends it, which an end between two requests could not tell it without a race.
pub(super) fn announce_close(response: &mut HttpResponse) {
    response.headers_mut().entry(CONNECTION).or_insert(HeaderValue::from_static("close"));
}

/// Tells a client how long its connection is kept, so that it does not use it in the moment that it ends (RFC 2068,
/// section 19.7.1.1).
pub(super) fn announce_idle_timeout(response: &mut HttpResponse, announced: &HeaderValue) {
    if !response.headers().contains_key(CONNECTION) {
        response.headers_mut().insert(KEEP_ALIVE, announced.clone());
    }
}

/// Returns the value of the header that announces this time.
pub(in crate::http) fn idle_timeout_header(idle_timeout: Duration) -> HeaderValue {
    let announced = Bytes::from(format!("timeout={}", idle_timeout.as_secs()));
    HeaderValue::from_maybe_shared(announced).unwrap_or(HeaderValue::from_static("timeout=0"))
}
