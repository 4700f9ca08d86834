//! The token by which a client of a Feed says what it has seen.

use std::{fmt, str::FromStr};

use broker::log::Logged;

/// A place in the log and a check of the event before it, because an offset alone says nothing about which log it is
/// of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Everything before this offset was seen, or was not what the client asked for.
    pub(super) next: u64,
    /// The check of the last event before it; 0 if there is none.
    pub(super) check: u32,
}

impl Cursor {
    /// Returns the place right after an event.
    #[must_use]
    pub fn after(logged: &Logged) -> Self {
        Self { next: logged.offset + 1, check: logged.event.check(0) }
    }

    /// Tells whether there was no event before it, so that there is nothing to compare it by.
    pub(super) const fn has_no_event_before(self) -> bool {
        self.check == 0
    }

    /// Tells whether this is the event that the place is after.
    pub(super) fn is_after(&self, logged: &Logged) -> bool {
        *self == Self::after(logged)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{:0CHECK_DIGITS$x}", self.next, self.check)
    }
}

/// How many digits the check of a place has.
const CHECK_DIGITS: usize = 8;

/// Where a poll wants to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It does not say: with the newest event of each topic.
    Newest,
    /// At the oldest event that is kept.
    Oldest,
    /// With what comes from now on.
    Now,
    /// After what it has seen.
    After(Cursor),
    /// At a place that is none of this log.
    Unknown,
}

impl Cursor {
    /// Parses the place at the start of an entity tag. A proxy that compresses an answer appends a suffix to its tag:
    /// `-gzip`, `;br`.
    #[must_use]
    pub fn beginning(text: &str) -> Option<Self> {
        let (next, check) = text.split_once('~')?;
        let (check, added) = check.split_at_checked(CHECK_DIGITS)?;
        if added.starts_with(|next: char| next.is_ascii_alphanumeric()) {
            return None;
        }
        Self::of(next, check)
    }

    fn of(next: &str, check: &str) -> Option<Self> {
        Some(Self { next: next.parse().ok()?, check: u32::from_str_radix(check, 16).ok()? })
    }
}

impl Start {
    /// Returns the place of a client that has one.
    pub(super) const fn place(self) -> Option<Cursor> {
        match self {
            Self::After(cursor) => Some(cursor),
            Self::Newest | Self::Oldest | Self::Now | Self::Unknown => None,
        }
    }

    /// Tells whether a client goes on from here to what is new to it. What a client without a place gets first may be
    /// old.
    #[must_use]
    pub const fn goes_on(self) -> bool {
        matches!(self, Self::Now | Self::After(_))
    }
}

impl FromStr for Start {
    type Err = std::convert::Infallible;

    /// Reads `oldest`, `now`, or a token. What is none of them was not given out for this log.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let cursor = || text.split_once('~').and_then(|(next, check)| Cursor::of(next, check));
        Ok(match text {
            "oldest" => Self::Oldest,
            "now" => Self::Now,
            _ => cursor().map_or(Self::Unknown, Self::After),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_before_what_a_proxy_adds() {
        let cursor = Cursor { next: 4, check: 0x5ab5_3095 };
        for tag in ["4~5ab53095", "4~5ab53095-gzip", "4~5ab53095--br", "4~5ab53095;gzip", "4~5ab53095/zstd"] {
            assert_eq!(Cursor::beginning(tag), Some(cursor), "{tag}");
        }
        for tag in ["", "4~", "4~5ab53095f", "4~5ab5309", "~5ab53095", "urn:uuid:1", "4~5ab5309ü"] {
            assert_eq!(Cursor::beginning(tag), None, "{tag}");
        }
    }

    #[test]
    fn a_token_comes_back_as_it_was() {
        let cursor = Cursor { next: 1042, check: 0x0abc };
        assert_eq!(cursor.to_string(), "1042~00000abc");
        assert_eq!(cursor.to_string().parse(), Ok(Start::After(cursor)));
        for (text, start) in
            [("oldest", Start::Oldest), ("now", Start::Now), ("", Start::Unknown), ("7~", Start::Unknown)]
        {
            assert_eq!(text.parse(), Ok(start), "{text}");
        }
    }
}
