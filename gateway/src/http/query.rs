//! The query of a poll. Whatever is wrong is said in words that name the parameter.

use std::{borrow::Cow, fmt::Display, str::FromStr, time::Duration};

use events::http_names;
use hyper::{HeaderMap, header::HeaderName};
use tokio::time::Instant;

use super::{problem::Problem, split::split_once};

/// Seconds that a poll is held when it does not say.
pub(super) const DEFAULT_WAIT_S: u64 = 25;
/// Proxies give up after 60 s.
pub(super) const MAX_WAIT_S: u64 = 55;
/// How many events an answer has at most when the poll does not say.
pub(super) const DEFAULT_LIMIT: usize = 100;
/// How many events a poll may ask for.
pub(super) const MAX_LIMIT: usize = 500;

/// What a browser's `EventSource` tells its place by (WHATWG HTML, section 9.2.4); it repeats its first URL for ever.
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static(http_names::LAST_EVENT_ID);

/// The same as a parameter, where a polyfill cannot send the header.
const LAST_EVENT_ID_PARAMETER: &str = "lastEventId";

/// Says what is most likely wrong with a pattern that breaks off: an URL ends before `#` (RFC 3986, section 3.5).
pub(super) fn hint(pattern: &str) -> &'static str {
    if pattern.is_empty() || pattern.ends_with('.') { "; in a URL, # is written %23" } else { "" }
}

/// Returns what is said of a parameter, or a header, that is wrong.
pub(super) fn bad(parameter: &str, what: &dyn Display) -> Problem {
    Problem::BadRequest(format!("{parameter}: {what}"))
}

/// The length of the longest name that is compared with others, in bytes: no known one is half as long.
const MAX_COMPARED: usize = 32;

/// Says what the unknown parameter may be meant for.
fn unknown(name: &str) -> Problem {
    let plain = |name: &str| name.to_lowercase().replace(['_', '-'], "");
    let likeness = |known: &&str| strsim::normalized_damerau_levenshtein(&plain(name), &plain(known));
    // A comparison takes as many steps as the one name has letters, times those of the other.
    let comparable = Query::KNOWN.into_iter().filter(|_| name.len() <= MAX_COMPARED);
    let likely = comparable.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let what = match likely.filter(|known| likeness(known) > 0.5) {
        Some(likely) => format!("there is no such parameter; did you mean {likely}?"),
        None => format!(
            "there is no such parameter, only {}; one that begins with _ is left alone",
            Query::KNOWN.join(", ")
        ),
    };
    bad(name, &what)
}

/// Returns a name with its value, decoded as those of a form are (WHATWG URL, section 5.1). Most have nothing that is to
/// be decoded, and are taken as they are.
fn decoded(pair: &str) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    if pair.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return form_urlencoded::parse(pair.as_bytes()).next();
    }
    let (name, value) = split_once(pair, b'=').unwrap_or((pair, ""));
    Some((name.into(), value.into()))
}

/// The parameters of a poll. One that nothing knows is a slip, which would be paid for later: `lastSeen` for
/// `last_seen` confirms nothing. Only what begins with `_` is left alone, as what keeps caches away does.
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// The parameters that there are.
    pub(super) const KNOWN: [&'static str; 7] =
        ["topics", "last_seen", LAST_EVENT_ID_PARAMETER, "wait", "limit", "poll", "fold"];

    /// Reads a query.
    pub(super) fn read(query: Option<&'a str>) -> Result<Self, Problem> {
        let mut known: Vec<(Cow<str>, Cow<str>)> = Vec::new();
        let mut rest = query.unwrap_or_default();
        while !rest.is_empty() {
            let (pair, after) = split_once(rest, b'&').unwrap_or((rest, ""));
            rest = after;
            let Some((name, value)) = decoded(pair) else { continue };
            if pair.is_empty() || name.starts_with('_') {
                continue;
            }
            if !Self::KNOWN.contains(&&*name) {
                return Err(unknown(&name));
            }
            if known.iter().any(|(earlier, _)| *earlier == name) {
                return Err(bad(&name, &"it is given twice"));
            }
            known.push((name, value));
        }
        Ok(Self(known))
    }

    /// Returns when a poll ends that got nothing: up to 10 % before it asks to, so that clients that were answered
    /// together do not come back together.
    pub(super) fn deadline(&self) -> Result<Instant, Problem> {
        Ok(Instant::now() + self.wait()?.mul_f64(1.0 - 0.1 * rand::random::<f64>()))
    }

    /// Returns how long a poll asks to be held.
    pub(super) fn wait(&self) -> Result<Duration, Problem> {
        Ok(Duration::from_secs(self.number("wait", &0, &MAX_WAIT_S)?.unwrap_or(DEFAULT_WAIT_S)))
    }

    /// Returns how many events an answer may have.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        Ok(self.number("limit", &1, &MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT))
    }

    /// Returns the token of a poll and where it stands. An empty one is how a client says that it has none yet.
    pub(super) fn token<'t>(&'t self, headers: &'t HeaderMap) -> Result<Option<(&'static str, &'t str)>, Problem> {
        let header = match headers.get(LAST_EVENT_ID) {
            Some(value) => Some(value.to_str().map_err(|_| bad("Last-Event-ID", &"it is not ASCII"))?),
            None => None,
        };
        let given = [
            ("Last-Event-ID", header),
            (LAST_EVENT_ID_PARAMETER, self.get(LAST_EVENT_ID_PARAMETER)),
            ("last_seen", self.get("last_seen")),
        ];
        Ok(given.into_iter().find_map(|(name, text)| Some((name, text.filter(|text| !text.is_empty())?))))
    }

    /// Tells whether the place is that of an `EventSource`.
    pub(super) fn has_event_id(&self, headers: &HeaderMap) -> bool {
        let header = headers.get(LAST_EVENT_ID).is_some_and(|id| !id.is_empty());
        header || self.get(LAST_EVENT_ID_PARAMETER).is_some_and(|id| !id.is_empty())
    }

    /// Refuses a parameter that belongs to the other kind of resource, and would change nothing here.
    pub(super) fn has_no(&self, name: &str, why: &str) -> Result<(), Problem> {
        if self.get(name).is_some() { Err(bad(name, &why)) } else { Ok(()) }
    }

    /// Returns the value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    fn number<N: FromStr + PartialOrd + Display>(&self, name: &str, least: &N, most: &N) -> Result<Option<N>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if (least..=most).contains(&&number) => Ok(Some(number)),
            _ => Err(bad(name, &format_args!("a whole number from {least} to {most}, not {text:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_decoded_as_one_of_a_form_is() {
        for pair in ["a", "a=", "=b", "a=b=c", "a+b=%41%2b", "ü=é", "%C3%BC=%", "a=%ff", "+"] {
            let expected: Vec<_> = form_urlencoded::parse(pair.as_bytes()).collect();
            assert_eq!(decoded(pair).into_iter().collect::<Vec<_>>(), expected, "{pair}");
        }
    }
}
