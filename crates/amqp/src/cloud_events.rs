//! `CloudEvents` as AMQP messages: the names of the protocol binding (version 1.0.2, section 3.1, binary content mode),
//! which is written for AMQP 1.0, as headers of 0-9-1.

use events::{CloudEvent, Event, EventId, EventTime};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value};

use super::headers;

/// What stands before the names of attributes; the second one is for clients whose names have no colon, and is read alone.
const PREFIXES: [&str; 2] = ["cloudEvents:", "cloudEvents_"];

/// What the headers of a message say, if it is a `CloudEvent`.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) attributes: Option<CloudEvent>,
    pub(super) id: Option<EventId>,
    pub(super) time: Option<EventTime>,
}

/// Adds what an event says of itself to the headers of its message.
pub(super) fn write(event: &Event, headers: &mut FieldTable) {
    let Some(attributes) = &event.cloud_event else { return };
    let mut all = attributes.attributes();
    all.entry("id").or_insert_with(|| event.id.as_str().into());
    all.insert("time".to_owned(), event.time.to_string().into());
    for (name, value) in all {
        let value = match value {
            Value::String(text) => AMQPValue::LongString(text.into()),
            Value::Bool(value) => AMQPValue::Boolean(value),
            Value::Number(number) => AMQPValue::LongLongInt(number.as_i64().unwrap_or_default()),
            _ => continue,
        };
        // An attribute that is read from a store may have any name.
        if let Ok(name) = super::short_string(&format!("{}{name}", PREFIXES[0])) {
            headers.insert(name, value);
        }
    }
}

/// Reads headers; `message_id` is the event's id if its message has one. What is no `CloudEvent` by the specification is none.
pub(super) fn read(headers: &FieldTable, message_id: Option<&EventId>) -> Read {
    let mut attributes = Map::new();
    for (name, value) in headers.inner() {
        let name = PREFIXES.iter().find_map(|prefix| name.as_str().strip_prefix(prefix));
        let (Some(name), Some(value)) = (name, attribute(value)) else { continue };
        attributes.insert(name.to_owned(), value);
    }
    let text = |value: Option<Value>| value.and_then(|value| Some(value.as_str()?.to_owned()));
    let time = text(attributes.remove("time")).and_then(|time| EventTime::from_rfc3339(&time));
    attributes.remove("datacontenttype");
    let original = text(attributes.remove("id"));
    let source = attributes.get("source").and_then(Value::as_str).unwrap_or_default();
    let mapped = || EventId::from_cloud_event(source, original.as_deref()?);
    let id = message_id.cloned().or_else(mapped);
    if let Some(original) = original.filter(|original| id.as_ref().is_some_and(|id| id.as_str() != original)) {
        attributes.insert("id".to_owned(), original.into());
    }
    match CloudEvent::new(attributes) {
        Ok(attributes) => Read { attributes: Some(attributes), id, time },
        Err(_) => Read::default(),
    }
}

/// Returns the value of an attribute; a time is a text there (section 3.1 of the specification).
fn attribute(value: &AMQPValue) -> Option<Value> {
    match value {
        AMQPValue::Timestamp(seconds) => Some(EventTime::from_amqp_timestamp(*seconds)?.to_string().into()),
        // An attribute that has no value is not there.
        AMQPValue::Void => None,
        value => headers::scalar(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(pairs: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in pairs {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    #[test]
    fn a_foreign_cloud_event_is_one_and_what_is_none_is_not() {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let headers = [
            ("cloudEvents:specversion", text("1.0")),
            ("cloudEvents:source", text("/shop")),
            ("cloudEvents_type", text("order.made")),
            ("cloudEvents:id", text("17")),
            ("cloudEvents:time", text("2026-01-02T12:00:00+01:00")),
            ("cloudEvents:priority", AMQPValue::LongInt(3)),
            ("tenant", text("a")),
        ];
        let found = read(&table(&headers), None);
        let expected =
            json!({"specversion": "1.0", "source": "/shop", "type": "order.made", "id": "17", "priority": 3});
        assert_eq!(Value::from(found.attributes.unwrap().attributes()), expected);
        assert_eq!(found.id, EventId::from_cloud_event("/shop", "17"));
        assert_eq!(found.time.unwrap().to_string(), "2026-01-02T11:00:00.000Z");
        let none = read(&table(&headers[1..]), None);
        assert!(none.attributes.is_none() && none.id.is_none() && none.time.is_none());
    }
}
