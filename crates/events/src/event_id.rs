//! The identity of an event.

use std::{fmt, str::FromStr, sync::Arc};

use uuid::Uuid;

use crate::is_token_byte;

/// Identifies one event: 1–80 bytes of `[A-Za-z0-9._~-]`, normally a UUID.
///
/// The limit leaves room for the rest of a last-seen token, which is at most 128 bytes and contains the id.
/// Ids are compared for equality only: publishers' clocks differ, so their order means nothing.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventId(Arc<str>);

impl EventId {
    /// The longest id, in bytes.
    pub const MAX_LEN: usize = 80;

    /// The namespace (RFC 9562, section 5.5) of ids that stand for a `message_id` which is no token.
    const FOREIGN: Uuid = Uuid::from_u128(0x6f0a_1d5e_7c5b_5a53_9d3b_8f6f_2a1c_77e4);

    /// Makes a new id: a UUID version 7 (RFC 9562), which starts with the current time in milliseconds.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7().to_string().into())
    }

    /// Takes the id that any publisher gave its event: an AMQP `message_id`, or an `Event-Id` over HTTP.
    ///
    /// A UUID in any spelling (upper case, without hyphens, …) becomes its usual one; any other token is taken as it
    /// is. Any other text (spaces, up to 255 bytes, …) is mapped to a UUID version 5 of it, so that the event keeps its
    /// identity over repeats. An empty text is no identity: `None`.
    #[must_use]
    pub fn from_publisher(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        if let Ok(uuid) = Uuid::try_parse(text) {
            return Some(uuid.into());
        }
        Some(text.parse().unwrap_or_else(|_| Uuid::new_v5(&Self::FOREIGN, text.as_bytes()).into()))
    }

    /// Takes the id of a `CloudEvent`, which is unique together with its source alone: two producers may both count from 1.
    ///
    /// A UUID in any spelling becomes its usual one; any other is mapped to a UUID version 5 of both. An empty text is no
    /// identity: `None`.
    #[must_use]
    pub fn from_cloud_event(source: &str, id: &str) -> Option<Self> {
        // With a space in between the text is no token, and so it is mapped.
        if Uuid::try_parse(id).is_ok() || id.is_empty() {
            Self::from_publisher(id)
        } else {
            Self::from_publisher(&format!("{source} {id}"))
        }
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the milliseconds since 1970 that a UUID version 7 carries; `None` for any other id.
    #[must_use]
    pub fn unix_millis(&self) -> Option<u64> {
        let uuid = Uuid::try_parse(&self.0).ok()?;
        // RFC 9562, section 5.7: the first 48 bits of a version 7 UUID are the time.
        (uuid.get_version_num() == 7).then(|| u64::try_from(uuid.as_u128() >> 80).unwrap_or(u64::MAX))
    }
}

impl Default for EventId {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Uuid> for EventId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid.to_string().into())
    }
}

/// Why a text is no [`EventId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event id has 1 to {} bytes of A-Z a-z 0-9 . _ ~ -", EventId::MAX_LEN)]
pub struct EventIdError;

impl FromStr for EventId {
    type Err = EventIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(is_token_byte);
        if fits { Ok(Self(text.into())) } else { Err(EventIdError) }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_id_keeps_its_identity() {
        let long = "x".repeat(255);
        let first = EventId::from_publisher(&long).unwrap();
        assert_eq!(first, EventId::from_publisher(&long).unwrap());
        assert_ne!(first, EventId::from_publisher(&"y".repeat(255)).unwrap());
        assert_eq!(EventId::from_publisher("order-17").unwrap().as_str(), "order-17");
        assert_eq!(EventId::from_publisher(""), None);
    }

    #[test]
    fn two_sources_may_give_the_same_id() {
        let of = |source, id| EventId::from_cloud_event(source, id);
        assert_eq!(of("/a", "1"), of("/a", "1"));
        assert_ne!(of("/a", "1"), of("/b", "1"));
        assert_eq!(of("/a", ""), None);
        let uuid = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(of("/a", &uuid.to_uppercase()).unwrap().as_str(), uuid);
    }

    #[test]
    fn a_uuid_has_one_spelling() {
        let usual = "01890a5d-ac96-774b-bcce-b302099a8057";
        for text in [usual, "01890A5D-AC96-774B-BCCE-B302099A8057", "01890a5dac96774bbcceb302099a8057"] {
            assert_eq!(EventId::from_publisher(text).unwrap().as_str(), usual, "{text}");
        }
    }

    #[test]
    fn only_version_7_tells_the_time() {
        let id: EventId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        assert_eq!(id.unix_millis(), Some(0x0189_0a5d_ac96));
        assert_eq!(EventId::from(Uuid::new_v4()).unix_millis(), None);
        assert_eq!("tick".parse::<EventId>().unwrap().unix_millis(), None);
    }
}
