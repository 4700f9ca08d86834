//! What a gateway writes to another one: JSON with the version `v` and the operation `op`.
//!
//! What has another version or operation, or cannot be read, is passed over: gateways of two versions may run side by
//! side for days, and both must go on as if nothing had been said.

use std::{fmt, num::ParseIntError, str::FromStr};

use broker::handover::{Claim, Instance, Reply};
use events::{ClientId, TopicPattern};
use serde::{Deserialize, Serialize};

/// The version that is written and understood.
const VERSION: u8 = 1;

/// The longest message that is read, in bytes: a client id, a token and the order of a poll, at their longest, and
/// something for what later versions add.
const MAX_LEN: usize = 4096;

/// Names a question to its answers; 64 random bits, written as 16 hexadecimal digits, as the number of a Lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Number(pub(super) u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Number {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum Message {
    /// A poll waits here for this mailbox: let go of it.
    Release(Request),
    /// It still waits after this Lease was offered.
    Take {
        /// What was asked before.
        #[serde(flatten)]
        request: Request,
        /// The Lease that was offered.
        #[serde(with = "text")]
        lease: Number,
    },
    /// The mailbox is free.
    Released {
        /// To what.
        #[serde(flatten)]
        answer: Answer,
        /// What the token of the question stands for is confirmed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        confirmed: bool,
    },
    /// It is not held here.
    NotHeld {
        /// To what.
        #[serde(flatten)]
        answer: Answer,
        /// The gateway that was given it last, if one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Written<Instance>>,
    },
    /// There is a newer poll of the same instance here.
    Newer(Answer),
    /// Another reader is here, which goes if the poll still waits.
    Offer {
        /// To what.
        #[serde(flatten)]
        answer: Answer,
        /// The Lease that it would end.
        #[serde(with = "text")]
        lease: Number,
    },
    /// A mailbox was unbound from a pattern.
    Unbound {
        /// Who says so.
        #[serde(with = "text")]
        from: Instance,
        /// Whose mailbox.
        #[serde(with = "text")]
        client: ClientId,
        /// The pattern.
        #[serde(with = "text")]
        topic: TopicPattern,
        /// Names it, for the gateway that reads the mailbox to say that it has taken note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        req: Option<Written<Number>>,
    },
    /// The mailbox is read here, and it is noted that it was unbound.
    Noted(Answer),
    /// Mailboxes are out of reach, with their node.
    Away {
        /// Who says so.
        #[serde(with = "text")]
        from: Instance,
        /// Which node, if the broker named it.
        node: String,
        /// Whose mailboxes.
        #[serde(with = "text")]
        clients: Clients,
    },
    /// Their clients were told that events may be lost.
    Told {
        /// Who says so.
        #[serde(with = "text")]
        from: Instance,
        /// Whose mailboxes.
        #[serde(with = "text")]
        clients: Clients,
    },
}

/// Some mailboxes, written with commas between them, which no id has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clients(pub(super) Vec<ClientId>);

impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, client) in self.0.iter().enumerate() {
            write!(f, "{}{client}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Clients {
    type Err = <ClientId as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// A question for a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// Names the question.
    #[serde(with = "text")]
    pub(super) req: Number,
    /// Where the answer goes.
    #[serde(with = "text")]
    pub(super) from: Instance,
    /// Whose mailbox.
    #[serde(with = "text")]
    pub(super) client: ClientId,
    /// The last-seen token of the poll.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_seen: Option<String>,
    /// Where the poll stands among those of its instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) poll: Option<String>,
}

/// What another gateway says to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// The mailbox is free.
    Released {
        /// What the token of the question stands for is confirmed.
        confirmed: bool,
    },
    /// It is not held there; it was given to this gateway last.
    NotHeld(Option<Instance>),
    /// The client has a newer poll there.
    Newer,
    /// The reader of this Lease has to go if the poll still waits.
    Offered(Number),
    /// It is noted there that the mailbox was unbound.
    Noted,
}

/// Says which question is answered, and by which gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    #[serde(with = "text")]
    pub(super) req: Number,
    #[serde(with = "text")]
    pub(super) from: Instance,
}

/// A value that may be left out, written as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent, bound(serialize = "T: fmt::Display", deserialize = "T: FromStr<Err: fmt::Display>"))]
pub(super) struct Written<T>(#[serde(with = "text")] pub(super) T);

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u8,
    #[serde(flatten)]
    message: T,
}

impl Message {
    /// Makes the answer to a question.
    pub(super) const fn reply(answer: Answer, reply: Reply) -> Self {
        match reply {
            Reply::Released { is_seen_confirmed } => Self::Released { answer, confirmed: is_seen_confirmed },
            Reply::Newer => Self::Newer(answer),
            Reply::Offered(lease) => Self::Offer { answer, lease: Number(lease) },
        }
    }

    /// Writes it.
    pub(super) fn encode(&self) -> Vec<u8> {
        // Nothing in it can fail: its keys are texts.
        serde_json::to_vec(&Versioned { v: VERSION, message: self }).unwrap_or_default()
    }

    /// Reads one; `None` if it says nothing that is understood here.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_LEN {
            return None;
        }
        let Versioned { v, message } = serde_json::from_slice(bytes).ok()?;
        (v == VERSION).then_some(message)
    }
}

impl Request {
    /// Returns what the poll says of itself.
    pub(super) fn claim(&self) -> Claim {
        Claim { holder: None, last_seen: self.last_seen.clone(), poll: self.poll.clone() }
    }
}

/// Values that are written as they are shown.
mod text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out_of_reach::MAX_AT_ONCE;

    fn request() -> Request {
        Request {
            req: Number(0xfeed),
            from: Instance(1),
            client: "alice".parse().unwrap(),
            last_seen: Some("e1~00000002000000ff~7~0000abcd".to_owned()),
            poll: Some("tab7.42".to_owned()),
        }
    }

    fn clients<const N: usize>(ids: [&str; N]) -> Clients {
        Clients(ids.iter().map(|id| id.parse().unwrap()).collect())
    }

    #[test]
    fn so_many_mailboxes_have_room_in_a_message() {
        let longest = clients([&*"c".repeat(128); MAX_AT_ONCE]);
        let message = Message::Away { from: Instance(1), node: "n".repeat(255), clients: longest };
        assert_eq!(Message::decode(&message.encode()), Some(message));
    }

    /// What the first version has written. It is here for good: a gateway must understand those of the version before.
    #[test]
    fn recorded_messages_are_understood() {
        let bare = Request { last_seen: None, poll: None, ..request() };
        let answer = Answer { req: Number(0xfeed), from: Instance(2) };
        let recorded = [
            (
                Message::Release(request()),
                r#"{"v":1,"op":"release","req":"000000000000feed","from":"00000001","client":"alice","last_seen":"e1~00000002000000ff~7~0000abcd","poll":"tab7.42"}"#,
            ),
            (
                Message::Release(bare.clone()),
                r#"{"v":1,"op":"release","req":"000000000000feed","from":"00000001","client":"alice"}"#,
            ),
            (
                Message::Take { request: bare, lease: Number(u64::MAX) },
                r#"{"v":1,"op":"take","req":"000000000000feed","from":"00000001","client":"alice","lease":"ffffffffffffffff"}"#,
            ),
            (
                Message::reply(answer, Reply::Released { is_seen_confirmed: false }),
                r#"{"v":1,"op":"released","req":"000000000000feed","from":"00000002"}"#,
            ),
            (
                Message::reply(answer, Reply::Released { is_seen_confirmed: true }),
                r#"{"v":1,"op":"released","req":"000000000000feed","from":"00000002","confirmed":true}"#,
            ),
            (
                Message::NotHeld { answer, to: None },
                r#"{"v":1,"op":"not_held","req":"000000000000feed","from":"00000002"}"#,
            ),
            (
                Message::NotHeld { answer, to: Some(Written(Instance(3))) },
                r#"{"v":1,"op":"not_held","req":"000000000000feed","from":"00000002","to":"00000003"}"#,
            ),
            (
                Message::reply(answer, Reply::Newer),
                r#"{"v":1,"op":"newer","req":"000000000000feed","from":"00000002"}"#,
            ),
            (
                Message::reply(answer, Reply::Offered(7)),
                r#"{"v":1,"op":"offer","req":"000000000000feed","from":"00000002","lease":"0000000000000007"}"#,
            ),
            (
                Message::Unbound {
                    from: Instance(1),
                    client: "alice".parse().unwrap(),
                    topic: "jobs.*".parse().unwrap(),
                    req: None,
                },
                r#"{"v":1,"op":"unbound","from":"00000001","client":"alice","topic":"jobs.*"}"#,
            ),
            (
                Message::Unbound {
                    from: Instance(1),
                    client: "alice".parse().unwrap(),
                    topic: "jobs.*".parse().unwrap(),
                    req: Some(Written(Number(0xfeed))),
                },
                r#"{"v":1,"op":"unbound","from":"00000001","client":"alice","topic":"jobs.*","req":"000000000000feed"}"#,
            ),
            (Message::Noted(answer), r#"{"v":1,"op":"noted","req":"000000000000feed","from":"00000002"}"#),
            (
                Message::Away { from: Instance(1), node: "rabbit@b".to_owned(), clients: clients(["alice", "bob"]) },
                r#"{"v":1,"op":"away","from":"00000001","node":"rabbit@b","clients":"alice,bob"}"#,
            ),
            (
                Message::Told { from: Instance(1), clients: clients(["alice"]) },
                r#"{"v":1,"op":"told","from":"00000001","clients":"alice"}"#,
            ),
        ];
        for (message, text) in recorded {
            assert_eq!(Message::decode(text.as_bytes()), Some(message.clone()), "{text}");
            assert_eq!(String::from_utf8(message.encode()).unwrap(), text);
        }
    }

    #[test]
    fn what_is_not_understood_is_passed_over() {
        let known = String::from_utf8(Message::Release(request()).encode()).unwrap();
        let more = known.replace("\"req\"", "\"later\":{\"x\":[1]},\"req\"");
        assert_eq!(Message::decode(more.as_bytes()), Some(Message::Release(request())), "a later version may say more");
        for strange in [
            known.replace("\"v\":1", "\"v\":2"),
            known.replace("\"release\"", "\"rejoice\""),
            known.replace("alice", "a b"),
            known.replace("feed", "food"),
            known.replace("\"op\":\"release\",", ""),
            known.replace("tab7", &"x".repeat(MAX_LEN)),
            known[..40].to_owned(),
            "[]".to_owned(),
            String::new(),
        ] {
            assert_eq!(Message::decode(strange.as_bytes()), None, "{strange}");
        }
    }
}
