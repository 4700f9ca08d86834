//! Pages of other origins: the CORS protocol (WHATWG Fetch, section 3.3).

mod origin;

use hyper::{
    HeaderMap, Method, Request,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN, VARY,
    },
};

pub use self::origin::{Origin, OriginError};
use super::security_headers::CROSS_ORIGIN_RESOURCE_POLICY;

/// Seconds that a browser may remember a preflight; browsers cap it at two hours or a day themselves.
const MAX_AGE_S: &str = "86400";

/// The headers that pages may send in any case.
const HEADERS: &str = "content-type, content-encoding, event-id, idempotency-key, postern-resent, last-event-id, if-none-match, \
                       authorization";

/// The headers that pages may read.
const EXPOSED: HeaderValue = HeaderValue::from_static("last-seen, etag, retry-after");

/// How long the list of other headers may be that a preflight asks for, in bytes.
const MAX_ASKED: usize = 1024;

/// The origins that may use the gateway; none by default.
#[derive(Debug, Clone, Default)]
pub struct AllowedOrigins(Vec<Origin>);

/// Which page sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// The gateway's own, or none: a program that is no browser.
    Own,
    /// One of an origin that is named.
    Named,
    /// One of any origin, which only `*` lets in.
    Any,
    /// One that is not let in.
    Stranger,
}

impl Page {
    /// Tells whether it is trusted with what a browser sends by itself: cookies, a password. `*` trusts no page.
    pub(super) const fn may_use_cookies(self) -> bool {
        matches!(self, Self::Own | Self::Named)
    }
}

/// What a request has to do with other origins; kept while it is answered.
#[derive(Debug)]
pub(super) struct CorsRequest {
    page: Page,
    /// The origin of its page, if that is another one and let in.
    origin: Option<HeaderValue>,
    /// The headers that its page may send, if it is a preflight.
    // Boxed: polls are held while they are answered, preflights are not.
    preflight: Option<Box<HeaderValue>>,
}

impl AllowedOrigins {
    /// Takes the list.
    #[must_use]
    pub const fn new(origins: Vec<Origin>) -> Self {
        Self(origins)
    }

    /// Returns what pages of an origin are.
    pub(super) fn page(&self, origin: &[u8]) -> Page {
        if self.0.iter().any(|named| named.is_named_by(origin)) {
            Page::Named
        } else if self.0.iter().any(Origin::is_any) {
            Page::Any
        } else {
            Page::Stranger
        }
    }

    /// Adds to an answer what lets the page at the request's origin read it.
    pub(super) fn decorate(&self, asked: CorsRequest, response: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        // Without names the answer is the same to every page, so a cache needs no copy for each.
        if self.0.iter().all(Origin::is_any) {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        } else {
            vary_by_origin(response);
        }
        let Some(origin) = asked.origin else { return };
        // For what its page does not read: an event that is published by `sendBeacon`.
        response.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        response.entry(ACCESS_CONTROL_ALLOW_ORIGIN).or_insert(origin);
        response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        if asked.page.may_use_cookies() {
            response.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(headers) = asked.preflight {
            response.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE"));
            response.insert(ACCESS_CONTROL_ALLOW_HEADERS, *headers);
            response.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_S));
        }
    }
}

impl CorsRequest {
    /// Reads what the page asks for that sent a request.
    pub(super) fn of<B>(request: &Request<B>, page: Page) -> Self {
        let headers = request.headers();
        let origin = headers.get(ORIGIN).filter(|_| matches!(page, Page::Named | Page::Any)).cloned();
        let is_preflight = request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let preflight = (is_preflight && origin.is_some()).then(|| Box::new(allowed_headers(headers)));
        Self { page, origin, preflight }
    }
}

/// Adds the origin to what the answer depends on. All is in one line, because nginx before 1.23 heeds only the last one.
fn vary_by_origin(response: &mut HeaderMap) {
    let before = response.get(VARY).and_then(|vary| vary.to_str().ok());
    let all = before.and_then(|before| HeaderValue::try_from(format!("{before}, origin")).ok());
    response.insert(VARY, all.unwrap_or(HeaderValue::from_static("origin")));
}

/// Returns the headers that a page may send: those that the gateway reads, and those that it asks for, which a proxy
/// may read. A list that is too long, or holds anything but names of headers, is left out.
fn allowed_headers(headers: &HeaderMap) -> HeaderValue {
    let asked = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|asked| asked.len() <= MAX_ASKED);
    let names = asked.and_then(|asked| asked.to_str().ok()).into_iter().flat_map(|asked| asked.split(','));
    let names: Result<Vec<HeaderName>, _> =
        names.map(str::trim).filter(|name| !name.is_empty()).map(str::parse).collect();
    let mut allowed = HEADERS.to_owned();
    for name in names.unwrap_or_default() {
        if !allowed.split(", ").any(|known| known == name.as_str()) {
            allowed.push_str(", ");
            allowed.push_str(name.as_str());
        }
    }
    HeaderValue::try_from(allowed).unwrap_or(HeaderValue::from_static(HEADERS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decorated(allowed: &[&str], origin: &'static str, method: &Method, headers: &str) -> HeaderMap {
        let allowed = AllowedOrigins::new(allowed.iter().map(|text| text.parse().unwrap()).collect());
        let request = Request::builder().method(method).header(ORIGIN, origin);
        let request = request.header(ACCESS_CONTROL_REQUEST_METHOD, "PUT");
        let request = request.header(ACCESS_CONTROL_REQUEST_HEADERS, headers).body(()).unwrap();
        let mut response = HeaderMap::new();
        allowed.decorate(CorsRequest::of(&request, allowed.page(origin.as_bytes())), &mut response);
        response
    }

    #[test]
    fn only_listed_origins_may_read() {
        let page = "https://app.example";
        let decorated = |allowed: &[&str]| decorated(allowed, page, &Method::GET, "");
        assert!(decorated(&[]).is_empty());
        assert_eq!(decorated(&[page])[ACCESS_CONTROL_ALLOW_ORIGIN], page);
        assert_eq!(decorated(&["*", page])[ACCESS_CONTROL_ALLOW_ORIGIN], page);
        let other = decorated(&["https://app.example:8443", "http://app.example"]);
        assert_eq!(
            (other.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), &other[VARY]),
            (false, &"origin".parse().unwrap())
        );
    }

    #[test]
    fn where_every_page_may_read_the_answer_is_the_same_for_all() {
        for origin in ["https://app.example", "null"] {
            let answer = decorated(&["*"], origin, &Method::GET, "");
            assert_eq!((&answer[ACCESS_CONTROL_ALLOW_ORIGIN], answer.get(VARY)), (&"*".parse().unwrap(), None));
        }
        let mut vary = HeaderMap::from_iter([(VARY, HeaderValue::from_static("accept"))]);
        vary_by_origin(&mut vary);
        assert_eq!(vary.get_all(VARY).iter().collect::<Vec<_>>(), ["accept, origin"]);
    }

    #[test]
    fn only_named_origins_may_send_cookies() {
        let page = "https://app.example";
        let may = |allowed: &[&str]| {
            decorated(allowed, page, &Method::GET, "").contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS)
        };
        assert!(may(&[page]) && may(&["*", page]));
        assert!(!may(&["*"]) && !may(&["*", "https://other.example"]) && !may(&["https://other.example"]));
    }

    #[test]
    fn a_preflight_can_be_remembered() {
        let headers = decorated(&["*"], "https://app.example", &Method::OPTIONS, "");
        assert_eq!(headers[ACCESS_CONTROL_MAX_AGE], MAX_AGE_S);
        assert!(!decorated(&["*"], "https://app.example", &Method::GET, "").contains_key(ACCESS_CONTROL_MAX_AGE));
    }

    #[test]
    fn a_page_may_send_the_headers_that_it_asks_for_if_they_are_headers() {
        let allowed = |asked: &str| {
            let headers = decorated(&["*"], "https://app.example", &Method::OPTIONS, asked);
            headers[ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap().to_owned()
        };
        assert_eq!(allowed("traceparent,content-type, X-CSRF-Token"), format!("{HEADERS}, traceparent, x-csrf-token"));
        assert_eq!(allowed("a(b, traceparent"), HEADERS);
        assert_eq!(allowed(&"x,".repeat(MAX_ASKED)), HEADERS);
    }
}
