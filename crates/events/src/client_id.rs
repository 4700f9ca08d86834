//! The name of one reader.

use std::{fmt, str::FromStr, sync::Arc};

use crate::is_token_byte;

/// Names one reader: 1–128 bytes of `[A-Za-z0-9._~-]`.
///
/// Where there is no authentication, knowing the id is the right to read: it should be unguessable. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// The longest id, in bytes.
    pub const MAX_LEN: usize = 128;

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no [`ClientId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientIdError {
    /// Empty or longer than [`ClientId::MAX_LEN`].
    #[error("a client id has 1 to {max} bytes, this one has {0}", max = ClientId::MAX_LEN)]
    Length(usize),
    /// A byte outside the alphabet.
    #[error("a client id is made of A-Z a-z 0-9 . _ ~ -, but byte {0} of this one is something else")]
    Byte(usize),
}

impl FromStr for ClientId {
    type Err = ClientIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > Self::MAX_LEN {
            return Err(ClientIdError::Length(text.len()));
        }
        match text.bytes().position(|byte| !is_token_byte(byte)) {
            Some(at) => Err(ClientIdError::Byte(at)),
            None => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_every_unreserved_character_up_to_the_limit() {
        assert!("aZ09._~-".parse::<ClientId>().is_ok());
        assert!("a".repeat(ClientId::MAX_LEN).parse::<ClientId>().is_ok());
    }

    #[test]
    fn refuses_what_could_break_a_header_a_url_or_a_queue_name() {
        assert_eq!("".parse::<ClientId>(), Err(ClientIdError::Length(0)));
        assert_eq!("a".repeat(129).parse::<ClientId>(), Err(ClientIdError::Length(129)));
        for bad in ["a b", "a/b", "a\r\n", "a\0", "ä", "a%41", "a,b"] {
            assert!(matches!(bad.parse::<ClientId>(), Err(ClientIdError::Byte(_))), "{bad:?}");
        }
    }
}
