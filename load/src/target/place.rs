//! What a client says to go on where it was: one value or several, each told by a header of an answer or by its JSON.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::http::answer::Answer;

/// The name of the place that the id of a Server-Sent Event tells.
pub(super) const OF_STREAM: &str = "place";

/// Between the values; no header has a line end.
const SEPARATOR: u8 = b'\n';

/// Where an answer tells a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The name in templates.
    pub(super) name: String,
    at: At,
}

/// The same in a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum At {
    /// In this header, named in lower case.
    Header(String),
    /// In the JSON of the body, by a pointer such as `/last_seen` (RFC 6901).
    Pointer(String),
}

/// See the module; empty until an answer has told it.
#[derive(Debug, Default)]
pub(crate) struct Place(Vec<u8>);

/// Returns the sources in a fixed order, that of streams first.
pub(super) fn sources(mut places: BTreeMap<String, At>, is_stream: bool) -> Vec<Source> {
    // No header has an empty name, so only the id of an event tells such a place.
    let of_stream = places.remove(OF_STREAM).or_else(|| is_stream.then(|| At::Header(String::new())));
    let first = of_stream.map(|at| (OF_STREAM.to_owned(), at));
    first.into_iter().chain(places).map(|(name, at)| Source { name, at }).collect()
}

impl Place {
    /// Tells whether an answer has told it.
    pub(crate) const fn is_known(&self) -> bool {
        !self.0.is_empty()
    }

    /// Returns one value, or nothing.
    pub(super) fn part(&self, index: usize) -> &[u8] {
        self.0.split(|byte| *byte == SEPARATOR).nth(index).unwrap_or_default()
    }

    /// Takes the values that an answer tells; where it does not tell all of them, the place stays.
    pub(crate) fn note(&mut self, sources: &[Source], answer: &Answer<'_>, scratch: &mut Vec<u8>) {
        scratch.clear();
        let mut json = None;
        for Source { at, .. } in sources {
            let is_told = match at {
                At::Header(name) => answer.head.header(name).map(|value| scratch.extend_from_slice(value)),
                At::Pointer(pointer) => {
                    let json: &serde_json::Value =
                        json.get_or_insert_with(|| serde_json::from_slice(&answer.content).unwrap_or_default());
                    json.pointer(pointer).map(|value| match value.as_str() {
                        Some(text) => scratch.extend_from_slice(text.as_bytes()),
                        None => scratch.extend_from_slice(value.to_string().as_bytes()),
                    })
                }
            };
            if is_told.is_none() {
                return;
            }
            scratch.push(SEPARATOR);
        }
        if memchr::memchr_iter(SEPARATOR, scratch).count() == sources.len() {
            self.0.clear();
            self.0.extend_from_slice(scratch);
        }
    }

    /// Takes the id of a Server-Sent Event.
    pub(crate) fn note_id(&mut self, id: &[u8]) {
        self.0.clear();
        self.0.extend_from_slice(id);
    }
}
