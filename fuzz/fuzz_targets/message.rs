//! A message of a foreign publisher, from the bytes of its frames to its place in an answer.
//!
//! An input is the length of a routing key (one byte), the key, the length of the properties (two bytes), the
//! properties with their flags as they stand in a content header (AMQP 0-9-1, section 4.2.6.1), and the body.

#![no_main]

use amq_protocol::{
    frame::{AMQPFrame, parse_frame},
    protocol::{AMQPClass, basic::AMQPMethod},
};
use amqp::message;
use events::{Event, Form};
use lapin::{BasicProperties, types::ShortString};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// The longest token beside an event in an answer, in bytes.
const MAX_TOKEN: usize = 128;

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("an input is small").to_be_bytes();
    [&[kind, 0, 1][..], &length, payload, &[0xCE]].concat()
}

/// Splits off what stands after a length; all that is there, if that is less.
fn split_off<'a>(input: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(length.min(input.len()));
    *input = rest;
    taken
}

/// Returns the frames of a delivery, but for its body.
fn frames(key: &[u8], properties: &[u8]) -> Vec<u8> {
    let length = [u8::try_from(key.len()).expect("it was one byte")];
    // basic.deliver: consumer tag, delivery tag, redelivered, exchange, routing key.
    let deliver = [&[0, 60, 0, 60, 1, b't'][..], &[0; 8], &[0, 1, b'x'], &length, key].concat();
    let header = [&[0, 60, 0, 0][..], &[0; 8], properties].concat();
    [frame(1, &deliver), frame(2, &header)].concat()
}

/// Reads the frames as the library does; `None` where it would give up.
fn parsed(bytes: &[u8]) -> Option<(ShortString, BasicProperties)> {
    let (rest, deliver) = parse_frame(bytes).ok()?;
    let (_, header) = parse_frame(rest).ok()?;
    match (deliver, header) {
        (AMQPFrame::Method(_, AMQPClass::Basic(AMQPMethod::Deliver(deliver))), AMQPFrame::Header(_, header)) => {
            Some((deliver.routing_key, header.properties))
        }
        _ => None,
    }
}

fn check(event: &Event) {
    for redelivered in [false, true] {
        let json = gateway::fuzzing::encode_event(event, redelivered);
        let counted = event.max_encoded_len();
        assert!(json.len() + MAX_TOKEN <= counted, "{} bytes, counted as {counted}: {event:?}", json.len());
        let shown: Value = serde_json::from_str(&json).expect("an answer is JSON");
        assert_eq!(shown["id"], event.id.as_str());
        assert_eq!(shown["topic"], event.topic.as_str());
        assert_eq!(shown.get("headers").is_some(), event.headers.is_some());
        assert_eq!(shown.get("redelivered").is_some(), redelivered);
        match event.form() {
            Form::Json(text) => assert_eq!(shown["data"], serde_json::from_str::<Value>(text).expect("JSON")),
            Form::Text(text) => assert_eq!(shown["data"], text),
            Form::Bytes(_) => assert!(shown["data_base64"].is_string() && shown.get("data").is_none()),
        }
        assert!(!json.contains('\0') && (!json.contains(['\r', '\n']) || matches!(event.form(), Form::Json(_))));
    }
    assert!(event.memory() >= event.payload.len());
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let length = split_off(&mut rest, 1).first().copied().unwrap_or_default();
    let key = split_off(&mut rest, length.into());
    let length = split_off(&mut rest, 2).try_into().map_or(0, u16::from_be_bytes);
    let properties = split_off(&mut rest, length.into());
    let body = rest;
    let mut bytes = frames(key, properties);
    let size = bytes.len();
    amqp_sanitizer::sanitize(&mut bytes);
    assert_eq!(bytes.len(), size, "a repair keeps the length");
    let mut again = bytes.clone();
    amqp_sanitizer::sanitize(&mut again);
    assert_eq!(again, bytes, "what is repaired needs no repair");
    let Some((key, properties)) = parsed(&bytes) else { return };
    let event = message::read(&key, &properties, body.to_vec());
    check(&event);
    let written = message::properties(&event).expect("what was read can be written");
    let read = message::read(&key, &written, event.payload.to_vec());
    // Headers are not written again, and a time that was not known is known by then.
    let expected = Event { headers: None, time_is_known: true, ..event };
    assert_eq!(read, expected);
});
