//! The claims of a token that say what it allows.

use std::{num::NonZeroU32, sync::Arc};

use events::TopicPattern;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Map, Value};

use crate::rights::{ClientPattern, Rights};

/// The longest `sub`, in bytes: limits keep it.
const MAX_SUBJECT: usize = 255;

/// The object of rights in a token. A member that is unknown is an error: a slip must neither widen nor narrow what a
/// token allows.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PosternClaim {
    #[serde(deserialize_with = "patterns")]
    clients: Option<Vec<ClientPattern>>,
    #[serde(deserialize_with = "patterns")]
    read: Option<Vec<TopicPattern>>,
    #[serde(deserialize_with = "patterns")]
    publish: Option<Vec<TopicPattern>>,
    rate: Option<NonZeroU32>,
}

fn patterns<'de, D, P>(deserializer: D) -> Result<Option<Vec<P>>, D::Error>
where
    D: Deserializer<'de>,
    P: std::str::FromStr<Err: std::fmt::Display>,
{
    let texts = Vec::<String>::deserialize(deserializer)?;
    let patterns =
        texts.iter().map(|text| text.parse().map_err(|error| D::Error::custom(format!("{text:?}: {error}"))));
    patterns.collect::<Result<_, _>>().map(Some)
}

/// Reads rights from verified claims, or says which claim is wrong.
pub(crate) fn rights(claims: &Map<String, Value>, name: &str) -> Result<Rights, String> {
    let subject = match claims.get("sub") {
        None => None,
        Some(Value::String(subject)) if subject.len() <= MAX_SUBJECT => Some(Arc::from(subject.as_str())),
        Some(Value::String(_)) => return Err(format!("sub: it has more than {MAX_SUBJECT} bytes")),
        Some(_) => return Err("sub: it is no string".to_owned()),
    };
    let claim = match claims.get(name) {
        None => PosternClaim::default(),
        // A list would be taken for the members in their order.
        Some(claim) if !claim.is_object() => return Err(format!("{name}: it is no object")),
        Some(claim) => PosternClaim::deserialize(claim).map_err(|error| format!("{name}: {error}"))?,
    };
    let of_subject = || subject.as_deref().map(ClientPattern::of_subject).unwrap_or_default();
    Ok(Rights {
        clients: claim.clients.unwrap_or_else(of_subject),
        read: claim.read.map(Into::into),
        publish: claim.publish.unwrap_or_default(),
        publish_rate: claim.rate.map(NonZeroU32::get),
        is_anonymous: false,
        expires: None,
        subject,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(claims: &Value) -> Result<Rights, String> {
        rights(claims.as_object().unwrap(), "postern")
    }

    #[test]
    fn the_subject_is_a_mailbox_unless_clients_are_named() {
        let rights = read(&json!({"sub": "alice"})).unwrap();
        assert!(rights.use_mailbox(&"alice~tab".parse().unwrap()).is_ok());
        assert_eq!((rights.read, rights.publish.len(), rights.subject.as_deref()), (None, 0, Some("alice")));
        let rights = read(&json!({"sub": "alice", "postern": {"clients": ["bob"]}})).unwrap();
        assert!(rights.use_mailbox(&"alice".parse().unwrap()).is_err());
        assert!(rights.use_mailbox(&"bob".parse().unwrap()).is_ok());
        assert!(read(&json!({})).unwrap().clients.is_empty());
    }

    #[test]
    fn a_claim_that_is_wrong_gives_no_rights_and_is_named() {
        for (claims, said) in [
            (json!({"postern": {"read": ["a.#"], "raed": ["#"]}}), "postern: unknown field `raed`"),
            (json!({"postern": {"read": "a.#"}}), "postern: invalid type: string"),
            (json!({"postern": {"read": ["a..b"]}}), "postern: \"a..b\": a topic pattern"),
            (json!({"postern": {"publish": ["#.#.#"]}}), "postern: \"#.#.#\": a topic pattern has at most"),
            (json!({"postern": {"clients": ["a*b"]}}), "postern: \"a*b\": a client pattern"),
            (json!({"postern": {"clients": null}}), "postern: invalid type: null"),
            (json!({"postern": {"rate": -1}}), "postern: invalid value"),
            (json!({"postern": {"rate": 0}}), "postern: invalid value"),
            (json!({"postern": [["*"], ["#"]]}), "postern: it is no object"),
            (json!({"postern": null}), "postern: it is no object"),
            (json!({"sub": 7}), "sub: it is no string"),
            (json!({"sub": "a".repeat(256)}), "sub: it has more than 255 bytes"),
        ] {
            let error = read(&claims).unwrap_err();
            assert!(error.starts_with(said), "{claims}: {error}");
        }
    }

    #[test]
    fn the_name_of_the_claim_can_be_a_url() {
        let claims = json!({"https://app.example/postern": {"read": ["a.#"]}, "postern": {"read": ["#"]}});
        let rights = rights(claims.as_object().unwrap(), "https://app.example/postern").unwrap();
        assert_eq!(rights.read.unwrap()[0].as_str(), "a.#");
    }
}
