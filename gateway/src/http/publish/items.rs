//! The forms of a batch, and the events in it.
//!
//! What is wrong is told with the place of its event. The cost is bounded by the bytes of the body, and by
//! [`MAX_EVENTS`]: what follows them is not read.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use events::{ContentType, Event, EventId, Payload};
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{cloud_event, declared};
use crate::http::problem::{At, Problem};

/// How many events a batch has at most.
pub(in crate::http) const MAX_EVENTS: usize = 1000;

/// How a batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// An array of JSON.
    Array,
    /// A value of JSON on each line.
    Lines,
    /// Nothing is declared: an array begins with a bracket.
    Any,
    /// An array of `CloudEvents`.
    CloudEvents,
    /// One `CloudEvent`.
    CloudEvent,
}

/// An event of a batch.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) at: At,
    pub(super) event: Event,
}

/// An event as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    topic: String,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    text: Option<String>,
    data_base64: Option<String>,
    content_type: Option<String>,
    id: Option<String>,
}

/// Takes `null` for a value.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Format {
    /// Reads it from the type of the body. What `curl -d` declares for whatever it sends says nothing.
    pub(super) fn of(declared: Option<&ContentType>) -> Result<Self, Problem> {
        let Some(declared) = declared.filter(|declared| !declared.is_form()) else { return Ok(Self::Any) };
        match declared.essence().to_ascii_lowercase().as_str() {
            "application/json" => Ok(Self::Array),
            "application/cloudevents-batch+json" => Ok(Self::CloudEvents),
            "application/cloudevents+json" => Ok(Self::CloudEvent),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Self::Lines),
            _ => Err(Problem::BatchType),
        }
    }

    /// Returns the events of a body.
    pub(super) fn read(self, body: &[u8]) -> Result<Vec<Item>, Problem> {
        match self {
            Self::CloudEvents => array(body, cloud_event),
            Self::CloudEvent => Ok(vec![item(At::FIRST, body, cloud_event)?]),
            Self::Array => array(body, event),
            Self::Any if body.trim_ascii_start().starts_with(b"[") => array(body, event),
            Self::Any | Self::Lines => lines(body),
        }
    }
}

/// Reads one event; an error says what is wrong with it.
type Reader = fn(&[u8]) -> Result<Event, String>;

fn cloud_event(text: &[u8]) -> Result<Event, String> {
    cloud_event::structured(text, None)
}

fn array(body: &[u8], read: Reader) -> Result<Vec<Item>, Problem> {
    let (mut values, mut begun) = (Vec::new(), 0);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read_all = deserializer.deserialize_seq(Values { whole: &mut values, begun: &mut begun });
    let whole = read_all.and_then(|()| deserializer.end());
    if values.len() > MAX_EVENTS {
        return Err(Problem::BatchTooLong(MAX_EVENTS));
    }
    match whole {
        // It breaks off within an event, or is no JSON there.
        Err(error) if begun > values.len() => {
            return Err(Problem::WrongEvent(At { index: values.len(), line: None }, format!("it is no JSON: {error}")));
        }
        // What is wrong is beside all events.
        Err(error) => return Err(Problem::BadRequest(format!("the body is no array of JSON: {error}"))),
        Ok(()) => {}
    }
    let item = |(index, value): (usize, &RawValue)| item(At { index, line: None }, value.get().as_bytes(), read);
    values.into_iter().enumerate().map(item).collect()
}

/// Collects the elements of an array as they are written, and one too many at most.
struct Values<'v, 'de> {
    whole: &'v mut Vec<&'de RawValue>,
    /// How many have begun.
    begun: &'v mut usize,
}

/// Counts an element that begins.
struct Beginning<'b>(&'b mut usize);

impl<'de> DeserializeSeed<'de> for Beginning<'_> {
    type Value = &'de RawValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        *self.0 += 1;
        <&RawValue>::deserialize(deserializer)
    }
}

impl<'de> Visitor<'de> for Values<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element_seed(Beginning(self.begun))? {
            self.whole.push(element);
            if self.whole.len() > MAX_EVENTS {
                return Err(A::Error::custom("too many events"));
            }
        }
        Ok(())
    }
}

fn lines(body: &[u8]) -> Result<Vec<Item>, Problem> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).zip(1..).filter(|(line, _)| !line.is_empty());
    let mut items = Vec::new();
    for (index, (text, line)) in lines.enumerate() {
        if index == MAX_EVENTS {
            return Err(Problem::BatchTooLong(MAX_EVENTS));
        }
        items.push(item(At { index, line: Some(line) }, text, event)?);
    }
    Ok(items)
}

fn item(at: At, text: &[u8], read: Reader) -> Result<Item, Problem> {
    match read(text) {
        Ok(event) => Ok(Item { at, event }),
        Err(wrong) => Err(Problem::WrongEvent(at, wrong)),
    }
}

/// Reads one event; an error says what is wrong with it.
fn event(text: &[u8]) -> Result<Event, String> {
    // An array would be taken for the members in their order.
    if !text.starts_with(b"{") {
        return Err("it is no JSON object, such as {\"topic\":\"jobs.42\",\"data\":{}}".to_owned());
    }
    let written: Written<'_> = serde_json::from_slice(text).map_err(|error| words(&error))?;
    let topic = written.topic.parse().map_err(|error| format!("topic: {error}"))?;
    let id = written.id.as_deref().map(id).transpose()?;
    let declared = match written.content_type.as_deref().map(ContentType::new).transpose() {
        Ok(Some(declared)) if !declared.as_str().is_ascii() => return Err("content_type: it is not ASCII".to_owned()),
        Ok(declared) => declared,
        Err(error) => return Err(format!("content_type: {error}")),
    };
    let (content_type, payload) = match (written.data, written.text, written.data_base64) {
        (Some(data), None, None) => {
            if declared.as_ref().is_some_and(|declared| !declared.is_json()) {
                return Err(
                    "content_type: \"data\" is JSON; what is not JSON goes into \"text\" or \"data_base64\"".to_owned()
                );
            }
            checked(declared.unwrap_or_else(ContentType::json), Bytes::copy_from_slice(data.get().as_bytes()))?
        }
        (None, Some(text), None) => checked(declared.unwrap_or_else(ContentType::text), text.into())?,
        (None, None, Some(base64)) => {
            let bytes = STANDARD.decode(base64).map_err(|error| format!("data_base64: {error}"))?;
            checked(declared.unwrap_or_else(ContentType::bytes), bytes.into())?
        }
        (None, None, None) => return Err("one of \"data\", \"text\" and \"data_base64\" is missing".to_owned()),
        _ => return Err("\"data\", \"text\" and \"data_base64\": an event has one of them".to_owned()),
    };
    let mut event = Event::of(topic, Some(content_type), payload);
    event.id = id.unwrap_or_else(|| event.id.clone());
    Ok(event)
}

fn id(text: &str) -> Result<EventId, String> {
    declared::id_in(text).ok_or_else(|| format!("id: {}", declared::WHAT_AN_ID_IS))
}

fn checked(declared: ContentType, bytes: Bytes) -> Result<(ContentType, Payload), String> {
    Payload::checked(Some(declared), bytes).map_err(|error| {
        let depth = Payload::MAX_JSON_DEPTH;
        format!("the payload is not one JSON value (at most {depth} levels deep), as its type says: {error}")
    })
}

/// Says what is wrong without the line, which is that of the event and not of the body.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests;
