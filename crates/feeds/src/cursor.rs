//! The token by which a client of a Feed says what it has seen.
//!
//! An offset alone says nothing about which log it is of, so a place has something to compare besides: the last event
//! that the client asked for, which it has, and not the last one of all: that can be one which it may not read.

use std::{fmt, str::FromStr};

use broker::log::Logged;

use super::slot::Slot;

/// A place in the log, and what of it can be compared: `{next}~{after}~{check}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Everything before this offset was seen, or was not what the client asked for.
    pub(super) next: u64,
    pub(super) seen: Seen,
}

/// What a place is compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// No event is known that the client asked for; the id of the log.
    Nothing(u32),
    /// The last event before the place that the client asked for.
    Event(Mark),
    /// The check of the last event before the place, whatever that is: so older gateways wrote it, `{next}~{check}`. 0
    /// if there was none.
    LastOfAll(u32),
}

/// An event, as a place names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) offset: u64,
    pub(super) check: u32,
}

impl Default for Seen {
    fn default() -> Self {
        Self::Nothing(0)
    }
}

impl Seen {
    /// Returns what is still to be compared at a later place, up to which there was nothing for the client.
    const fn moved(self, log: u32) -> Self {
        match self {
            Self::LastOfAll(_) => Self::Nothing(log),
            Self::Nothing(_) | Self::Event(_) => self,
        }
    }
}

impl Mark {
    pub(super) fn of(logged: &Logged) -> Self {
        Self { offset: logged.offset, check: logged.event.check(0) }
    }
}

impl Cursor {
    /// Returns the place right after an event that the client asked for.
    #[must_use]
    pub fn after(logged: &Logged) -> Self {
        Self { next: logged.offset.saturating_add(1), seen: Seen::Event(Mark::of(logged)) }
    }

    /// Tells whether no other log has this place: it names an event, or the log. A log of RabbitMQ has no number, which is
    /// then 0.
    #[must_use]
    pub const fn names_its_log(self) -> bool {
        match self.seen {
            Seen::Event(_) => true,
            Seen::Nothing(number) | Seen::LastOfAll(number) => number != 0,
        }
    }

    /// Returns the event that is to be compared, where there was one.
    pub(super) fn mark(self) -> Option<Mark> {
        match self.seen {
            Seen::Nothing(_) => None,
            Seen::Event(mark) => Some(mark),
            Seen::LastOfAll(check) => Some(Mark { offset: self.next.checked_sub(1)?, check }),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As `next` is after everything, so is this after an event; 0 is before all of them.
        let (after, check) = match self.seen {
            Seen::Nothing(log) => (0, log),
            Seen::Event(Mark { offset, check }) => (offset + 1, check),
            Seen::LastOfAll(check) => return write!(f, "{}~{check:0CHECK_DIGITS$x}", self.next),
        };
        write!(f, "{}~{after}~{check:0CHECK_DIGITS$x}", self.next)
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
        let (before, _) = text.char_indices().filter(|(_, char)| *char == '~').take(2).last()?;
        let (check, added) = text[before + 1..].split_at_checked(CHECK_DIGITS)?;
        if added.starts_with(|next: char| next.is_ascii_alphanumeric()) {
            return None;
        }
        Self::of(&text[..before], check)
    }

    fn of(places: &str, check: &str) -> Option<Self> {
        let check = u32::from_str_radix(check, 16).ok()?;
        let Some((next, after)) = places.split_once('~') else {
            return Some(Self { next: places.parse().ok()?, seen: Seen::LastOfAll(check) });
        };
        let (next, after): (u64, u64) = (next.parse().ok()?, after.parse().ok()?);
        let event = |offset| Seen::Event(Mark { offset, check });
        let seen = after.checked_sub(1).map_or(Seen::Nothing(check), event);
        (after <= next).then_some(Self { next, seen })
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

    /// Returns the place of a client for which there was nothing from here up to an offset, in a log with this id.
    pub(super) const fn moved_to(self, next: u64, log: u32) -> Cursor {
        let seen = match self {
            Self::After(cursor) => cursor.seen.moved(log),
            Self::Newest | Self::Oldest | Self::Now | Self::Unknown => Seen::Nothing(log),
        };
        Cursor { next, seen }
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

    /// Reads `oldest`, `now`, or a token, also one with a slot. What is none of them was not given out for this log.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (text, _) = Slot::split(text);
        let cursor = || text.rsplit_once('~').and_then(|(places, check)| Cursor::of(places, check));
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
        let check = 0x5ab5_3095;
        for (place, seen) in [
            ("4~5ab53095", Seen::LastOfAll(check)),
            ("4~3~5ab53095", Seen::Event(Mark { offset: 2, check })),
            ("4~0~5ab53095", Seen::Nothing(check)),
        ] {
            for added in ["", "-gzip", "--br", ";gzip", "/zstd"] {
                let tag = format!("{place}{added}");
                assert_eq!(Cursor::beginning(&tag), Some(Cursor { next: 4, seen }), "{tag}");
            }
        }
        assert!(Cursor::beginning("4~3~5ab53095~12").is_some());
        for tag in [
            "",
            "4~",
            "4~5ab53095f",
            "4~5ab5309",
            "~5ab53095",
            "urn:uuid:1",
            "4~5ab5309ü",
            "4~3~5ab5309",
            "4~~5ab53095",
            "4~5~5ab53095",
        ] {
            assert_eq!(Cursor::beginning(tag), None, "{tag}");
        }
    }

    #[test]
    fn a_token_comes_back_as_it_was() {
        for (seen, text) in [
            (Seen::LastOfAll(0x0abc), "1042~00000abc"),
            (Seen::Event(Mark { offset: 0, check: 0x0abc }), "1042~1~00000abc"),
            (Seen::Event(Mark { offset: 1041, check: 0 }), "1042~1042~00000000"),
            (Seen::Nothing(0), "1042~0~00000000"),
        ] {
            let cursor = Cursor { next: 1042, seen };
            assert_eq!(cursor.to_string(), text);
            assert_eq!(text.parse(), Ok(Start::After(cursor)));
            let is_old = matches!(seen, Seen::LastOfAll(_));
            assert_eq!(format!("{text}~12").parse(), Ok(if is_old { Start::Unknown } else { Start::After(cursor) }));
        }
        for (text, start) in [
            ("oldest", Start::Oldest),
            ("now", Start::Now),
            ("", Start::Unknown),
            ("7~", Start::Unknown),
            ("7~8~00000abc", Start::Unknown),
            ("7~6~5~00000abc", Start::Unknown),
        ] {
            assert_eq!(text.parse(), Ok(start), "{text}");
        }
    }
}
