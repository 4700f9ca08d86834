//! A name for each request, by which a proxy's log, this log and a client's answer are brought together.

use std::fmt::{self, Display};

use events::http_names;
use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use uuid::Uuid;

/// The header that brings an id along, and back.
const X_REQUEST_ID: HeaderName = HeaderName::from_static(http_names::REQUEST_ID);

/// How long an id from outside may be, in bytes.
const MAX_LENGTH: usize = 128;

/// See the module.
#[derive(Debug)]
pub(super) enum RequestId {
    /// Made outside; ASCII without spaces and control characters.
    Given(HeaderValue),
    /// Made here: 32 hexadecimal digits, as a trace id of W3C Trace Context has.
    Made(u128),
}

impl RequestId {
    /// Takes the id that a request has, or makes one.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        // Copied: a header lies in the connection's read buffer, which could not be used again as long as a poll is
        // held.
        let copy = |id: &HeaderValue| HeaderValue::from_bytes(id.as_bytes()).ok();
        let given = headers.get(X_REQUEST_ID).filter(|id| is_sane(id.as_bytes())).and_then(copy);
        given.map_or_else(|| Self::Made(rand::random()), Self::Given)
    }

    /// Adds it to the headers of an answer.
    pub(super) fn echo(&self, headers: &mut HeaderMap) {
        let value = match self {
            Self::Given(id) => Some(id.clone()),
            Self::Made(id) => HeaderValue::from_str(Uuid::from_u128(*id).simple().encode_lower(&mut [0; 32])).ok(),
        };
        if let Some(value) = value {
            headers.insert(X_REQUEST_ID, value);
        }
    }
}

impl Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(id) => f.write_str(id.to_str().unwrap_or_default()),
            Self::Made(id) => Uuid::from_u128(*id).simple().fmt(f),
        }
    }
}

fn is_sane(id: &[u8]) -> bool {
    (1..=MAX_LENGTH).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(id: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(id.as_bytes()).unwrap());
        let id = RequestId::of(&headers);
        let mut answer = HeaderMap::new();
        id.echo(&mut answer);
        assert_eq!(answer[X_REQUEST_ID], id.to_string());
        id.to_string()
    }

    #[test]
    fn an_id_is_taken_if_it_fits_into_a_log_line() {
        let longest = "x".repeat(MAX_LENGTH);
        for sane in ["7", "01890a5d-ac96-774b-bcce-b302099a8057", r#"Root=1-67;"a""#, &longest] {
            assert_eq!(taken(sane), sane);
        }
    }

    #[test]
    fn any_other_id_is_replaced() {
        for wrong in ["", "a b", "a\tb", "ü", &"x".repeat(MAX_LENGTH + 1)] {
            let made = taken(wrong);
            assert!(made.len() == 32 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
        }
    }
}
