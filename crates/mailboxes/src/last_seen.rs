//! The token by which a client says what it saw last.
//!
//! Within its own Lease a token names an exact place. After that Lease is gone only the events themselves can be looked
//! for, and ids can repeat in a queue. So the token carries a check of everything that it confirms, from the front of
//! the window up to its event: it fits only where just that run stands at the head again. To clients it is opaque.

use std::{fmt, str::FromStr};

use broker::handover::Instance;
use events::{EventId, is_token_byte};

/// The longest token, in bytes.
const MAX_LEN: usize = 128;

/// Separates the parts; ids may contain it, so a token is read from its end.
const SEPARATOR: char = '~';

/// What a client saw last: `{id}~{lease}~{tag}~{check}`, at most 128 bytes of `[A-Za-z0-9._~-]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastSeen {
    /// The event or marker; `None` if the token was not made here.
    pub(super) event: Option<SeenEvent>,
    /// Its place, if the token is one of ours.
    pub(super) place: Option<Place>,
    text: String,
}

/// The event that a token names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeenEvent {
    pub(super) id: EventId,
    /// Of the run that ends with it; `None` for a token that is only an id, which confirms nothing.
    pub(super) check: Option<u32>,
}

/// A place within one Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) lease: u64,
    pub(super) tag: u64,
}

impl Place {
    /// Tells whether a confirm of this place confirms that one.
    pub(super) const fn includes(self, other: Self) -> bool {
        self.lease == other.lease && other.tag <= self.tag
    }
}

impl LastSeen {
    /// Makes the token of one delivery; the check is of the run that ends with it.
    pub(super) fn new(id: EventId, place: Place, check: u32) -> Self {
        let text = format!("{id}{SEPARATOR}{:016x}{SEPARATOR}{}{SEPARATOR}{check:08x}", place.lease, place.tag);
        Self { event: Some(SeenEvent { id, check: Some(check) }), place: Some(place), text }
    }

    /// Returns a token that matches no delivery, for a client whose last event is one of another system.
    #[must_use]
    pub fn elsewhere() -> Self {
        Self { event: None, place: None, text: "elsewhere".to_owned() }
    }

    /// Returns which process made the token: see [`Context::next_lease`](super::context::Context::next_lease).
    pub(super) fn instance(&self) -> Option<Instance> {
        self.place.and_then(|place| u32::try_from(place.lease >> u32::BITS).ok()).map(Instance)
    }

    /// Tells whether it was made under this Lease.
    pub(super) fn is_of(&self, lease: u64) -> bool {
        self.place.is_some_and(|place| place.lease == lease)
    }

    /// Returns the id of the event, for an operator's eyes.
    #[must_use]
    pub fn event_id(&self) -> Option<&EventId> {
        self.event.as_ref().map(|event| &event.id)
    }

    /// Returns the token as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A text cannot be a last-seen token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a last-seen token has 1 to {MAX_LEN} bytes of A-Z a-z 0-9 . _ ~ -; echo the one of the last answer unchanged")]
pub struct LastSeenError;

impl FromStr for LastSeen {
    type Err = LastSeenError;

    /// Takes any text of the alphabet: a token that fits nothing confirms nothing.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > MAX_LEN || !text.bytes().all(is_token_byte) {
            return Err(LastSeenError);
        }
        if let Some((event, place)) = parts(text) {
            return Ok(Self { event: Some(event), place: Some(place), text: text.to_owned() });
        }
        let event = text.parse().ok().map(|id| SeenEvent { id, check: None });
        Ok(Self { event, place: None, text: text.to_owned() })
    }
}

fn parts(text: &str) -> Option<(SeenEvent, Place)> {
    let mut parts = text.rsplitn(4, SEPARATOR);
    let check = u32::from_str_radix(parts.next()?, 16).ok()?;
    let tag = parts.next()?.parse().ok()?;
    let lease = u64::from_str_radix(parts.next()?, 16).ok()?;
    let id = parts.next()?.parse().ok()?;
    Some((SeenEvent { id, check: Some(check) }, Place { lease, tag }))
}

impl fmt::Display for LastSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_token_fits_and_comes_back() {
        let id: EventId = format!("~{}", "i".repeat(EventId::MAX_LEN - 1)).parse().unwrap();
        let token = LastSeen::new(id, Place { lease: u64::MAX, tag: u64::MAX }, u32::MAX);
        assert!(token.as_str().len() <= MAX_LEN, "{}", token.as_str().len());
        assert_eq!(token.as_str().parse(), Ok(token));
    }

    #[test]
    fn a_bare_id_is_a_token_without_a_place() {
        let token: LastSeen = "order-17".parse().unwrap();
        assert_eq!((token.event_id().unwrap().as_str(), token.place), ("order-17", None));
    }

    #[test]
    fn a_strange_token_names_nothing_and_a_wrong_one_is_refused() {
        assert_eq!("x".repeat(128).parse::<LastSeen>().unwrap().event, None);
        for bad in ["", "a b", "a\"", "ü", &"x".repeat(129)] {
            assert_eq!(bad.parse::<LastSeen>(), Err(LastSeenError), "{bad}");
        }
    }
}
