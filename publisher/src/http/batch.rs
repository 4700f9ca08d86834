//! A batch as it goes to a gateway: an array of JSON.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use events::{ContentType, Event, Form};
use http_body_util::Full;
use hyper::{
    Request,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName},
};
use serde_json::Value;

use super::{connections::EventRequest, url::GatewayUrl};
use crate::transport::SendError;

const RESENT: HeaderName = HeaderName::from_static(events::http_names::RESENT);

/// Returns the request that publishes these events, which are all repeats or none.
pub(super) fn request(url: &GatewayUrl, events: &[Event]) -> Result<EventRequest, SendError> {
    let mut request =
        Request::post(url.events()).header(HOST, url.authority()).header(CONTENT_TYPE, "application/json");
    if let Some(authorization) = url.authorization() {
        request = request.header(AUTHORIZATION, authorization);
    }
    if events.iter().any(|event| event.resent) {
        request = request.header(RESENT, "true");
    }
    let body = request.body(Full::new(encode(events).into()));
    body.map_err(|error| SendError::Refused(format!("the events do not fit a request: {error}")))
}

fn encode(events: &[Event]) -> String {
    let mut json = String::from("[");
    for (n, event) in events.iter().enumerate() {
        if n > 0 {
            json.push(',');
        }
        push(&mut json, event);
    }
    json.push(']');
    json
}

/// Writes an event such that the gateway takes the payload byte for byte.
fn push(json: &mut String, event: &Event) {
    let text = |text: &str| Value::from(text).to_string();
    let (name, payload) = match event.form() {
        // What stands around a value of JSON is no part of it.
        Form::Json(payload) if payload.trim_ascii() == payload => ("data", payload.to_owned()),
        Form::Json(payload) | Form::Text(payload) => ("text", text(payload)),
        Form::Bytes(payload) => ("data_base64", text(&STANDARD.encode(payload))),
    };
    let (id, topic) = (text(event.id.as_str()), text(event.topic.as_str()));
    let content_type = event.content_type.clone().unwrap_or_else(|| ContentType::of(&event.payload));
    let content_type = text(content_type.as_str());
    // Writing to a string cannot fail.
    let _ = write!(json, r#"{{"id":{id},"topic":{topic},"content_type":{content_type},"{name}":{payload}}}"#);
}

/// Returns what becomes of events over all of which the same went wrong.
pub(super) fn of_all(error: SendError, count: usize) -> Vec<Result<(), SendError>> {
    let others = |error: &SendError| match error {
        SendError::Unavailable { reason, was_sent, retry_after } => {
            SendError::Unavailable { reason: reason.clone(), was_sent: *was_sent, retry_after: *retry_after }
        }
        // It is said once.
        error => SendError::NotTried(error.to_string()),
    };
    let mut answers: Vec<_> = (1..count).map(|_| Err(others(&error))).collect();
    answers.insert(0, Err(error));
    answers
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_payload_is_written_so_that_it_is_read_byte_for_byte() {
        let written = |content_type: Option<&str>, payload: &'static [u8]| {
            let content_type = content_type.map(|text| ContentType::new(text).unwrap());
            let mut event = Event::new("a.b".parse().unwrap(), content_type, payload);
            event.id = "x-1".parse().unwrap();
            let mut json: Value = serde_json::from_str(&encode(&[event])).unwrap();
            let mut written = json[0].take();
            assert_eq!((written["id"].take(), written["topic"].take()), (json!("x-1"), json!("a.b")));
            written.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            written
        };
        let json = "application/json";
        assert_eq!(written(Some(json), b"{\"n\":1}"), json!({ "content_type": json, "data": { "n": 1 } }));
        assert_eq!(written(Some(json), b" [1]\r\n"), json!({ "content_type": json, "text": " [1]\r\n" }));
        assert_eq!(written(Some("text/csv"), b"a,\"b\""), json!({ "content_type": "text/csv", "text": "a,\"b\"" }));
        assert_eq!(
            written(Some("image/png"), b"\x89PNG"),
            json!({ "content_type": "image/png", "data_base64": "iVBORw==" })
        );
        assert_eq!(
            written(None, b"\xff"),
            json!({ "content_type": "application/octet-stream", "data_base64": "/w==" })
        );
        let two = [1, 2].map(|n| Event::new("a".parse().unwrap(), None, n.to_string()));
        assert_eq!(serde_json::from_str::<Value>(&encode(&two)).unwrap().as_array().unwrap().len(), 2);
    }
}
