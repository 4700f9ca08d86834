//! What every answer tells browsers and caches to keep from others.
//!
//! For pages that `--allow-origin` lets in, the policy on resources is set by `cors`. It is not asked for what is fetched
//! by the CORS protocol (WHATWG Fetch, section 3.7), and that is how `fetch` and `EventSource` read another origin.

use std::sync::LazyLock;

use hyper::{
    HeaderMap,
    header::{CACHE_CONTROL, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};

/// Which pages may load an answer without the CORS protocol: as an image, a script, an object.
pub(super) const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// How many headers an answer mostly has in the end: what finds them by name is made for so many, and not again as they come.
const USUAL: usize = 12;

/// Returns what an answer begins with. A handler that sets one of them otherwise has its reason.
pub(super) fn of_every_answer() -> HeaderMap {
    // A copy costs less than putting them together.
    static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
        let mut headers = HeaderMap::with_capacity(USUAL);
        headers.extend([
            // An event is what its publisher says that it is, and never a script because it looks like one.
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            // A client id stands in a URL, and is a secret.
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
            // What a cache keeps, others may get.
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ]);
        headers
    });
    HEADERS.clone()
}
