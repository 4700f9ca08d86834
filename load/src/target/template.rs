//! Text with variables: `/topics/{topic}/events?last_seen={place}`.

use std::{fmt::Write as _, io::Write as _};

use serde::Deserialize;

use super::place::Place;

/// See the module. Braces around anything but a name (lower-case letters, digits, `_`, `-`) are text, so that JSON can be written as it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
}

/// The variables that every template knows; the others are places.
pub(super) const VARIABLES: [&str; 4] = ["client", "topic", "number", "payload"];

/// A template whose variables are known.
#[derive(Debug, Clone, Default)]
pub(super) struct Bound(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Client,
    Topic,
    Number,
    Payload,
    Place { index: usize, is_escaped: bool },
}

/// How clients and topics are named.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// `{}` stands for the number of the client.
    pub(crate) client: String,
    /// `{}` stands for the number of the topic.
    pub(crate) topic: String,
}

impl Names {
    /// Returns the name of a topic.
    pub(crate) fn topic(&self, number: u32) -> String {
        self.topic.replacen("{}", &number.to_string(), 1)
    }
}

/// What the variables stand for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a> {
    /// How clients and topics are named.
    pub(crate) names: &'a Names,
    /// The number of the client.
    pub(crate) client: u32,
    /// The number of the topic.
    pub(crate) topic: u32,
    /// Where the client is.
    pub(crate) place: &'a Place,
    /// What is published.
    pub(crate) payload: &'a [u8],
}

impl From<String> for Template {
    fn from(text: String) -> Self {
        let (mut parts, mut rest) = (Vec::new(), text.as_str());
        let mut literal = String::new();
        while let Some(start) = rest.find('{') {
            literal.push_str(&rest[..start]);
            rest = &rest[start..];
            let name = rest[1..].split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
            let length = name.map_or(1, |name| name.len() + 2);
            if let Some(name) = name {
                parts.push(Part::Text(std::mem::take(&mut literal)));
                parts.push(Part::Variable(name.to_owned()));
            } else {
                literal.push('{');
            }
            rest = &rest[length..];
        }
        literal.push_str(rest);
        parts.push(Part::Text(literal));
        parts.retain(|part| *part != Part::Text(String::new()));
        Self(parts)
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
}

impl Template {
    /// Returns the variables.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Tells whether it is a path.
    pub(super) fn starts_with_slash(&self) -> bool {
        matches!(self.0.first(), Some(Part::Text(text)) if text.starts_with('/'))
    }

    /// Tells whether a text that is no variable holds a line end.
    pub(super) fn has_line_end(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Text(text) if text.contains(['\r', '\n'])))
    }

    /// Binds the variables. In a path, a place has to be escaped.
    pub(super) fn bind(&self, places: &[String], is_escaped: bool) -> Bound {
        let piece = |part: &Part| match part {
            Part::Text(text) => Piece::Text(text.clone().into_bytes()),
            Part::Variable(name) => match name.as_str() {
                "client" => Piece::Client,
                "topic" => Piece::Topic,
                "number" => Piece::Number,
                "payload" => Piece::Payload,
                name => match places.iter().position(|place| place == name) {
                    Some(index) => Piece::Place { index, is_escaped },
                    // The file was checked.
                    None => Piece::Text(Vec::new()),
                },
            },
        };
        Bound(self.0.iter().map(piece).collect())
    }
}

impl Bound {
    /// Makes a text.
    pub(super) fn text(text: String) -> Self {
        Self(vec![Piece::Text(text.into_bytes())])
    }

    /// Joins texts; what needs no variable becomes one piece.
    pub(super) fn join(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut joined: Vec<Piece> = Vec::new();
        for piece in parts.into_iter().flat_map(|Self(pieces)| pieces) {
            match (joined.last_mut(), piece) {
                (Some(Piece::Text(before)), Piece::Text(text)) => before.extend_from_slice(&text),
                (_, piece) => joined.push(piece),
            }
        }
        Self(joined)
    }

    /// Tells whether it makes no sense without a place.
    pub(super) fn needs_place(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Place { .. }))
    }

    /// Appends the text.
    pub(super) fn render(&self, values: &Values<'_>, out: &mut Vec<u8>) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Client => numbered(&values.names.client, values.client, out),
                Piece::Topic => numbered(&values.names.topic, values.topic, out),
                // Writing to memory cannot fail.
                Piece::Number => drop(write!(out, "{}", values.client)),
                Piece::Payload => out.extend_from_slice(values.payload),
                Piece::Place { index, is_escaped: false } => out.extend_from_slice(values.place.part(*index)),
                Piece::Place { index, is_escaped: true } => escape(values.place.part(*index), out),
            }
        }
    }
}

/// Appends a name, with the number in the place of `{}`.
fn numbered(name: &str, number: u32, out: &mut Vec<u8>) {
    match name.split_once("{}") {
        Some((before, after)) => drop(write!(out, "{before}{number}{after}")),
        None => out.extend_from_slice(name.as_bytes()),
    }
}

/// Appends text for a URL (RFC 3986, section 2.1).
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            out.push(*byte);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Returns what a template may contain, for people.
pub(super) fn known(places: &[String]) -> String {
    let mut text = String::new();
    for name in VARIABLES.iter().copied().chain(places.iter().map(String::as_str)) {
        let _ = write!(text, "{}{{{name}}}", if text.is_empty() { "" } else { ", " });
    }
    text
}
