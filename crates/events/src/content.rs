//! What a payload is: JSON, text or bytes.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use bytes::Bytes;

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
    pub fn of(payload: &Payload) -> Self {
        match payload.form() {
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
    #[must_use]
    pub fn essence(&self) -> &str {
        self.0.split(';').next().unwrap_or_default().trim()
    }

    /// Tells whether this is a JSON type: `application/json`, `text/json`, or any `…+json` (RFC 6839, section 3.1).
    #[must_use]
    pub fn is_json(&self) -> bool {
        let essence = self.essence();
        ["application/json", "text/json"].iter().any(|known| essence.eq_ignore_ascii_case(known))
            || essence.rsplit_once('+').is_some_and(|(_, suffix)| suffix.eq_ignore_ascii_case("json"))
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

/// The payload of an event, and what it is. That is decided when it is first shown, or checked, and remembered by all
/// clones that are made from then on: an event is shown to many clients, and each of them must not parse it. Most of a
/// log that is searched is never shown.
pub struct Payload {
    bytes: Bytes,
    /// A [`Kind`].
    kind: AtomicU8,
}

/// See [`Form`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Json,
    Text,
    Bytes,
    /// JSON, or bytes that are not what they were declared.
    JsonOrBytes,
    /// Text, or bytes that are not what they were declared.
    TextOrBytes,
    /// Nothing is declared.
    Any,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Json, Self::Text, Self::Bytes, Self::JsonOrBytes, Self::TextOrBytes, Self::Any];

    /// Returns what the declared type leaves open.
    fn declared(declared: Option<&ContentType>) -> Self {
        match declared {
            Some(declared) if declared.is_json() => Self::JsonOrBytes,
            Some(declared) if declared.is_text() => Self::TextOrBytes,
            Some(_) => Self::Bytes,
            None => Self::Any,
        }
    }

    const fn is_decided(self) -> bool {
        matches!(self, Self::Json | Self::Text | Self::Bytes)
    }

    /// Decides what is left open.
    fn decided(self, bytes: &[u8]) -> Self {
        let json = || json::parse(bytes).is_ok().then_some(Self::Json);
        let text = || std::str::from_utf8(bytes).is_ok().then_some(Self::Text);
        let decided = match self {
            Self::Json | Self::Text | Self::Bytes => return self,
            Self::JsonOrBytes => json(),
            Self::TextOrBytes => text(),
            Self::Any => json().or_else(text),
        };
        decided.unwrap_or(Self::Bytes)
    }
}

impl Payload {
    /// How deep a payload may be nested and still be [`Form::Json`], in arrays and objects.
    pub const MAX_JSON_DEPTH: u8 = json::MAX_DEPTH;

    /// Takes a payload. The declared type decides what it is, or the payload itself where none is declared.
    ///
    /// A payload that is not what its type says is [`Form::Bytes`]: nothing is guessed over a publisher's own word.
    #[must_use]
    pub fn of(declared: Option<&ContentType>, bytes: impl Into<Bytes>) -> Self {
        Self::known(bytes.into(), Kind::declared(declared))
    }

    const fn known(bytes: Bytes, kind: Kind) -> Self {
        Self { bytes, kind: AtomicU8::new(kind as u8) }
    }

    /// Takes a payload from its publisher, with the declared type or the one that fits. A payload of a declared JSON
    /// type must be JSON; if it is not, the error says why, and where.
    pub fn checked(declared: Option<ContentType>, bytes: impl Into<Bytes>) -> Result<(ContentType, Self), JsonError> {
        let bytes = bytes.into();
        match declared {
            Some(declared) if declared.is_json() => {
                json::parse(&bytes)?;
                Ok((declared, Self::known(bytes, Kind::Json)))
            }
            Some(declared) => {
                let payload = Self::of(Some(&declared), bytes);
                Ok((declared, payload))
            }
            None => {
                let payload = Self::of(None, bytes);
                Ok((ContentType::of(&payload), payload))
            }
        }
    }

    /// Returns how it is shown to a client. What was decided is not looked at again, but for whether it is UTF-8.
    #[must_use]
    pub fn form(&self) -> Form<'_> {
        let text = || std::str::from_utf8(&self.bytes);
        let form = match self.kind() {
            Kind::Json => text().map(Form::Json).ok(),
            Kind::Text => text().map(Form::Text).ok(),
            _ => None,
        };
        form.unwrap_or(Form::Bytes(&self.bytes))
    }

    /// Decides what it is, if that is still open. Two threads that decide at once come to the same.
    fn kind(&self) -> Kind {
        let kind = self.remembered();
        if kind.is_decided() {
            return kind;
        }
        let decided = kind.decided(&self.bytes);
        self.kind.store(decided as u8, Ordering::Relaxed);
        decided
    }

    fn remembered(&self) -> Kind {
        let number = self.kind.load(Ordering::Relaxed);
        Kind::ALL.into_iter().find(|kind| *kind as u8 == number).unwrap_or(Kind::Any)
    }
}

impl Clone for Payload {
    fn clone(&self) -> Self {
        Self::known(self.bytes.clone(), self.remembered())
    }
}

impl PartialEq for Payload {
    /// Compares the bytes and how they are shown; whether that was decided before makes no difference.
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.kind() == other.kind()
    }
}

impl Eq for Payload {}

impl Deref for Payload {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl From<Payload> for Bytes {
    fn from(payload: Payload) -> Self {
        payload.bytes
    }
}

impl fmt::Debug for Payload {
    /// Shows what it is but not what it says, which belongs in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({:?}, {} bytes)", self.remembered(), self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payload(declared: &str, payload: &'static [u8]) -> Payload {
        Payload::of(ContentType::new(declared).ok().as_ref(), payload)
    }

    #[test]
    fn the_declared_type_decides() {
        assert_eq!(payload("application/json", b"{\"a\":1}").form(), Form::Json("{\"a\":1}"));
        assert_eq!(payload("application/vnd.x+JSON; v=1", b"[]").form(), Form::Json("[]"));
        assert_eq!(payload("application/json", b"{nope").form(), Form::Bytes(b"{nope"));
        assert_eq!(payload("text/plain", b"{}").form(), Form::Text("{}"));
        assert_eq!(payload("Text/CSV", b"a,b").form(), Form::Text("a,b"));
        assert_eq!(payload("text/plain", b"\xe4").form(), Form::Bytes(b"\xe4"));
        assert_eq!(payload("image/png", b"{}").form(), Form::Bytes(b"{}"));
        assert_eq!(payload("application/json", b"").form(), Form::Bytes(b""));
        assert_eq!(payload("text/json", b"{nope").form(), Form::Bytes(b"{nope"));
    }

    #[test]
    fn without_a_type_the_payload_is_looked_at() {
        assert_eq!(Payload::of(None, &b"{}"[..]).form(), Form::Json("{}"));
        assert_eq!(Payload::of(None, &b"hello"[..]).form(), Form::Text("hello"));
        assert_eq!(Payload::of(None, &b""[..]).form(), Form::Text(""));
        assert_eq!(Payload::of(None, &b"\xff"[..]).form(), Form::Bytes(b"\xff"));
        assert!(ContentType::of(&Payload::of(None, &b"17"[..])).is_json());
    }

    #[test]
    fn refuses_a_type_that_could_split_a_header() {
        for bad in ["", "text/plain\r\nX: y", "a\0b"] {
            assert!(ContentType::new(bad).is_err());
        }
        assert!(ContentType::new(&"x".repeat(256)).is_err());
        assert!(ContentType::new("application/x-www-form-urlencoded; charset=utf-8").unwrap().is_form());
    }

    #[test]
    fn what_a_payload_is_is_decided_once_and_remembered_by_its_clones() {
        let taken = Payload::known(Bytes::from_static(b"{nope"), Kind::Json);
        assert_eq!((taken.form(), taken.clone().form()), (Form::Json("{nope"), Form::Json("{nope")));
        let open = payload("application/json", b"{}");
        assert_eq!((open.remembered(), open.clone().remembered()), (Kind::JsonOrBytes, Kind::JsonOrBytes));
        assert_eq!(open.form(), Form::Json("{}"));
        assert_eq!((open.remembered(), open.clone().remembered()), (Kind::Json, Kind::Json));
        let (_, checked) = Payload::checked(Some(ContentType::json()), &b"[]"[..]).unwrap();
        assert_eq!(checked.remembered(), Kind::Json);
        assert_eq!(size_of::<Payload>(), size_of::<Bytes>() + 8);
    }

    proptest! {
        #[test]
        fn a_payload_is_shown_whole_and_as_what_it_is(
            declared in prop::option::of("(text/plain|text/json|application/json|image/png)"),
            bytes in prop_oneof![
                "[\\[\\]{}:,\"a0. tru-]{0,12}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..12),
            ],
        ) {
            let declared = declared.map(|text| ContentType::new(&text).unwrap());
            let is_json = serde_json::from_slice::<serde_json::Value>(&bytes).is_ok();
            let may_be = |kind: fn(&ContentType) -> bool| declared.as_ref().is_none_or(kind);
            let payload = Payload::of(declared.as_ref(), bytes.clone());
            let undecided = payload.clone();
            prop_assert_eq!((payload.form(), &payload), (undecided.form(), &undecided));
            match payload.form() {
                Form::Json(text) => prop_assert!(text.as_bytes() == bytes && is_json && may_be(ContentType::is_json)),
                Form::Text(text) => prop_assert!(text.as_bytes() == bytes && may_be(ContentType::is_text)),
                Form::Bytes(shown) => {
                    prop_assert!(shown == bytes && !(is_json && may_be(ContentType::is_json)));
                    prop_assert!(declared.is_some() || std::str::from_utf8(&bytes).is_err());
                }
            }
            let must_be_json = declared.as_ref().is_some_and(ContentType::is_json);
            match Payload::checked(declared.clone(), bytes) {
                Ok((content_type, checked)) => {
                    prop_assert!(checked == payload && (is_json || !must_be_json));
                    // Read again under the type that it got, it is the same.
                    prop_assert_eq!(&Payload::of(Some(&content_type), Bytes::from(checked.clone())), &checked);
                }
                Err(_) => prop_assert!(must_be_json && !is_json),
            }
        }
    }
}
