//! [`Event`] ↔ AMQP message.
//!
//! Reading never fails: every message of another publisher becomes an event, because a message that could not be read
//! would stop its mailbox for ever. What a message leaves out is made up as the fields of [`read`] say.

use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{ShortStringError, cloud_events, headers, names, short_string};
use events::{ContentCoding, ContentType, Event, EventId, EventTime, Payload, Topic};

/// How many bytes a compressed payload may have in full, so that it is handed on in full. This is the most that a batch
/// holds, but for a single event; a window of such messages stays within 64 MiB.
pub const MAX_INFLATED: usize = 1024 * 1024;

/// `delivery_mode` of a message that the broker keeps on disk (AMQP 0-9-1, basic class).
pub const PERSISTENT: u8 = 2;

/// The header in which RabbitMQ tells from where it has moved a message on.
const DEAD_LETTER: &str = "x-death";

/// Returns the properties under which an event is published.
pub fn properties(event: &Event) -> Result<BasicProperties, ShortStringError> {
    let mut headers = FieldTable::default();
    let millis = i64::try_from(event.time.unix_millis()).unwrap_or(i64::MAX);
    headers.insert(names::TIMESTAMP_IN_MS.into(), AMQPValue::LongLongInt(millis));
    if event.resent {
        headers.insert(names::RESENT.into(), AMQPValue::Boolean(true));
    }
    cloud_events::write(event, &mut headers);
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(short_string(event.id.as_str())?)
        .with_timestamp(event.time.unix_seconds())
        .with_headers(headers);
    let properties = match &event.content_type {
        Some(content_type) => properties.with_content_type(short_string(content_type.as_str())?),
        None => properties,
    };
    Ok(match &event.content_encoding {
        Some(content_encoding) => properties.with_content_encoding(short_string(content_encoding)?),
        None => properties,
    })
}

/// Reads a message of any publisher.
///
/// * `id`: the `message_id` ([`EventId::from_publisher`]), else that of a `CloudEvent`; without one a new id, which differs
///   on every repeat.
/// * `topic`: the routing key, whatever it is.
/// * `time`: the header `timestamp_in_ms`, else that of a `CloudEvent`, else `timestamp`, else the time in a UUID version 7, else now.
/// * `content_type`: as declared, if it is usable.
/// * `payload`: inflated, if `content_encoding` is gzip or deflate and it has at most 1 MiB then.
/// * `content_encoding`: as declared, unless it was undone or says nothing of bytes (a charset).
/// * `resent`: the header `postern-resent` is boolean true. Headers of other types count as absent.
/// * `cloud_event`: the headers `cloudEvents:…`, if they make one.
/// * `headers`: those of a publisher that asks for it, and its `type` and `app_id`. They are not written by
///   [`properties`].
#[must_use]
pub fn read(routing_key: &ShortString, properties: &BasicProperties, payload: Vec<u8>) -> Event {
    let message_id = properties.message_id().as_ref().and_then(|id| EventId::from_publisher(id.as_str()));
    let headers = properties.headers().as_ref();
    let cloud_event = headers.map(|headers| cloud_events::read(headers, message_id.as_ref())).unwrap_or_default();
    let id = message_id.or(cloud_event.id);
    let time = time_in_header(properties)
        .or(cloud_event.time)
        .or_else(|| properties.timestamp().and_then(EventTime::from_amqp_timestamp))
        .or_else(|| id.as_ref().and_then(EventId::unix_millis).and_then(EventTime::from_unix_millis));
    let encoding = properties.content_encoding().as_ref().map_or("", ShortString::as_str);
    let coding = ContentCoding::of(encoding);
    let inflated = coding.inflate(&payload, MAX_INFLATED).and_then(Result::ok);
    let is_encoded = coding != ContentCoding::Identity && inflated.is_none();
    let content_type = properties.content_type().as_ref().and_then(|text| ContentType::new(text.as_str()).ok());
    let payload = Payload::of(content_type.as_ref(), inflated.unwrap_or(payload));
    Event {
        id: id.unwrap_or_default(),
        topic: Topic::from_routing_key(routing_key.as_str()),
        time: time.unwrap_or_else(EventTime::now),
        time_is_known: time.is_some(),
        content_type,
        content_encoding: is_encoded.then(|| encoding.into()),
        resent: header(properties, names::RESENT) == Some(&AMQPValue::Boolean(true)),
        headers: headers::shown(properties).map(Into::into),
        cloud_event: cloud_event.attributes,
        payload,
    }
}

/// Returns the value of a header.
#[must_use]
pub fn header<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

/// Returns what a gateway's own message says, which is no event: the value of its header [`names::CONTROL`].
///
/// A publisher can send that header. So it counts only in a message that is empty and was put straight into its queue
/// through the default exchange, to which publishers need no permission. RabbitMQ tells the exchange of each message; one
/// that it has moved on, as a dead letter, has been moved there by an operator's policy, whatever its first exchange was.
#[must_use]
pub fn control(message: &Delivery) -> Option<&AMQPValue> {
    let is_straight = message.exchange.as_str().is_empty() && header(&message.properties, DEAD_LETTER).is_none();
    if is_straight && message.data.is_empty() { header(&message.properties, names::CONTROL) } else { None }
}

fn time_in_header(properties: &BasicProperties) -> Option<EventTime> {
    let millis = match header(properties, names::TIMESTAMP_IN_MS)? {
        AMQPValue::LongLongInt(millis) => u64::try_from(*millis).ok()?,
        AMQPValue::Timestamp(millis) => *millis,
        _ => return None,
    };
    EventTime::from_unix_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Form;

    fn headers(pairs: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in pairs {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    #[test]
    fn an_event_comes_back_as_it_was() {
        let topic = "jobs.42.status".parse().unwrap();
        let mut event = Event::new(topic, Some(ContentType::json()), &b"{\"state\":\"passed\"}"[..]);
        event.resent = true;
        event.content_encoding = Some("br".into());
        let attributes = serde_json::json!({"specversion": "1.0", "source": "/a", "type": "b", "n": 7, "id": "17"});
        event.cloud_event = events::CloudEvent::new(attributes.as_object().unwrap().clone()).ok();
        assert!(event.cloud_event.is_some());
        let again = read(&"jobs.42.status".into(), &properties(&event).unwrap(), event.payload.to_vec());
        assert_eq!(again, event);
    }

    #[test]
    fn a_bare_message_of_a_foreign_publisher_is_an_event() {
        let before = EventTime::now();
        let event = read(&"a.b".into(), &BasicProperties::default(), Vec::new());
        assert!(event.time >= before);
        assert_eq!(event.id.unix_millis().map(|millis| millis / 100_000), Some(before.unix_millis() / 100_000));
        assert_eq!((event.form(), &event.content_type, event.resent), (Form::Text(""), &None, false));
    }

    #[test]
    fn every_odd_property_has_a_result() {
        let odd = BasicProperties::default()
            .with_message_id("m".repeat(255).into())
            .with_timestamp(u64::MAX)
            .with_content_type("\r\n".into())
            .with_headers(headers(&[
                (names::RESENT, AMQPValue::LongString("true".into())),
                (names::TIMESTAMP_IN_MS, AMQPValue::LongLongInt(-1)),
                ("other", AMQPValue::FieldArray(vec![AMQPValue::Void].into())),
            ]));
        let event = read(&"not a topic / at all ü".into(), &odd, b"{".to_vec());
        assert_eq!(event.id, EventId::from_publisher(&"m".repeat(255)).unwrap());
        assert_eq!(event.topic.as_str(), "not a topic / at all ü");
        assert_eq!((event.form(), event.content_type.clone(), event.resent), (Form::Text("{"), None, false));
        assert!(event.time <= EventTime::now());
    }

    #[test]
    fn the_finest_time_wins() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let by_id = BasicProperties::default().with_message_id(id.into());
        assert_eq!(read(&"a".into(), &by_id, vec![]).time.unix_millis(), 0x0189_0a5d_ac96);
        let by_property = by_id.with_timestamp(1_767_323_045);
        assert_eq!(read(&"a".into(), &by_property, vec![]).time.unix_millis(), 1_767_323_045_000);
        let by_header =
            by_property.with_headers(headers(&[(names::TIMESTAMP_IN_MS, AMQPValue::LongLongInt(1_767_323_045_678))]));
        assert_eq!(read(&"a".into(), &by_header, vec![]).time.unix_millis(), 1_767_323_045_678);
    }
}
