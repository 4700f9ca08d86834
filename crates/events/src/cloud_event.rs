//! What a `CloudEvent` (version 1.0.2) says of itself besides what every event has.

use std::{fmt, sync::Arc};

use serde_json::{Map, Value};

/// The context attributes of a `CloudEvent`, as a JSON object that readers are shown: at least `specversion`, `source` and
/// `type`. `time`, `datacontenttype` and, unless it had to be mapped, `id` are those of the event.
#[derive(Clone, PartialEq, Eq)]
pub struct CloudEvent(Arc<str>);

/// Why attributes are not those of a [`CloudEvent`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudEventError {
    /// It is of another version.
    #[error("specversion: only 1.0 is known here")]
    Version,
    /// A required attribute is missing, or is no text.
    #[error("{0}: a CloudEvent has it, a text that is not empty")]
    Required(&'static str),
    /// The specification does not allow the name (section "Naming Conventions").
    #[error("{0:?}: an attribute's name has 1 to {max} characters of a-z and 0-9", max = CloudEvent::MAX_NAME)]
    Name(String),
    /// The JSON format has no such attribute.
    #[error("{0}: an attribute is a text, a boolean or an integer")]
    Value(String),
    /// They take more than is shown to readers.
    #[error("the attributes of a CloudEvent have at most {} bytes as JSON here", CloudEvent::MAX_BYTES)]
    TooLong,
}

impl CloudEvent {
    /// How many bytes the attributes have at most, as JSON.
    pub const MAX_BYTES: usize = 4096;

    /// How long the name of an attribute is at most: with what stands before it, it is the name of a header of AMQP.
    pub const MAX_NAME: usize = 64;

    /// Takes attributes.
    pub fn new(attributes: Map<String, Value>) -> Result<Self, CloudEventError> {
        if attributes.get("specversion").and_then(Value::as_str) != Some("1.0") {
            return Err(CloudEventError::Version);
        }
        for name in ["source", "type"] {
            if attributes.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
                return Err(CloudEventError::Required(name));
            }
        }
        for (name, value) in &attributes {
            let is_name_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            if !(1..=Self::MAX_NAME).contains(&name.len()) || !name.bytes().all(is_name_byte) {
                return Err(CloudEventError::Name(name.clone()));
            }
            if !(value.is_string() || value.is_boolean() || value.is_i64()) {
                return Err(CloudEventError::Value(name.clone()));
            }
        }
        let json = Value::from(attributes).to_string();
        if json.len() <= Self::MAX_BYTES { Ok(Self(json.into())) } else { Err(CloudEventError::TooLong) }
    }

    /// Takes attributes from a store, if they are a JSON object.
    #[must_use]
    pub fn from_stored(json: &str) -> Option<Self> {
        serde_json::from_str::<Map<String, Value>>(json).ok().map(|_| Self(json.into()))
    }

    /// Returns the JSON object.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Returns each of them.
    #[must_use]
    pub fn attributes(&self) -> Map<String, Value> {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for CloudEvent {
    /// Leaves out the extensions, which may say anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloudEvent({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(attributes: Value) -> Result<CloudEvent, CloudEventError> {
        let Value::Object(attributes) = attributes else { panic!("no object") };
        CloudEvent::new(attributes)
    }

    #[test]
    fn what_the_specification_requires_is_there() {
        let whole = json!({"specversion": "1.0", "source": "/a", "type": "b", "priority": 3, "sampled": true});
        let taken = of(whole.clone()).unwrap();
        assert_eq!(
            (Value::from(taken.attributes()), CloudEvent::from_stored(taken.as_json())),
            (whole.clone(), Some(taken))
        );
        let with = |name: &str, value: Value| {
            let mut changed = whole.clone();
            changed[name] = value;
            of(changed).unwrap_err()
        };
        assert_eq!(with("specversion", json!("0.3")), CloudEventError::Version);
        assert_eq!(with("source", json!("")), CloudEventError::Required("source"));
        assert_eq!(with("type", json!(7)), CloudEventError::Required("type"));
        assert_eq!(with("camelCase", json!("a")), CloudEventError::Name("camelCase".to_owned()));
        let long = "x".repeat(CloudEvent::MAX_NAME + 1);
        assert_eq!(with(&long, json!("a")), CloudEventError::Name(long.clone()));
        assert_eq!(with("ratio", json!(0.5)), CloudEventError::Value("ratio".to_owned()));
        assert_eq!(with("list", json!([])), CloudEventError::Value("list".to_owned()));
        assert_eq!(with("long", json!("x".repeat(CloudEvent::MAX_BYTES))), CloudEventError::TooLong);
    }
}
