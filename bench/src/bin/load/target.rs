//! How a server wants to be asked for the events of a feed: what a place is, and how a request names it.

use std::io::Write;

use anyhow::Context;
use clap::ValueEnum;

use super::answer::Answer;

/// Which server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Style {
    /// `last_seen` and the header `Last-Seen`.
    Postern,
    /// nginx with nchan: `If-Modified-Since` and `If-None-Match`. Its channel has to hold an event already.
    Nchan,
}

/// The headers that every request has.
const HEADERS: &str = "HTTP/1.1\r\nhost: localhost\r\n";

/// What a client says to go on where it was. Two headers for nchan, one token for Postern.
#[derive(Debug, Default)]
pub(crate) struct Place {
    token: Vec<u8>,
    time: Vec<u8>,
}

impl Style {
    /// Writes the request whose answer tells a first place.
    pub(crate) fn ask_first(self, path: &str, request: &mut Vec<u8>) {
        request.clear();
        // Writing to memory cannot fail.
        let _ = match self {
            Self::Postern => write!(request, "GET {path}?last_seen=now&wait=0 {HEADERS}\r\n"),
            Self::Nchan => write!(request, "GET {path} {HEADERS}\r\n"),
        };
    }

    /// Writes the request that waits for what is after a place.
    pub(crate) fn ask(self, path: &str, place: &Place, request: &mut Vec<u8>) {
        request.clear();
        let parts: &[&[u8]] = match self {
            Self::Postern => {
                &[b"GET ", path.as_bytes(), b"?wait=55&last_seen=", &place.token, b" ", HEADERS.as_bytes(), b"\r\n"]
            }
            Self::Nchan => &[
                b"GET ",
                path.as_bytes(),
                b" ",
                HEADERS.as_bytes(),
                b"if-modified-since: ",
                &place.time,
                b"\r\nif-none-match: ",
                &place.token,
                b"\r\n\r\n",
            ],
        };
        for part in parts {
            request.extend_from_slice(part);
        }
    }

    /// Takes the place that an answer tells.
    pub(crate) fn note(self, answer: &Answer, place: &mut Place) -> anyhow::Result<()> {
        let header = |name| answer.header(name).with_context(|| format!("no {name} in {}", answer.text()));
        place.token.clear();
        match self {
            Self::Postern => place.token.extend_from_slice(header("last-seen")?),
            Self::Nchan => {
                place.token.extend_from_slice(header("etag")?);
                place.time.clear();
                place.time.extend_from_slice(header("last-modified")?);
            }
        }
        Ok(())
    }
}

/// Writes the request that publishes an event with this number; the payload is a small status message.
pub(crate) fn publish(path: &str, number: u32, request: &mut Vec<u8>) {
    let payload = format!(r#"{{"n":{number},"state":"passed","detail":"step 3 of 7 took 12.5 s"}}"#);
    let length = payload.len();
    request.clear();
    let _ = write!(
        request,
        "POST {path} {HEADERS}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{payload}"
    );
}
