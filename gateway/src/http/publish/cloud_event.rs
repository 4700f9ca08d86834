//! `CloudEvents` 1.0.2 over HTTP: in the structured mode one of JSON is the body, or an element of a batch; in the binary mode
//! the body is the payload, and the headers `ce-…` are the attributes.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use events::{CloudEvent, ContentType, Event, EventId, EventTime, Payload, Topic};
use hyper::HeaderMap;
use percent_encoding::percent_decode;
use serde_json::{Map, Value, value::RawValue};

/// The media type of one, and of a batch.
const ONE: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

/// What stands before the names of attributes in headers.
const HEADER: &str = "ce-";

/// The extension attribute that names a topic.
const TOPIC: &str = "topic";

/// How a request holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The body is one.
    Structured,
    /// The body is an array of them.
    Batch,
    /// The body is the payload of one.
    Binary,
}

impl Mode {
    /// Reads it from the head of a request; `None` if it has nothing to do with them.
    pub(super) fn of(declared: Option<&ContentType>, headers: &HeaderMap) -> Option<Self> {
        match declared.map(|declared| declared.essence().to_ascii_lowercase()).as_deref() {
            Some(ONE) => Some(Self::Structured),
            Some(BATCH) => Some(Self::Batch),
            _ if headers.contains_key("ce-specversion") => Some(Self::Binary),
            _ => None,
        }
    }
}

/// The attributes of one, and what they say of the event.
#[derive(Debug, Default)]
pub(super) struct Attributes(Map<String, Value>);

impl Attributes {
    /// Reads the headers of the binary mode.
    pub(super) fn of_headers(headers: &HeaderMap) -> Result<Self, String> {
        let mut attributes = Map::new();
        for (name, value) in headers {
            let Some(attribute) = name.as_str().strip_prefix(HEADER) else { continue };
            // Section 3.1.3.2 of the binding: percent-encoded, and in quotes if a client likes that.
            let text = value.as_bytes().trim_ascii();
            let text = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
            let text =
                percent_decode(text).decode_utf8().map_err(|_| format!("{name}: it is not UTF-8, percent-encoded"))?;
            if attributes.insert(attribute.to_owned(), text.into()).is_some() {
                return Err(format!("{name}: it is given twice"));
            }
        }
        Ok(Self(attributes))
    }

    /// Makes the event; `topic` is that of the path.
    pub(super) fn event(
        mut self,
        topic: Option<Topic>,
        content_type: ContentType,
        payload: Payload,
    ) -> Result<Event, String> {
        let topic = match topic {
            Some(topic) => topic,
            None => self.topic()?,
        };
        let id = self.text("id")?.ok_or("id: it is missing")?;
        let source = self.0.get("source").and_then(Value::as_str).unwrap_or_default();
        let event_id = EventId::from_cloud_event(source, &id).ok_or("id: it is empty")?;
        if event_id.as_str() != id {
            self.0.insert("id".to_owned(), id.into());
        }
        let mut event = Event::of(topic, Some(content_type), payload);
        if let Some(time) = self.text("time")? {
            event.time = EventTime::from_rfc3339(&time).ok_or("time: it is no time of RFC 3339 since 1970")?;
        }
        event.id = event_id;
        event.cloud_event = Some(CloudEvent::new(self.0).map_err(|error| error.to_string())?);
        Ok(event)
    }

    /// Takes an attribute out that is a text.
    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{name}: it is a text")),
        }
    }

    fn topic(&self) -> Result<Topic, String> {
        let (name, value) = [TOPIC, "subject"]
            .into_iter()
            .find_map(|name| Some((name, self.0.get(name)?)))
            .ok_or("no topic: name it in the extension attribute \"topic\", else \"subject\" is taken")?;
        let text = value.as_str().ok_or_else(|| format!("{name}: it is a text"))?;
        text.parse().map_err(|error| format!("{name}, which names the topic: {error}"))
    }
}

/// Reads one of JSON.
pub(super) fn structured(text: &[u8], topic: Option<Topic>) -> Result<Event, String> {
    let mut members: BTreeMap<String, &RawValue> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let (data, base64) = (members.remove("data"), members.remove("data_base64"));
    let mut attributes = Map::new();
    for (name, value) in members {
        let value: Value = serde_json::from_str(value.get()).map_err(|error| format!("{name}: {error}"))?;
        // The JSON format, section 2.2: as if it were not there.
        if !value.is_null() {
            attributes.insert(name, value);
        }
    }
    let mut attributes = Attributes(attributes);
    let declared = attributes.text("datacontenttype")?;
    let declared = match declared.as_deref().map(ContentType::new).transpose() {
        Ok(declared) => declared.filter(|declared| declared.as_str().is_ascii()),
        Err(error) => return Err(format!("datacontenttype: {error}")),
    };
    let (content_type, payload) = payload(declared, data, base64)?;
    attributes.event(topic, content_type, payload)
}

/// Returns the payload; without a declared type it is JSON (the JSON format, section 3.1).
fn payload(
    declared: Option<ContentType>,
    data: Option<&RawValue>,
    base64: Option<&RawValue>,
) -> Result<(ContentType, Payload), String> {
    let is_declared = declared.is_some();
    let content_type = declared.unwrap_or_else(ContentType::json);
    let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
    let bytes: Bytes = match (data, base64) {
        (Some(_), Some(_)) => return Err("\"data\" and \"data_base64\": an event has one of them".to_owned()),
        (None, Some(base64)) => {
            let decoded = text(base64).and_then(|text| STANDARD.decode(text).ok());
            let bytes = decoded.ok_or("data_base64: it is no text in base64")?;
            if !is_declared {
                let bytes = Bytes::from(bytes);
                return Payload::checked(None, bytes).map_err(|error| error.to_string());
            }
            bytes.into()
        }
        (Some(data), None) if content_type.is_json() => Bytes::copy_from_slice(data.get().as_bytes()),
        (Some(data), None) => text(data).ok_or("data: it is a text where datacontenttype is not JSON")?.into(),
        (None, None) if content_type.is_json() => Bytes::from_static(b"null"),
        (None, None) => Bytes::new(),
    };
    Payload::checked(Some(content_type), bytes).map_err(|error| format!("data is not JSON, as its type says: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(changed: &Value) -> Result<Event, String> {
        let mut event =
            json!({"specversion": "1.0", "id": "A-1", "source": "/shop", "type": "order.made", "subject": "orders.17"});
        event.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        structured(event.to_string().as_bytes(), None)
    }

    #[test]
    fn the_topic_is_the_extension_else_the_subject() {
        let topic = |changed: &Value| one(changed).map(|event| event.topic.as_str().to_owned());
        assert_eq!(topic(&json!({})), Ok("orders.17".to_owned()));
        assert_eq!(topic(&json!({"topic": "a.b"})), Ok("a.b".to_owned()));
        assert!(topic(&json!({"subject": "orders/17"})).unwrap_err().starts_with("subject, which names the topic: "));
        assert!(topic(&json!({"subject": null})).unwrap_err().starts_with("no topic: "));
        let of_path =
            structured(br#"{"specversion":"1.0","id":"1","source":"/a","type":"b"}"#, "x".parse().ok()).unwrap();
        assert_eq!(of_path.topic.as_str(), "x");
    }

    #[test]
    fn an_event_keeps_its_attributes_and_is_told_by_source_and_id() {
        let event = one(&json!({"time": "2026-01-02T12:00:00+01:00", "priority": 3, "none": null})).unwrap();
        assert_eq!(event.time.to_string(), "2026-01-02T11:00:00.000Z");
        assert_eq!(Some(event.id), EventId::from_cloud_event("/shop", "A-1"));
        let attributes = Value::from(event.cloud_event.unwrap().attributes());
        let expected = json!({"specversion": "1.0", "source": "/shop", "type": "order.made", "subject": "orders.17", "id": "A-1",
                              "priority": 3});
        assert_eq!(attributes, expected);
        let uuid = "01890a5d-ac96-774b-bcce-b302099a8057";
        let event = one(&json!({ "id": uuid })).unwrap();
        assert_eq!((event.id.as_str(), event.cloud_event.unwrap().attributes().get("id")), (uuid, None));
    }

    #[test]
    fn the_payload_is_what_its_type_says() {
        let shown = |changed: &Value| {
            let event = one(changed).unwrap();
            (event.content_type.unwrap().as_str().to_owned(), String::from_utf8(event.payload.to_vec()).unwrap())
        };
        let of = |content_type: &str, payload: &str| (content_type.to_owned(), payload.to_owned());
        assert_eq!(shown(&json!({"data": {"n": 1}})), of("application/json", "{\"n\":1}"));
        assert_eq!(shown(&json!({"data": "a"})), of("application/json", "\"a\""));
        assert_eq!(shown(&json!({"data": "<a/>", "datacontenttype": "text/xml"})), of("text/xml", "<a/>"));
        assert_eq!(shown(&json!({"data_base64": "YQ==", "datacontenttype": "image/x"})), of("image/x", "a"));
        assert_eq!(shown(&json!({"data_base64": "YQ=="})), of("text/plain; charset=utf-8", "a"));
        assert_eq!(shown(&json!({})), of("application/json", "null"));
        assert_eq!(shown(&json!({"datacontenttype": "text/plain"})), of("text/plain", ""));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (changed, expected) in [
            (json!({"specversion": "0.3"}), "specversion: "),
            (json!({"id": null}), "id: it is missing"),
            (json!({"id": ""}), "id: it is empty"),
            (json!({"id": 7}), "id: it is a text"),
            (json!({"source": null}), "source: "),
            (json!({"time": "yesterday"}), "time: "),
            (json!({"Extension": "a"}), "\"Extension\": "),
            (json!({"data": 1, "data_base64": "YQ=="}), "an event has one of them"),
            (json!({"data": 1, "datacontenttype": "text/plain"}), "data: it is a text where"),
            (json!({"data_base64": "?"}), "data_base64: "),
            (json!({"data_base64": "ew==", "datacontenttype": "application/json"}), "data is not JSON"),
        ] {
            let wrong = one(&changed).unwrap_err();
            assert!(wrong.contains(expected), "{changed}: {wrong}");
        }
        assert!(structured(b"[]", None).is_err());
    }

    #[test]
    fn headers_are_attributes_in_the_binary_mode() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-type", "\"a%20b\""), ("ce-source", "/%C3%A4")]
        {
            headers.insert(name, value.parse().unwrap());
        }
        assert_eq!(Mode::of(None, &headers), Some(Mode::Binary));
        let (content_type, payload) = Payload::checked(None, "7").unwrap();
        let event = Attributes::of_headers(&headers).unwrap().event("x".parse().ok(), content_type, payload).unwrap();
        let attributes = Value::from(event.cloud_event.unwrap().attributes());
        assert_eq!(attributes, json!({"specversion": "1.0", "type": "a b", "source": "/ä", "id": "1"}));
        headers.append("ce-id", "2".parse().unwrap());
        assert!(Attributes::of_headers(&headers).unwrap_err().contains("ce-id: it is given twice"));
    }
}
