//! Pages of other origins: the CORS protocol (WHATWG Fetch, section 3.3).

use std::str::FromStr;

use hyper::{
    HeaderMap, Method, Request,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN,
        VARY,
    },
};

/// Seconds that a browser may remember a preflight; browsers cap it at two hours or a day themselves.
const MAX_AGE_S: &str = "86400";

/// An origin that may use the gateway: `https://app.example`, or `*` for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// Why a text is no [`Origin`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an origin is scheme://host or scheme://host:port without a path, e.g. https://app.example, or *")]
pub struct OriginError;

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let host = text.split_once("://").map(|(_, host)| host);
        let is_host = |host: &str| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        // Browsers send origins in lower case.
        if text == "*" || host.is_some_and(is_host) { Ok(Self(text.to_ascii_lowercase())) } else { Err(OriginError) }
    }
}

/// The origins that may use the gateway; none by default.
#[derive(Debug, Clone, Default)]
pub struct AllowedOrigins(Vec<Origin>);

/// What a request has to do with other origins; kept while it is answered.
#[derive(Debug)]
pub(super) struct Asked {
    /// The origin of its page, if that is allowed.
    origin: Option<HeaderValue>,
    is_preflight: bool,
}

impl AllowedOrigins {
    /// Takes the list.
    #[must_use]
    pub const fn new(origins: Vec<Origin>) -> Self {
        Self(origins)
    }

    /// Returns what a request asks for.
    pub(super) fn asked_by<B>(&self, request: &Request<B>) -> Asked {
        let headers = request.headers();
        let origin = headers.get(ORIGIN).filter(|origin| self.allows(origin)).cloned();
        let is_preflight = request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        Asked { origin, is_preflight }
    }

    /// Adds to an answer what lets the page at the request's origin read it.
    pub(super) fn decorate(&self, asked: Asked, response: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        response.append(VARY, HeaderValue::from_static("origin"));
        let Some(origin) = asked.origin else { return };
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("last-seen, etag, retry-after"));
        if asked.is_preflight {
            let preflight = [
                (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, DELETE"),
                (
                    ACCESS_CONTROL_ALLOW_HEADERS,
                    "content-type, content-encoding, event-id, idempotency-key, postern-resent, last-event-id, if-none-match, \
                     authorization",
                ),
                (ACCESS_CONTROL_MAX_AGE, MAX_AGE_S),
            ];
            for (name, value) in preflight {
                response.insert(name, HeaderValue::from_static(value));
            }
        }
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.0.iter().any(|allowed| allowed.0 == "*" || allowed.0.as_bytes() == origin.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decorated(allowed: &[&str], origin: &'static str, method: &Method) -> HeaderMap {
        let allowed = AllowedOrigins::new(allowed.iter().map(|text| text.parse().unwrap()).collect());
        let request = Request::builder().method(method).header(ORIGIN, origin);
        let request = request.header(ACCESS_CONTROL_REQUEST_METHOD, "PUT").body(()).unwrap();
        let mut response = HeaderMap::new();
        allowed.decorate(allowed.asked_by(&request), &mut response);
        response
    }

    #[test]
    fn only_listed_origins_may_read() {
        let page = "https://app.example";
        assert!(decorated(&[], page, &Method::GET).is_empty());
        assert_eq!(decorated(&[page], page, &Method::GET)[ACCESS_CONTROL_ALLOW_ORIGIN], page);
        assert_eq!(decorated(&["*"], page, &Method::GET)[ACCESS_CONTROL_ALLOW_ORIGIN], page);
        let other = decorated(&["https://app.example:8443", "http://app.example"], page, &Method::GET);
        assert_eq!(
            (other.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), &other[VARY]),
            (false, &"origin".parse().unwrap())
        );
    }

    #[test]
    fn a_preflight_can_be_remembered() {
        let headers = decorated(&["*"], "https://app.example", &Method::OPTIONS);
        assert_eq!(headers[ACCESS_CONTROL_MAX_AGE], MAX_AGE_S);
        assert!(!decorated(&["*"], "https://app.example", &Method::GET).contains_key(ACCESS_CONTROL_MAX_AGE));
    }

    #[test]
    fn a_wrong_origin_is_refused_at_the_start() {
        for bad in ["app.example", "https://", "https://app.example/", "https://a b", ""] {
            assert_eq!(bad.parse::<Origin>(), Err(OriginError), "{bad}");
        }
    }
}
