//! What every answer tells a browser to keep from other pages.
//!
//! For pages that `--allow-origin` lets in, the policy on resources is set by `cors`. It is not asked for what is fetched
//! by the CORS protocol (WHATWG Fetch, section 3.7), and that is how `fetch` and `EventSource` read another origin.

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};

/// Which pages may load an answer without the CORS protocol: as an image, a script, an object.
pub(super) const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Adds them to an answer as it begins. A handler that sets one of them otherwise has its reason.
pub(super) fn add(headers: &mut HeaderMap) {
    // An event is what its publisher says that it is, and never a script because it looks like one.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A client id stands in a URL, and is a secret.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
}
