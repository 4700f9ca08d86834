//! Slots of time: polls that are held at one place are answered together, and with the same token.
//!
//! A shared cache keeps an answer under its URL, and the URL of a poll has its token. An empty answer that gave the same
//! token would lead its receivers back to itself, at once and for as long as it is kept. So it gives the same place with the
//! number of the next slot behind it: `{place}~{slot}`. A slot is counted from the clock, equally by every gateway, and its
//! end is the deadline of all polls that come in it. What a slot says of events is nothing: a place is the same with any slot
//! and without.
//!
//! For a poll of `wait` a slot lasts nine tenths of it, and a poll that comes in the last tenth belongs to the next one. So no
//! poll is held for longer than it asked, nor for less than a tenth, and a client that comes back a little too early, because
//! two clocks differ, finds the slot that it was sent to.

use std::{fmt, hash::Hasher, time::Duration};

use events::TopicPattern;

/// How far a slot may be ahead: each gateway that shuts down within one sends its clients one further.
const MAX_AHEAD: u64 = 64;

/// How many digits a slot has at most: in milliseconds since 1970, 15 digits last for 30,000 years.
const MAX_DIGITS: usize = 15;

/// The number of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(u64);

/// The slots of polls of one pattern that are held for equally long.
#[derive(Debug, Clone, Copy)]
pub struct Slots {
    /// In milliseconds, above 0.
    wait: u64,
    /// By how much its slots are earlier than those of other patterns, so that these do not end together.
    phase: u64,
}

/// For how long a poll is held, and where it is sent then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// How long it is held.
    pub time: Duration,
    /// The slot of its next poll if there is nothing; never the one that it came with.
    pub next: Slot,
}

impl Slot {
    /// Splits a token into its place and its slot, if it has one.
    #[must_use]
    pub fn split(token: &str) -> (&str, Option<Self>) {
        let has_slot = token.bytes().filter(|byte| *byte == b'~').count() == 3;
        let split = || {
            let (place, digits) = token.rsplit_once('~')?;
            let is_number = digits.len() <= MAX_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
            Some((place, Some(Self(digits.parse().ok().filter(|_| is_number)?))))
        };
        if has_slot { split().unwrap_or((token, None)) } else { (token, None) }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Slots {
    /// Returns those of a pattern and a `wait` above zero, of whole milliseconds.
    #[must_use]
    pub fn of(pattern: &TopicPattern, wait: Duration) -> Self {
        let mut hash = Fnv::default();
        hash.write(pattern.as_str().as_bytes());
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        Self { wait, phase: hash.finish() % wait }
    }

    /// Tells for how long a poll is held that comes so long after 1970, with this slot.
    ///
    /// A poll that comes with an old slot is sent to this one at once, so that all who are at its place ask the same again.
    #[must_use]
    pub fn hold(self, now: Duration, asked: Option<Slot>) -> Hold {
        let margin = self.wait / 10;
        let length = self.wait - margin;
        let now = u64::try_from(now.as_millis()).unwrap_or_default() + self.phase;
        let slot = (now + margin) / length;
        let held = |next| Hold { time: Duration::from_millis((slot + 1) * length - now), next: Slot(next) };
        match asked {
            None => held(slot + 1),
            Some(Slot(asked)) if (slot..=slot + MAX_AHEAD).contains(&asked) => held(asked + 1),
            Some(_) => Hold { time: Duration::ZERO, next: Slot(slot) },
        }
    }
}

/// The hash of Fowler, Noll and Vo (FNV-1a), which is the same in every build: gateways have to agree.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slot_is_what_comes_after_a_place() {
        for (token, place, slot) in [
            ("7~6~0000002a~12", "7~6~0000002a", Some(Slot(12))),
            ("7~6~0000002a", "7~6~0000002a", None),
            ("7~0000002a", "7~0000002a", None),
            ("now", "now", None),
            ("7~6~0000002a~", "7~6~0000002a~", None),
            ("7~6~0000002a~x", "7~6~0000002a~x", None),
            ("7~6~0000002a~+1", "7~6~0000002a~+1", None),
            ("7~6~0000002a~1234567890123456", "7~6~0000002a~1234567890123456", None),
            ("7~6~0000002a~1~2", "7~6~0000002a~1~2", None),
        ] {
            assert_eq!(Slot::split(token), (place, slot), "{token}");
        }
    }

    proptest! {
        /// Two polls of one slot end together, and no answer sends its receiver to the URL that it answers.
        #[test]
        fn all_who_come_in_one_slot_end_together(
            wait in 1_u64..=55,
            now in 0_u64..1 << 42,
            later in 0_u64..55_000,
            asked in proptest::option::of(0_u64..10_u64.pow(15)),
        ) {
            let wait = Duration::from_secs(wait);
            let slots = Slots::of(&"a.*".parse().unwrap(), wait);
            let (now, later) = (Duration::from_millis(now), Duration::from_millis(later));
            let asked = asked.map(Slot);
            let hold = slots.hold(now, asked);
            prop_assert_ne!(Some(hold.next), asked);
            prop_assert!(hold.time <= wait);
            let fresh = slots.hold(now, None);
            prop_assert!(fresh.time >= wait / 10 && fresh.time <= wait);
            let end = now + fresh.time;
            let other = slots.hold(now + later, None);
            if other.next == fresh.next {
                prop_assert_eq!(now + later + other.time, end);
            } else {
                prop_assert!(other.next > fresh.next && now + later + wait / 10 >= end);
            }
            // Who comes back a little too early, or too late, waits for the whole of the slot that it was sent to.
            for back in [end.saturating_sub(wait / 20), end, end + wait / 2] {
                let next = slots.hold(back, Some(fresh.next));
                prop_assert_eq!(back + next.time, end + wait * 9 / 10);
                prop_assert_eq!(next.next, Slot(fresh.next.0 + 1));
            }
            // An old slot is not waited for.
            let late = slots.hold(end + 2 * wait, Some(fresh.next));
            prop_assert_eq!(late.time, Duration::ZERO);
            prop_assert_eq!(slots.hold(end + 2 * wait, Some(late.next)).next, Slot(late.next.0 + 1));
        }
    }
}
