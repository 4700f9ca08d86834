//! The JSON of a batch.
//!
//! Written by hand around the payloads, because a JSON payload is passed on byte for byte, not parsed and printed
//! again.

use std::fmt::{Display, Write};

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use events::{ContentType, Event, Form};
use feeds::FeedBatch;
use mailboxes::Batch;

/// What the JSON of an event usually takes besides its payload, in bytes: id, topic, time and names. For the first
/// allocation only; what it takes at most is [`Event::max_encoded_len`].
const USUAL_JSON_AROUND_PAYLOAD: usize = 160;

/// What the JSON of an answer takes besides its events at most, in bytes: names and a token.
const MAX_JSON_AROUND_EVENTS: usize = 256;

/// Returns `{"events":[…],"reset":true,"last_seen":"…"}`; `reset` only when true.
pub(super) fn encode(batch: &Batch) -> String {
    let events = batch.events.iter().map(|each| (&each.event, each.redelivered));
    encode_events(events, batch.reset, &batch.last_seen)
}

/// Returns the same for a Feed, where a repeat is only what its publisher marked as one.
pub(super) fn encode_feed(batch: &FeedBatch) -> String {
    let events = batch.events.iter().map(|logged| (&*logged.event, logged.event.resent));
    encode_events(events, batch.reset, &batch.last_seen)
}

/// Returns how many bytes [`encode`] gives at most.
pub(super) fn max_len(batch: &Batch) -> usize {
    MAX_JSON_AROUND_EVENTS + batch.events.iter().map(|each| each.event.max_encoded_len()).sum::<usize>()
}

/// Returns how many bytes [`encode_feed`] gives at most.
pub(super) fn max_feed_len(batch: &FeedBatch) -> usize {
    MAX_JSON_AROUND_EVENTS + batch.events.iter().map(|logged| logged.event.max_encoded_len()).sum::<usize>()
}

fn encode_events<'a>(
    events: impl Iterator<Item = (&'a Event, bool)> + Clone,
    reset: bool,
    last_seen: &dyn Display,
) -> String {
    let bytes: usize = events.clone().map(|(event, _)| event.payload.len() + USUAL_JSON_AROUND_PAYLOAD).sum();
    let mut json = String::with_capacity(bytes + USUAL_JSON_AROUND_PAYLOAD);
    json.push_str(r#"{"events":["#);
    for (n, (event, redelivered)) in events.enumerate() {
        if n > 0 {
            json.push(',');
        }
        push_event(&mut json, event, redelivered);
    }
    json.push(']');
    if reset {
        json.push_str(r#","reset":true"#);
    }
    // A token has no character that JSON escapes.
    let _ = write!(json, r#","last_seen":"{last_seen}"}}"#);
    json
}

/// Returns one element of `events`.
pub(super) fn encode_event(event: &Event, redelivered: bool) -> String {
    let mut json = String::with_capacity(event.payload.len() + USUAL_JSON_AROUND_PAYLOAD);
    push_event(&mut json, event, redelivered);
    json
}

fn push_event(json: &mut String, event: &Event, redelivered: bool) {
    // Writing to a string cannot fail; an id and a time have no character that JSON escapes.
    let _ = write!(json, r#"{{"id":"{}","topic":{},"time":"{}""#, event.id, quoted(event.topic.as_str()), event.time);
    match event.form() {
        Form::Json(text) => {
            json.push_str(r#","data":"#);
            json.push_str(text);
        }
        Form::Text(text) => {
            push_content_type(json, event);
            json.push_str(r#","data":"#);
            json.push_str(&quoted(text));
        }
        Form::Bytes(bytes) => {
            push_content_type(json, event);
            if let Some(encoding) = &event.content_encoding {
                let _ = write!(json, r#","content_encoding":{}"#, quoted(encoding));
            }
            let _ = write!(json, r#","data_base64":"{}""#, Base64Display::new(bytes, &STANDARD));
        }
    }
    if let Some(headers) = &event.headers {
        let _ = write!(json, r#","headers":{headers}"#);
    }
    if let Some(attributes) = &event.cloud_event {
        let _ = write!(json, r#","cloudevent":{}"#, attributes.as_json());
    }
    if redelivered {
        json.push_str(r#","redelivered":true"#);
    }
    json.push('}');
}

fn push_content_type(json: &mut String, event: &Event) {
    let content_type = event.content_type.clone().unwrap_or_else(|| ContentType::of(&event.payload));
    let _ = write!(json, r#","content_type":{}"#, quoted(content_type.as_str()));
}

fn quoted(text: &str) -> String {
    // Writing a text to a string cannot fail.
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn encoded(content_type: Option<&str>, payload: &'static [u8], redelivered: bool) -> String {
        let content_type = content_type.map(|text| ContentType::new(text).unwrap());
        let event = Event::new("a.b".parse().unwrap(), content_type, payload);
        let mut json = String::new();
        push_event(&mut json, &event, redelivered);
        serde_json::from_str::<Value>(&json).unwrap();
        json
    }

    #[test]
    fn json_is_passed_on_byte_for_byte() {
        let json = encoded(Some("application/json"), b"{ \"n\": 1.00, \"e\": \"\\u00e4\" }", false);
        assert!(json.ends_with("\"data\":{ \"n\": 1.00, \"e\": \"\\u00e4\" }}"), "{json}");
        assert!(!json.contains("content_type") && !json.contains("redelivered"));
    }

    #[test]
    fn text_is_a_string_and_the_rest_is_base64() {
        let text = encoded(Some("text/plain"), b"line\n\"two\"", true);
        assert!(text.ends_with(r#""content_type":"text/plain","data":"line\n\"two\"","redelivered":true}"#), "{text}");
        let bytes = encoded(Some("application/json"), b"{oops", false);
        assert!(bytes.ends_with(r#""content_type":"application/json","data_base64":"e29vcHM="}"#), "{bytes}");
        let untyped = encoded(None, b"\xff", false);
        assert!(untyped.ends_with(r#""content_type":"application/octet-stream","data_base64":"/w=="}"#), "{untyped}");
    }

    proptest! {
        #[test]
        fn an_event_takes_no_more_than_room_is_taken_for(
            payload in prop::collection::vec(prop_oneof![any::<u8>(), Just(1), Just(b'"'), Just(b'\n')], 0..400),
            kind in prop::option::of("(text/plain|application/json|image/png)"),
            topic in "[\\x00-\\x7f]{0,40}",
            texts in "[\\x00-\\x1f]{0,100}",
        ) {
            let content_type = kind.map(|text| ContentType::new(&text).unwrap());
            let mut event = Event::new("a".parse().unwrap(), content_type, payload);
            event.topic = events::Topic::from_routing_key(&topic);
            event.id = "i".repeat(80).parse().unwrap();
            event.content_encoding = Some(texts.as_str().into());
            event.headers = Some(quoted(&texts).into());
            event.cloud_event = events::CloudEvent::from_stored(&format!("{{\"a\":{}}}", quoted(&texts)));
            // A token has at most 128 bytes.
            prop_assert!(encode_event(&event, true).len() + 128 <= event.max_encoded_len());
        }
    }

    #[test]
    fn a_foreign_topic_cannot_break_out_of_its_string() {
        let mut event = Event::new("a".parse().unwrap(), None, &b"1"[..]);
        event.topic = events::Topic::from_routing_key("\"},{\u{0}");
        let mut json = String::new();
        push_event(&mut json, &event, false);
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["topic"], "\"},{\u{0}");
    }
}
