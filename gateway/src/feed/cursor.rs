//! The token by which a client of a Feed says what it has seen.

use std::{fmt, str::FromStr};

use crate::broker::log::Logged;

/// A place in the log and a check of the event before it, because an offset alone says nothing about which log it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Everything before this offset was seen, or was not what the client asked for.
    pub(super) next: u64,
    /// The check of the last event before it; 0 if there is none.
    pub(super) check: u32,
}

impl Cursor {
    /// Returns the place right behind an event.
    #[must_use]
    pub fn behind(logged: &Logged) -> Self {
        Self { next: logged.offset + 1, check: logged.event.check(0) }
    }

    /// Tells whether there was no event before it, so that there is nothing to compare it by.
    pub(super) const fn is_behind_none(self) -> bool {
        self.check == 0
    }

    /// Tells whether this is the event that the place is behind.
    pub(super) fn is_behind(&self, logged: &Logged) -> bool {
        *self == Self::behind(logged)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{:08x}", self.next, self.check)
    }
}

/// Where a poll wants to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It does not say: with the newest event of each topic.
    Newest,
    /// At the oldest event that is kept.
    Oldest,
    /// With what comes from now on.
    Now,
    /// Behind what it has seen.
    Behind(Cursor),
    /// At a place that is none of this log.
    Elsewhere,
}

impl Start {
    /// Returns the place of a client that has one.
    pub(super) const fn place(self) -> Option<Cursor> {
        match self {
            Self::Behind(cursor) => Some(cursor),
            Self::Newest | Self::Oldest | Self::Now | Self::Elsewhere => None,
        }
    }
}

impl FromStr for Start {
    type Err = std::convert::Infallible;

    /// Reads `oldest`, `now`, or a token. What is none of them was not given out for this log.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let cursor = || {
            let (next, check) = text.split_once('~')?;
            Some(Cursor { next: next.parse().ok()?, check: u32::from_str_radix(check, 16).ok()? })
        };
        Ok(match text {
            "oldest" => Self::Oldest,
            "now" => Self::Now,
            _ => cursor().map_or(Self::Elsewhere, Self::Behind),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_was() {
        let cursor = Cursor { next: 1042, check: 0x0abc };
        assert_eq!(cursor.to_string(), "1042~00000abc");
        assert_eq!(cursor.to_string().parse(), Ok(Start::Behind(cursor)));
        for (text, start) in
            [("oldest", Start::Oldest), ("now", Start::Now), ("", Start::Elsewhere), ("7~", Start::Elsewhere)]
        {
            assert_eq!(text.parse(), Ok(start), "{text}");
        }
    }
}
