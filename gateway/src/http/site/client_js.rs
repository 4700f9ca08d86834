//! `GET /client.js`: the browser client, as `client/` bundles it. What an
//! [`AllowedOrigins`](crate::http::AllowedOrigins) lets in may import it, too.

use std::sync::LazyLock;

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hyper::{
    HeaderMap, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH},
};
use sha2::{Digest, Sha256};

use crate::http::{
    body::{self, HttpResponse},
    security_headers::CROSS_ORIGIN_RESOURCE_POLICY,
};

/// The module as it is served.
pub(super) const MODULE: &str = include_str!("../../../../client/postern.js");

/// Names the module by its content, in quotes.
static TAG: LazyLock<String> =
    LazyLock::new(|| format!("\"{}\"", Base64Display::new(&Sha256::digest(MODULE)[..12], &STANDARD)));

/// Returns the module, or a 304 to a client that has it.
pub(crate) fn client_js(request: &HeaderMap) -> HttpResponse {
    let is_known = has(request, &TAG);
    let body = if is_known { Bytes::new() } else { Bytes::from_static(MODULE.as_bytes()) };
    let mut response = body::whole(body);
    let headers = response.headers_mut();
    // A new gateway brings a new module.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // It holds nothing that is secret, and any page may load it as it likes.
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    if let Ok(tag) = HeaderValue::from_str(&TAG) {
        headers.insert(ETAG, tag);
    }
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    }
    response
}

/// Tells whether the client has what a tag names (RFC 9110, section 13.1.2).
fn has(request: &HeaderMap, tag: &str) -> bool {
    let lists = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    // base64 has no comma.
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}
