//! An answer, and the events in it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::Head;

/// A whole answer.
#[derive(Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Status and headers as they came.
    pub head: Head,
    /// The body.
    pub body: Vec<u8>,
}

/// The events of one answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// The events in order.
    pub events: Vec<EventView>,
    /// The token to echo with the next request.
    pub last_seen: String,
    /// Something is gone.
    #[serde(default)]
    pub reset: bool,
}

/// An event as a client sees it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct EventView {
    /// Its id.
    pub id: String,
    /// Its topic.
    pub topic: String,
    /// When it was published, RFC 3339.
    pub time: String,
    /// The payload, if it is JSON or text.
    #[serde(default)]
    pub data: Option<Value>,
    /// The payload in base64, if it is neither.
    #[serde(default)]
    pub data_base64: Option<String>,
    /// What the payload is, if it is not JSON.
    #[serde(default)]
    pub content_type: Option<String>,
    /// It may be a repeat.
    #[serde(default)]
    pub redelivered: bool,
    /// Fields that the contract does not know; a test of the contract checks that there are none.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl Answer {
    pub(crate) fn of(head: Head, body: Vec<u8>) -> Self {
        Self { status: head.status, head, body }
    }

    /// Returns the first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }

    /// Panics unless the status is this one.
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Returns the events of a 200; panics if it is anything else, or if body and header differ on the token.
    #[track_caller]
    pub fn batch(&self) -> Batch {
        assert_eq!((self.status, self.header("content-type")), (200, Some("application/json")), "{self:?}");
        let batch: Batch = serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no batch ({e}): {self:?}"));
        assert_eq!(self.header("last-seen"), Some(batch.last_seen.as_str()), "{self:?}");
        batch
    }

    /// Returns the `detail` of a problem with this status; panics if it is anything else.
    #[track_caller]
    pub fn problem(&self, status: u16) -> String {
        let found = (self.status, self.header("content-type"));
        assert_eq!(found, (status, Some("application/problem+json")), "{self:?}");
        self.json()["detail"].as_str().unwrap_or_else(|| panic!("no detail: {self:?}")).to_owned()
    }
}

impl Batch {
    /// Returns the ids in order.
    pub fn ids(&self) -> Vec<&str> {
        self.events.iter().map(|event| event.id.as_str()).collect()
    }

    /// Returns a numeric member of every event's data, in order.
    #[track_caller]
    pub fn numbers(&self, member: &str) -> Vec<u64> {
        self.events.iter().map(|event| event.number(member)).collect()
    }
}

impl EventView {
    /// Returns a numeric member of the data.
    #[track_caller]
    pub fn number(&self, member: &str) -> u64 {
        let number = self.data.as_ref().and_then(|data| data[member].as_u64());
        number.unwrap_or_else(|| panic!("no number {member:?} in {self:?}"))
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text: String = self.text().chars().take(2000).collect();
        write!(f, "{} {:?} {text:?}", self.status, self.head.headers)
    }
}
