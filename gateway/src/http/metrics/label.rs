//! The words that labels have as values: bounded sets, written in `lower_snake_case`.

use std::hash::Hash;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// A set of words that can be gone through.
pub(in crate::http) trait Words: Copy + 'static {
    /// Every one of them, in the order of their indexes.
    const ALL: &[Self];

    /// Returns its place among them.
    fn index(self) -> usize;
}

/// Labels whose values can be counted.
pub(in crate::http) trait Labels: Clone + Eq + Hash {
    /// How many values they have together.
    const COUNT: usize;

    /// Returns the place of these values among all.
    fn index(&self) -> usize;
}

impl<V: Words + Eq + Hash> Labels for [(&'static str, V); 1] {
    const COUNT: usize = V::ALL.len();

    fn index(&self) -> usize {
        self[0].1.index()
    }
}

/// Declares a set of words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(in crate::http) enum $name { $($(#[$word_doc])* $variant,)+ }

        impl $name {
            /// Returns it as the value of a label.
            pub(in crate::http) const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl Words for $name {
            const ALL: &[Self] = &[$(Self::$variant,)+];

            fn index(self) -> usize {
                self as usize
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
                self.word().encode(encoder)
            }
        }
    };
}

words! {
    /// How a poll was answered.
    Answer {
        /// With events.
        Batch = "batch",
        /// With nothing, at its deadline.
        Nothing = "nothing",
        /// With a stream of events.
        Stream = "stream",
        /// A newer poll took its place.
        Replaced = "replaced",
        /// With an error or a request to come back.
        Refused = "refused",
    }
}

words! {
    /// What became of a published event.
    Published {
        /// The broker confirmed it.
        Confirmed = "confirmed",
        /// The broker did not.
        Failed = "failed",
    }
}

words! {
    /// Why the guard refused a request.
    RefusedByGuard {
        /// `Host` is missing, is no host, or is there twice.
        WrongHost = "wrong_host",
        /// `Host` is no name of this gateway.
        UnknownHost = "unknown_host",
        /// `Origin` is that of a page that is not let in.
        Origin = "origin",
        /// A page of another site asks without the CORS protocol.
        CrossSite = "cross_site",
    }
}

words! {
    /// What a sender has reached its limit of.
    Limit {
        /// Connections.
        Connections = "connections",
        /// Polls that are held, and streams.
        Polls = "polls",
        /// Events that are published.
        Publishes = "publishes",
        /// Mailboxes that are made.
        Mailboxes = "mailboxes",
        /// Requests for mailboxes that were refused, or found none.
        Failures = "failures",
    }
}

words! {
    /// Where events are read from.
    Source {
        /// A mailbox.
        Mailbox = "mailbox",
        /// A feed.
        Feed = "feed",
    }
}

words! {
    /// How events are brought to a client.
    Transport {
        /// By one answer each time.
        Poll = "poll",
        /// As Server-Sent Events.
        Stream = "stream",
    }
}

/// What polls and streams are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(in crate::http) struct Reading {
    source: Source,
    transport: Transport,
}

impl Reading {
    /// Makes one of its words.
    pub(in crate::http) const fn of(source: Source, transport: Transport) -> Self {
        Self { source, transport }
    }
}

impl Labels for Reading {
    const COUNT: usize = Source::ALL.len() * Transport::ALL.len();

    fn index(&self) -> usize {
        self.source.index() * Transport::ALL.len() + self.transport.index()
    }
}

words! {
    /// How a client follows a feed.
    Follower {
        /// By polls, one of which waits.
        Waiting = "waiting",
        /// By a stream.
        Streaming = "streaming",
    }
}

words! {
    /// The operation of a request, also of one that is refused.
    Operation {
        /// A poll of a mailbox.
        MailboxPoll = "mailbox_poll",
        /// A stream of a mailbox.
        MailboxStream = "mailbox_stream",
        /// The state of a mailbox.
        MailboxStatus = "mailbox_status",
        /// The end of a mailbox.
        MailboxDelete = "mailbox_delete",
        /// One more pattern for a mailbox.
        MailboxBind = "mailbox_bind",
        /// One pattern less.
        MailboxUnbind = "mailbox_unbind",
        /// A poll of a feed.
        FeedPoll = "feed_poll",
        /// A stream of a feed.
        FeedStream = "feed_stream",
        /// The storing of an event.
        Publish = "publish",
        /// The storing of a batch of events.
        PublishBatch = "publish_batch",
        /// The page.
        Page = "page",
        /// The browser client.
        BrowserClient = "browser_client",
        /// The `OpenAPI` document.
        OpenApi = "openapi",
        /// Liveness.
        Live = "live",
        /// Readiness.
        Ready = "ready",
        /// These numbers.
        Metrics = "metrics",
        /// The methods of a path, or a preflight.
        Options = "options",
        /// A path that does not exist, or a method that it does not have.
        Unknown = "unknown",
    }
}

impl Operation {
    /// Returns what it reads, if its answer waits for events: then its duration says nothing about the gateway.
    pub(in crate::http) const fn reading(self) -> Option<Reading> {
        match self {
            Self::MailboxPoll => Some(Reading::of(Source::Mailbox, Transport::Poll)),
            Self::MailboxStream => Some(Reading::of(Source::Mailbox, Transport::Stream)),
            Self::FeedPoll => Some(Reading::of(Source::Feed, Transport::Poll)),
            Self::FeedStream => Some(Reading::of(Source::Feed, Transport::Stream)),
            _ => None,
        }
    }

    /// Tells whether its answer is a stream.
    pub(in crate::http) const fn is_stream(self) -> bool {
        matches!(self.reading(), Some(Reading { transport: Transport::Stream, .. }))
    }
}

words! {
    /// The methods that paths have; all others are one.
    Method {
        /// GET.
        Get = "get",
        /// HEAD.
        Head = "head",
        /// POST.
        Post = "post",
        /// PUT.
        Put = "put",
        /// DELETE.
        Delete = "delete",
        /// OPTIONS.
        Options = "options",
        /// Any other.
        Other = "other",
    }
}

words! {
    /// The class of a status code.
    Status {
        /// 2xx.
        Success = "2xx",
        /// 3xx.
        Redirection = "3xx",
        /// 4xx.
        ClientError = "4xx",
        /// 5xx.
        ServerError = "5xx",
        /// The client hung up before it had an answer.
        HungUp = "hung_up",
    }
}

impl Status {
    /// Returns the class of a code; `None` stands for no answer.
    pub(in crate::http) const fn of(code: Option<u16>) -> Self {
        match code {
            None => Self::HungUp,
            Some(..300) => Self::Success,
            Some(300..400) => Self::Redirection,
            Some(400..500) => Self::ClientError,
            Some(500..) => Self::ServerError,
        }
    }
}
