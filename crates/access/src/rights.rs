//! What a request may do.

use std::{fmt, str::FromStr, sync::Arc};

use events::{ClientId, ClientIdError, Topic, TopicPattern};
use tokio::time::Instant;

/// Separates the name of a user from that of a device or a tab, in the id of a mailbox.
const DEVICE_SEPARATOR: char = '~';

/// What the sender of a request may do. The default is nothing.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    /// The name that limits and logs know the sender by.
    pub subject: Option<Arc<str>>,
    /// The mailboxes that may be read and ended.
    pub clients: Vec<ClientPattern>,
    /// What may be read. `None`: mailboxes are read whole, and nothing else is.
    pub read: Option<Arc<[TopicPattern]>>,
    /// The topics that may be published to.
    pub publish: Vec<TopicPattern>,
    /// How many events a second may be published, if that differs from the limit for all.
    pub publish_rate: Option<u32>,
    /// They are those of a request without a token.
    pub is_anonymous: bool,
    /// When they end; the leeway of clocks is in it.
    pub expires: Option<Instant>,
}

impl Rights {
    /// Everything, for ever.
    #[must_use]
    pub fn all() -> Self {
        Self {
            clients: vec![ClientPattern::Any],
            read: Some([TopicPattern::all()].into()),
            publish: vec![TopicPattern::all()],
            ..Self::default()
        }
    }

    /// Checks the use of a mailbox.
    pub fn use_mailbox(&self, client: &ClientId) -> Result<(), Denied> {
        let is_covered = self.clients.iter().any(|pattern| pattern.includes(client));
        if is_covered { Ok(()) } else { Err(Denied::Client(client.clone())) }
    }

    /// Checks the binding of a mailbox, or the following of a feed: all that the pattern selects must be allowed.
    pub fn read(&self, pattern: &TopicPattern) -> Result<(), Denied> {
        let is_covered = self.read.as_ref().is_some_and(|allowed| {
            let is_named = allowed.iter().any(|known| known == pattern || known.is_all());
            is_named || events::covers(allowed, pattern)
        });
        if is_covered { Ok(()) } else { Err(Denied::Read(pattern.clone())) }
    }

    /// Checks a publish.
    pub fn publish(&self, topic: &Topic) -> Result<(), Denied> {
        let is_covered = self.publish.iter().any(|pattern| pattern.matches(topic));
        if is_covered { Ok(()) } else { Err(Denied::Publish(topic.clone())) }
    }

    /// Tells whether there is any topic that may be published to.
    #[must_use]
    pub const fn may_publish(&self) -> bool {
        !self.publish.is_empty()
    }

    /// Returns which events of a mailbox may be handed out; `None` stands for all of them.
    #[must_use]
    pub fn may_see(&self) -> Option<Arc<[TopicPattern]>> {
        self.read.clone().filter(|allowed| !allowed.iter().any(TopicPattern::is_all))
    }
}

/// What rights do not include.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A mailbox.
    #[error(
        "client: no right to the mailbox {0}: a token has one to that of its \"sub\", or to those that \"clients\" of its \
         claim names; a request without one if --anonymous-mailboxes is given"
    )]
    Client(ClientId),
    /// A pattern.
    #[error(
        "topics: no right to read all that {0} selects: \"read\" of the token's claim has to include it, or \
         --anonymous-read for a request without a token"
    )]
    Read(TopicPattern),
    /// A topic.
    #[error(
        "topic: no right to publish to {0}: \"publish\" of the token's claim has to select it, or --anonymous-publish \
         for a request without a token"
    )]
    Publish(Topic),
    /// Any topic.
    #[error(
        "topic: no right to publish: \"publish\" of the token's claim has to select the topics, or --anonymous-publish for a \
         request without a token"
    )]
    PublishAny,
}

/// Names mailboxes: one id, all ids that begin alike, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientPattern {
    /// `*`
    Any,
    /// `alice`
    One(ClientId),
    /// `alice~*`
    Prefix(ClientId),
}

impl ClientPattern {
    /// Returns what the name of a user includes by itself: its own mailbox, and one for each device or tab.
    ///
    /// A name with the separator in it includes nothing: it could be that of another user's device.
    #[must_use]
    pub fn of_subject(subject: &str) -> Vec<Self> {
        let Ok(own) = subject.parse::<ClientId>() else { return Vec::new() };
        if subject.contains(DEVICE_SEPARATOR) {
            return Vec::new();
        }
        let devices = format!("{subject}{DEVICE_SEPARATOR}").parse().map(Self::Prefix);
        [Self::One(own)].into_iter().chain(devices).collect()
    }

    /// Tells whether an id is among them.
    #[must_use]
    pub fn includes(&self, client: &ClientId) -> bool {
        match self {
            Self::Any => true,
            Self::One(id) => id == client,
            Self::Prefix(prefix) => client.as_str().starts_with(prefix.as_str()),
        }
    }
}

/// Why a text is no [`ClientPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a client pattern is a client id, the beginning of one and *, or * alone: {0}")]
pub struct ClientPatternError(#[from] ClientIdError);

impl FromStr for ClientPattern {
    type Err = ClientPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_suffix('*') {
            Some("") => Ok(Self::Any),
            Some(prefix) => Ok(Self::Prefix(prefix.parse()?)),
            None => Ok(Self::One(text.parse()?)),
        }
    }
}

impl fmt::Display for ClientPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::One(id) => id.fmt(f),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn included(patterns: &[ClientPattern], id: &str) -> bool {
        patterns.iter().any(|pattern| pattern.includes(&id.parse().unwrap()))
    }

    #[test]
    fn a_user_has_a_mailbox_and_one_for_each_device() {
        let of_alice = ClientPattern::of_subject("alice");
        for (id, is_included) in [
            ("alice", true),
            ("alice~phone", true),
            ("alice~", true),
            ("alicea", false),
            ("alice.x", false),
            ("bob", false),
        ] {
            assert_eq!(included(&of_alice, id), is_included, "{id}");
        }
        for name in ["alice~phone", "auth0|5f", "", "a b"] {
            assert_eq!(ClientPattern::of_subject(name), [], "{name}");
        }
        // The id of a device would not fit any more.
        assert!(included(&ClientPattern::of_subject(&"a".repeat(128)), &"a".repeat(128)));
    }

    #[test]
    fn a_pattern_is_an_id_a_beginning_or_all() {
        let pattern = |text: &str| text.parse::<ClientPattern>();
        for (text, id, is_included) in
            [("*", "x", true), ("a.*", "a.b", true), ("a.*", "a", false), ("a", "a", true), ("a", "ab", false)]
        {
            assert_eq!(included(&[pattern(text).unwrap()], id), is_included, "{text} {id}");
            assert_eq!(pattern(text).unwrap().to_string(), text);
        }
        for wrong in ["", "a*b", "**", "a b", "a|*"] {
            assert!(pattern(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rights_without_read_show_a_mailbox_whole_and_bind_nothing() {
        let pattern: TopicPattern = "a.#".parse().unwrap();
        let mut rights = Rights { clients: vec![ClientPattern::Any], ..Rights::default() };
        assert_eq!((rights.may_see(), rights.read(&pattern).is_err()), (None, true));
        rights.read = Some([pattern.clone()].into());
        assert_eq!((rights.may_see().unwrap()[..].to_vec(), rights.read(&pattern)), (vec![pattern.clone()], Ok(())));
        rights.read = Some([pattern.clone(), TopicPattern::all()].into());
        assert_eq!((rights.may_see(), rights.read(&TopicPattern::all())), (None, Ok(())));
        rights.read = Some([].into());
        assert!(rights.may_see().unwrap().is_empty() && rights.read(&pattern).is_err());
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        let rights = Rights::default();
        let denied = rights.use_mailbox(&"a".parse().unwrap()).unwrap_err();
        assert!(denied.to_string().contains("the mailbox a:"), "{denied}");
        let denied = rights.publish(&"a.b".parse().unwrap()).unwrap_err();
        assert!(denied.to_string().contains("publish to a.b:"), "{denied}");
        assert!(Rights::all().publish(&"a.b".parse().unwrap()).is_ok());
    }
}
