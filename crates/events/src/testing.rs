//! Events for tests: each has a number as its payload, in text, by which a test knows it again.

use std::{
    fmt::{Debug, Display},
    str::FromStr,
};

use crate::Event;

/// Returns an event of a topic with this number.
///
/// # Panics
///
/// If the topic is none.
#[must_use]
#[track_caller]
pub fn event(topic: &str, number: impl Display) -> Event {
    let topic = topic.parse().unwrap_or_else(|error| panic!("{topic:?} is no topic: {error}"));
    Event::new(topic, None, number.to_string())
}

/// Returns the number of an event.
///
/// # Panics
///
/// If its payload is no number.
#[must_use]
#[track_caller]
pub fn number<N: FromStr<Err: Debug>>(event: &Event) -> N {
    let text = String::from_utf8_lossy(&event.payload);
    text.parse().unwrap_or_else(|error| panic!("{text:?} is no number: {error:?}"))
}

/// Returns the numbers of events, in order.
///
/// # Panics
///
/// If a payload is no number.
#[must_use]
#[track_caller]
pub fn numbers<'a, N: FromStr<Err: Debug>>(events: impl IntoIterator<Item = &'a Event>) -> Vec<N> {
    let mut numbers = Vec::new();
    for event in events {
        numbers.push(number(event));
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Payload;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        let events = [event("a", 0), event("a.b", usize::MAX), event("c", 7_u8)];
        assert_eq!(numbers::<usize>(&events), [0, usize::MAX, 7]);
        assert_eq!((events[1].topic.as_str(), &events[1].content_type), ("a.b", &None));
    }

    #[test]
    #[should_panic(expected = "is no number")]
    fn another_payload_is_no_number() {
        let _: u64 = number(&Event { payload: Payload::of(None, "1 "), ..event("a", 0) });
    }
}
