//! What a foreign message says besides its payload, for publishers that ask for it to reach their readers.

use lapin::{BasicProperties, types::AMQPValue};
use serde_json::{Map, Value};

use super::names;

/// The most headers that are passed on.
const MAX_HEADERS: usize = 32;

/// The most bytes that they have together, as JSON.
const MAX_BYTES: usize = 4096;

/// Returns the headers of a message as a JSON object, with its `type` and `app_id`, which a header of the same name
/// hides.
///
/// `None` unless the header `postern-headers` is boolean true, and if they are too many or too long: part of them would
/// be misread. Postern's own headers, the broker's (`x-…`), tables, arrays, bytes and what JSON has no number for are
/// left out.
pub(super) fn shown(properties: &BasicProperties) -> Option<String> {
    let table = properties.headers().as_ref()?.inner();
    if table.get(names::HEADERS) != Some(&AMQPValue::Boolean(true)) {
        return None;
    }
    let mut object = Map::new();
    for (name, property) in [("type", properties.kind()), ("app_id", properties.app_id())] {
        if let Some(text) = property {
            object.insert(name.to_owned(), Value::from(text.as_str()));
        }
    }
    let is_theirs =
        |name: &str| !(name.starts_with("postern-") || name.starts_with("x-") || name == names::TIMESTAMP_IN_MS);
    for (name, value) in table.iter().filter(|(name, _)| is_theirs(name.as_str())) {
        if let Some(value) = scalar(value) {
            object.insert(name.as_str().to_owned(), value);
        }
    }
    let json = Value::from(object).to_string();
    (table.len() <= MAX_HEADERS + 1 && json.len() <= MAX_BYTES).then_some(json)
}

/// Returns a value in JSON, if it is no list, table, or bytes.
pub(super) fn scalar(value: &AMQPValue) -> Option<Value> {
    Some(match value {
        AMQPValue::Boolean(value) => Value::from(*value),
        AMQPValue::ShortShortInt(value) => Value::from(*value),
        AMQPValue::ShortShortUInt(value) => Value::from(*value),
        AMQPValue::ShortInt(value) => Value::from(*value),
        AMQPValue::ShortUInt(value) => Value::from(*value),
        AMQPValue::LongInt(value) => Value::from(*value),
        AMQPValue::LongUInt(value) => Value::from(*value),
        AMQPValue::LongLongInt(value) => Value::from(*value),
        AMQPValue::Timestamp(value) => Value::from(*value),
        AMQPValue::Float(value) => serde_json::Number::from_f64(f64::from(*value))?.into(),
        AMQPValue::Double(value) => serde_json::Number::from_f64(*value)?.into(),
        AMQPValue::ShortString(text) => Value::from(text.as_str()),
        AMQPValue::LongString(text) => Value::from(std::str::from_utf8(text.as_bytes()).ok()?),
        AMQPValue::Void => Value::Null,
        AMQPValue::DecimalValue(_) | AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) | AMQPValue::ByteArray(_) => {
            return None;
        }
    })
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldTable;

    use super::*;

    fn shown_of(pairs: &[(&str, AMQPValue)]) -> Option<String> {
        let mut table = FieldTable::default();
        for (name, value) in pairs {
            table.insert((*name).into(), value.clone());
        }
        let properties = BasicProperties::default().with_type("order".into()).with_app_id("shop".into());
        shown(&properties.with_headers(table))
    }

    fn asked() -> (&'static str, AMQPValue) {
        (names::HEADERS, AMQPValue::Boolean(true))
    }

    #[test]
    fn only_who_asks_for_it_has_headers_shown() {
        let tenant = ("tenant", AMQPValue::LongString("a\"b".into()));
        assert_eq!(shown_of(std::slice::from_ref(&tenant)), None);
        assert_eq!(shown_of(&[tenant.clone(), (names::HEADERS, AMQPValue::LongString("true".into()))]), None);
        let all = [
            asked(),
            tenant,
            ("type", AMQPValue::LongInt(-7)),
            ("ratio", AMQPValue::Double(0.5)),
            ("none", AMQPValue::Void),
            ("x-death", AMQPValue::LongInt(1)),
            (names::RESENT, AMQPValue::Boolean(true)),
            ("nan", AMQPValue::Double(f64::NAN)),
            ("bytes", AMQPValue::LongString(b"\xff"[..].into())),
            ("list", AMQPValue::FieldArray(vec![AMQPValue::Void].into())),
        ];
        let json: Value = serde_json::from_str(&shown_of(&all).unwrap()).unwrap();
        let expected = serde_json::json!({"app_id": "shop", "none": null, "ratio": 0.5, "tenant": "a\"b", "type": -7});
        assert_eq!(json, expected);
        assert_eq!(shown_of(&[asked()]).unwrap(), r#"{"app_id":"shop","type":"order"}"#);
    }

    #[test]
    fn too_many_or_too_long_ones_are_left_out() {
        let names: Vec<_> = (0..=MAX_HEADERS).map(|n| format!("h{n}")).collect();
        let many = |count: usize| {
            let headers = names[..count].iter().map(|name| (name.as_str(), AMQPValue::Void));
            shown_of(&headers.chain([asked()]).collect::<Vec<_>>())
        };
        assert_eq!((many(MAX_HEADERS).is_some(), many(MAX_HEADERS + 1).is_some()), (true, false));
        let long = |bytes: usize| shown_of(&[asked(), ("h", AMQPValue::LongString("x".repeat(bytes).into()))]);
        assert_eq!((long(4000).is_some(), long(MAX_BYTES).is_some()), (true, false));
    }
}
