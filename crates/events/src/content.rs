//! What a payload is: JSON, text or bytes.

use std::{fmt, sync::Arc};

use crate::json::{self, JsonError};

/// A media type as its publisher wrote it: 1–255 bytes without control characters (RFC 9110, section 8.3).
#[derive(Clone, PartialEq, Eq)]
pub struct ContentType(Arc<str>);

/// Why a text is no [`ContentType`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a content type has 1 to 255 bytes and no control characters")]
pub struct ContentTypeError;

impl ContentType {
    /// Takes a media type.
    pub fn new(text: &str) -> Result<Self, ContentTypeError> {
        let fits = (1..=255).contains(&text.len()) && !text.chars().any(char::is_control);
        if fits { Ok(Self(text.into())) } else { Err(ContentTypeError) }
    }

    /// `application/json`.
    #[must_use]
    pub fn json() -> Self {
        Self("application/json".into())
    }

    /// `text/plain; charset=utf-8`.
    #[must_use]
    pub fn text() -> Self {
        Self("text/plain; charset=utf-8".into())
    }

    /// `application/octet-stream`.
    #[must_use]
    pub fn bytes() -> Self {
        Self("application/octet-stream".into())
    }

    /// Returns the type that fits a payload whose publisher named none.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        match Form::of(None, payload) {
            Form::Json(_) => Self::json(),
            Form::Text(_) => Self::text(),
            Form::Bytes(_) => Self::bytes(),
        }
    }

    /// Returns the type as its publisher wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns type and subtype without parameters.
    fn essence(&self) -> &str {
        self.0.split(';').next().unwrap_or_default().trim()
    }

    /// Tells whether this is a JSON type: `application/json`, `text/json`, or any `…+json` (RFC 6839, section 3.1).
    #[must_use]
    pub fn is_json(&self) -> bool {
        let essence = self.essence().to_ascii_lowercase();
        matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
    }

    /// Tells whether this is what an HTML form, and `curl -d`, declares for want of anything better.
    #[must_use]
    pub fn is_form(&self) -> bool {
        self.essence().eq_ignore_ascii_case("application/x-www-form-urlencoded")
    }

    /// Tells whether this is a wrapping of several parts (RFC 2046, section 5.1), as `curl -F` sends it.
    #[must_use]
    pub fn is_multipart(&self) -> bool {
        self.0.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/"))
    }

    fn is_text(&self) -> bool {
        self.0.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/"))
    }
}

impl fmt::Debug for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentType({})", self.0)
    }
}

/// How a payload is shown to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form<'a> {
    /// One JSON value, to be passed on as it is.
    Json(&'a str),
    /// Text, to be passed on as a string.
    Text(&'a str),
    /// Anything else.
    Bytes(&'a [u8]),
}

impl<'a> Form<'a> {
    /// How deep a payload may be nested and still be [`Form::Json`], in arrays and objects.
    pub const MAX_JSON_DEPTH: u8 = json::MAX_DEPTH;

    /// Decides the form by the declared type, and by looking where none is declared.
    ///
    /// A payload that is not what its type says is [`Form::Bytes`]: nothing is guessed over a publisher's own word.
    #[must_use]
    pub fn of(declared: Option<&ContentType>, payload: &'a [u8]) -> Self {
        let form = match declared {
            Some(declared) if declared.is_json() => json::parse(payload).ok().map(Form::Json),
            Some(declared) if declared.is_text() => std::str::from_utf8(payload).ok().map(Form::Text),
            Some(_) => None,
            None => {
                let json = json::parse(payload).ok().map(Form::Json);
                json.or_else(|| std::str::from_utf8(payload).ok().map(Form::Text))
            }
        };
        form.unwrap_or(Form::Bytes(payload))
    }

    /// Says why a payload cannot be [`Form::Json`], and where.
    pub fn check_json(payload: &'a [u8]) -> Result<(), JsonError> {
        json::parse(payload).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(declared: &str, payload: &'static [u8]) -> Form<'static> {
        Form::of(ContentType::new(declared).ok().as_ref(), payload)
    }

    #[test]
    fn the_declared_type_decides() {
        assert_eq!(form("application/json", b"{\"a\":1}"), Form::Json("{\"a\":1}"));
        assert_eq!(form("application/vnd.x+JSON; v=1", b"[]"), Form::Json("[]"));
        assert_eq!(form("application/json", b"{nope"), Form::Bytes(b"{nope"));
        assert_eq!(form("text/plain", b"{}"), Form::Text("{}"));
        assert_eq!(form("Text/CSV", b"a,b"), Form::Text("a,b"));
        assert_eq!(form("text/plain", b"\xe4"), Form::Bytes(b"\xe4"));
        assert_eq!(form("image/png", b"{}"), Form::Bytes(b"{}"));
        assert_eq!(form("application/json", b""), Form::Bytes(b""));
    }

    #[test]
    fn without_a_type_the_payload_is_looked_at() {
        assert_eq!(Form::of(None, b"{}"), Form::Json("{}"));
        assert_eq!(Form::of(None, b"hello"), Form::Text("hello"));
        assert_eq!(Form::of(None, b""), Form::Text(""));
        assert_eq!(Form::of(None, b"\xff"), Form::Bytes(b"\xff"));
        assert!(ContentType::of(b"17").is_json());
    }

    #[test]
    fn refuses_a_type_that_could_split_a_header() {
        for bad in ["", "text/plain\r\nX: y", "a\0b"] {
            assert!(ContentType::new(bad).is_err());
        }
        assert!(ContentType::new(&"x".repeat(256)).is_err());
        assert!(ContentType::new("application/x-www-form-urlencoded; charset=utf-8").unwrap().is_form());
    }
}
