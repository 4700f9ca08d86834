//! Where events come from: the one thing in which the commands differ.
//!
//! A [`Source`] is asked for its next event only when the window has room, so it never runs ahead of the confirms; and
//! it is asked no more once a stop was asked for. What it cannot make an event of is an [`Input::Unusable`], which
//! is reported and does not stop the others.

use bytes::Bytes;
use events::{ContentType, Event, Payload, Topic};

/// The most that RabbitMQ takes in one message unless it is configured otherwise: 128 MiB (16 MiB since 4.0).
pub(crate) const MAX_PAYLOAD: usize = 128 << 20;

/// An event on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) event: Event,
    /// The line of the input that it came from, counted from 1.
    pub(crate) line: Option<u64>,
}

/// What a source yields.
#[derive(Debug)]
pub(crate) enum Input {
    Event(Outgoing),
    /// Something that is no event: its line, counted from 1, and why.
    Unusable {
        line: Option<u64>,
        reason: String,
    },
}

/// What order the readers of a source's events are promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// That of the source, over all topics.
    Source,
    /// That of the source within each topic.
    Topic,
    /// Any: there is one event.
    Single,
    /// That of the source, and only the newest matters: what was not sent yet may be replaced ([`Source::put_back`]).
    Newest,
}

/// A sequence of events.
pub(crate) trait Source {
    /// Returns the next event, or `None` at the end. Cancel-safe: nothing is lost when the future is dropped.
    ///
    /// An error is about the input as a whole; the source is asked no more after it.
    async fn next(&mut self) -> anyhow::Result<Option<Input>>;

    /// Returns the order in which the events have to be stored.
    fn order(&self) -> Order {
        Order::Source
    }

    /// Takes an event back that was never sent, and for which time has passed: the source may have a newer one by now,
    /// which it yields next. Only asked of sources whose order is [`Order::Newest`].
    fn put_back(&mut self, _: Outgoing) {}

    /// Hears that the event yielded last is stored, and returns what to tell the user at once.
    fn stored(&mut self) -> Option<String> {
        None
    }

    /// Hears that what was yielded last is given up, and returns what to tell the user at once.
    fn given_up(&mut self, _reason: &str) -> Option<String> {
        None
    }

    /// Returns how many events there will be, if that is known.
    fn total(&self) -> Option<u64> {
        None
    }

    /// Tells whether only a signal ends this source, so that being stopped is how it should end.
    fn is_endless(&self) -> bool {
        false
    }

    /// Returns what goes to standard output once everything is confirmed.
    fn result(&self) -> Option<String> {
        None
    }

    /// Says what is left when the source is stopped before its end. `None`: nothing.
    fn unread(&self) -> Option<String>;
}

/// Makes an event, or says why not.
///
/// A declared JSON type must hold JSON, as at the gateway: readers would get such a payload as bytes.
pub(crate) fn compose(topic: Topic, content_type: Option<&ContentType>, payload: Bytes) -> Result<Event, String> {
    let declared = content_type.map_or("", ContentType::as_str);
    let wrong = |error| format!("the payload is not JSON, but the content type says {declared}: {error}");
    let (content_type, payload) = Payload::checked(content_type.cloned(), payload).map_err(wrong)?;
    Ok(Event::of(topic, Some(content_type), payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_what_it_looks_like_unless_its_type_is_given() {
        let made = |declared: Option<&str>, payload: &'static [u8]| {
            let declared = declared.map(|text| ContentType::new(text).unwrap());
            compose("a".parse().unwrap(), declared.as_ref(), payload.into())
        };
        let type_of = |made: Result<Event, String>| made.unwrap().content_type.unwrap().as_str().to_owned();
        assert_eq!(type_of(made(None, b"{}")), "application/json");
        assert_eq!(type_of(made(None, b"hello")), "text/plain; charset=utf-8");
        assert_eq!(type_of(made(None, b"\xff")), "application/octet-stream");
        assert_eq!(type_of(made(Some("image/png"), b"{}")), "image/png");
        assert!(made(Some("application/problem+json"), b"{nope").unwrap_err().contains("not JSON"));
        let error = made(Some("application/json"), b"{\n\"a\": nope}").unwrap_err();
        assert!(error.ends_with("line 2 column 7"), "{error}");
    }
}
