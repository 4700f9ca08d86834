//! Which server is under load: how it is read from, how a place is told, and how it is published to.
//!
//! A [`file`](self::file) in TOML describes a server, also those that are built in; [`template`] fills its paths and headers in;
//! [`place`] is what a client says to go on where it was; [`request`] is the bytes that a server is sent.

mod file;
pub(crate) mod place;
pub(crate) mod request;
mod template;

use std::{fs, io, net::SocketAddr};

use self::{
    file::{Asked, File, Way},
    place::Source,
    request::{Common, Request},
};

pub(crate) use self::template::{Names, Values};

/// The servers that are built in, by name.
const BUILT_IN: [(&str, &str); 2] =
    [("postern", include_str!("../targets/postern.toml")), ("nchan", include_str!("../targets/nchan.toml"))];

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// For people.
    pub(crate) name: String,
    /// How a client reads.
    pub(crate) read: Read,
    /// The request that publishes one event; not every target can be published to.
    pub(crate) publish: Option<Publish>,
}

/// How a client reads.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    /// Which way of the server.
    pub(crate) way: String,
    /// The request whose answer tells where to begin.
    pub(crate) first: Option<Request>,
    /// The request that is held, or begins a stream.
    pub(crate) next: Request,
    /// `next` begins a stream of Server-Sent Events.
    pub(crate) is_stream: bool,
    /// The request at the end.
    pub(crate) leave: Option<Request>,
    /// Where an answer tells the place.
    pub(crate) places: Vec<Source>,
    /// The statuses of an answer with events.
    pub(crate) events: Vec<u16>,
    /// The statuses of an answer without any.
    pub(crate) nothing: Vec<u16>,
    /// Each client has a topic of its own, unless the command line says otherwise.
    pub(crate) own_topics: bool,
    /// What marks an event as a repeat.
    pub(crate) repeated: Option<Vec<u8>>,
    /// What marks an answer that tells of a loss.
    pub(crate) reset: Option<Vec<u8>>,
}

/// How an event is published.
#[derive(Debug, Clone)]
pub(crate) struct Publish {
    /// The request.
    pub(crate) request: Request,
    /// Events come from the exchange of Postern on an AMQP broker, too.
    pub(crate) has_amqp: bool,
    /// The statuses that confirm it.
    pub(crate) confirmed: Vec<u16>,
}

/// What of a target is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The name of one that is built in, or the path of a file.
    pub(crate) target: &'a str,
    /// Which way to read; the first without this.
    pub(crate) way: Option<&'a str>,
    /// Server-Sent Events in place of long-polls.
    pub(crate) stream: bool,
    /// Where the server listens.
    pub(crate) address: SocketAddr,
    /// Where events are published.
    pub(crate) publish_address: SocketAddr,
    /// More headers of each request.
    pub(crate) headers: &'a [(String, String)],
}

/// Why there is no such target.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// The file cannot be read.
    #[error("cannot read the target {0}: {1}; the built-in ones are {names}, and `load --print-target nchan` shows one", names = names())]
    Unreadable(String, io::Error),
    /// It is no such file.
    #[error("in the target {name}: {text}\n`load --print-target nchan` shows a complete one")]
    Wrong {
        /// Its name.
        name: String,
        /// What is wrong, with the line.
        text: String,
    },
    /// It cannot be read in that way.
    #[error("the target {target} has no [read.{way}]; it has {known}")]
    NoWay {
        /// Its name.
        target: String,
        /// The way.
        way: String,
        /// Those that it has.
        known: String,
    },
    /// It does not have that transport.
    #[error(
        "[read.{way}] of the target {target} has no `{transport}.path`, so it cannot be read in this way: {remedy}"
    )]
    NoTransport {
        /// Its name.
        target: String,
        /// The way.
        way: String,
        /// The key that is missing.
        transport: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

/// Returns the description of a built-in target.
pub(crate) fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Returns the names of the built-in targets, for people.
pub(crate) fn names() -> String {
    BUILT_IN.map(|(name, _)| name).join(" and ")
}

impl Target {
    /// Finds a target and makes its requests ready.
    pub(crate) fn find(wanted: &Wanted<'_>) -> Result<Self, TargetError> {
        let name = wanted.target;
        let text = match built_in(name) {
            Some(text) => text.to_owned(),
            None => fs::read_to_string(name).map_err(|error| TargetError::Unreadable(name.to_owned(), error))?,
        };
        let file = File::read(&text).map_err(|text| TargetError::Wrong { name: name.to_owned(), text })?;
        Self::build(file, wanted)
    }

    fn build(mut file: File, wanted: &Wanted<'_>) -> Result<Self, TargetError> {
        let known: Vec<String> = file.read.keys().cloned().collect();
        let way = wanted.way.map_or_else(|| known.first().cloned().unwrap_or_default(), ToOwned::to_owned);
        let Some(chosen) = file.read.remove(&way) else {
            return Err(TargetError::NoWay { target: file.name, way, known: known.join(", ") });
        };
        let Way { first, poll, stream, leave, places, events, nothing, own_topics } = chosen;
        let (asked, transport, remedy) = if wanted.stream {
            (stream, "stream", "add it, or leave out --transport sse")
        } else {
            (poll, "poll", "add it, or read it with --transport sse")
        };
        let Some(next) = asked else {
            return Err(TargetError::NoTransport { target: file.name, way, transport, remedy });
        };
        let places = place::sources(places, wanted.stream);
        let to = |address| Common { address, headers: wanted.headers };
        let request = |asked: &Asked, default: &str, accept: &str| {
            Request::new(asked, default, accept, &places, to(wanted.address))
        };
        let accept = if wanted.stream { "text/event-stream" } else { "" };
        Ok(Self {
            read: Read {
                first: first.map(|first| request(&first, "GET", "")),
                next: request(&next, "GET", accept),
                is_stream: wanted.stream,
                leave: leave.map(|leave| request(&leave, "GET", "")),
                events,
                nothing,
                own_topics,
                repeated: file.repeated.map(String::into_bytes),
                reset: file.reset.map(String::into_bytes),
                way,
                places: places.clone(),
            },
            publish: file.publish.map(|publish| Publish {
                request: Request::new(&publish.asked(), "POST", "", &places, to(wanted.publish_address)),
                has_amqp: publish.amqp,
                confirmed: publish.confirmed,
            }),
            name: file.name,
        })
    }
}

#[cfg(test)]
mod tests;
