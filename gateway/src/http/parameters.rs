//! Queries and headers of a poll. Whatever is wrong is said in words that name the parameter.

use std::{borrow::Cow, str::FromStr, time::Duration};

use events::TopicPattern;
use hyper::{
    HeaderMap,
    header::{HeaderName, IF_NONE_MATCH},
};
use tokio::time::Instant;

use super::problem::Problem;
use crate::{
    feed::{Cursor, FeedRequest, Start},
    mailbox::{LastSeen, PollOrder, PollRequest},
};

/// Seconds that a poll is held when it does not say.
const DEFAULT_WAIT_S: u64 = 25;
/// Proxies give up after 60 s.
const MAX_WAIT_S: u64 = 55;
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 500;
const MAX_TOPICS: usize = 64;
/// The longest instance of `poll=<instance>.<n>`, in bytes.
const MAX_INSTANCE: usize = 64;

/// What a browser's `EventSource` tells its place by (WHATWG HTML, section 9.2.4); it repeats its first URL for ever.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The same as a parameter, where a polyfill cannot send the header.
const LAST_EVENT_ID_PARAMETER: &str = "lastEventId";

/// Reads a poll of a mailbox, or a stream of it.
///
/// An `EventSource` repeats the last id that it got, also that of another system at the same URL, and never retries after an
/// error. So an id that is not a token of this gateway stands for a place of another log.
pub(super) fn poll(query: Option<&str>, headers: &HeaderMap, is_stream: bool) -> Result<PollRequest, Problem> {
    let query = Query::read(query)?;
    query.has_no("fold", "only feeds are folded, at /topics/{topic}/events")?;
    let wait = query.number("wait", &0, &MAX_WAIT_S)?.unwrap_or(DEFAULT_WAIT_S);
    let limit = query.number("limit", &1, &MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    Ok(PollRequest {
        topics: topics(&query)?,
        last_seen: match last_seen(&query, headers) {
            Err(_) if is_stream && query.has_event_id(headers) => Some(LastSeen::elsewhere()),
            read => read?,
        },
        limit,
        deadline: Instant::now() + spread(Duration::from_secs(wait)),
        order: query.get("poll").map(order).transpose()?,
    })
}

/// Reads a poll of a Feed, or a stream of it; and whether it is conditional (RFC 9110, section 13): then nothing new is a 304.
pub(super) fn feed(
    pattern: TopicPattern,
    query: Option<&str>,
    headers: &HeaderMap,
    is_stream: bool,
) -> Result<(FeedRequest, bool), Problem> {
    let query = Query::read(query)?;
    query.has_no("topics", "the topic of a feed, or one pattern, is in its path")?;
    let wait = query.number("wait", &0, &MAX_WAIT_S)?.unwrap_or(DEFAULT_WAIT_S);
    let limit = query.number("limit", &1, &MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    let latest_only = match query.get("fold") {
        None => false,
        Some("latest") => true,
        Some(other) => return Err(bad("fold", &format_args!("latest, or nothing, not {other:?}"))),
    };
    let (start, is_conditional) = match place(&query, headers) {
        Err(_) if is_stream && query.has_event_id(headers) => (Some(Start::Unknown), false),
        Ok(None) => {
            let tagged = tagged(headers)?;
            (tagged, tagged.is_some())
        }
        read => (read?, false),
    };
    let start = start.unwrap_or(Start::Newest);
    let deadline = Instant::now() + spread(Duration::from_secs(wait));
    Ok((FeedRequest { pattern, start, limit, latest_only, deadline }, is_conditional))
}

/// Returns where a poll of a Feed wants to go on, if it says so by a token.
fn place(query: &Query, headers: &HeaderMap) -> Result<Option<Start>, Problem> {
    let Some((name, text)) = token(query, headers)? else { return Ok(None) };
    let start = text.parse().unwrap_or(Start::Unknown);
    if start == Start::Unknown {
        LastSeen::from_str(text).map_err(|error| bad(name, &error))?;
    }
    Ok(Some(start))
}

/// Returns the place of the first tag in `If-None-Match` that has one, compared weakly (RFC 9110, section 8.8.3.2). Other tags
/// stand for a place of another log, `*` for none.
fn tagged(headers: &HeaderMap) -> Result<Option<Start>, Problem> {
    let mut start = None;
    for value in headers.get_all(IF_NONE_MATCH) {
        let text = String::from_utf8_lossy(value.as_bytes());
        let mut rest = &*text;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                break;
            }
            if let Some(after) = rest.strip_prefix('*') {
                rest = after;
                continue;
            }
            let quoted = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"');
            let Some((tag, after)) = quoted.and_then(|tag| tag.split_once('"')) else {
                return Err(bad("If-None-Match", &"a quoted tag, as an answer gave it"));
            };
            if let Some(cursor) = Cursor::beginning(tag) {
                return Ok(Some(Start::After(cursor)));
            }
            (start, rest) = (Some(Start::Unknown), after);
        }
    }
    Ok(start)
}

/// Shortens a wait by up to 10 %, so that clients that were answered together do not come back together.
fn spread(wait: Duration) -> Duration {
    wait.mul_f64(1.0 - 0.1 * rand::random::<f64>())
}

fn topics(query: &Query) -> Result<Vec<TopicPattern>, Problem> {
    let Some(text) = query.get("topics") else { return Ok(Vec::new()) };
    let topics: Vec<TopicPattern> = text
        .split(',')
        .map(|pattern| {
            pattern.parse().map_err(|error| bad("topics", &format_args!("{pattern:?}: {error}{}", hint(pattern))))
        })
        .collect::<Result<_, _>>()?;
    if topics.len() > MAX_TOPICS {
        return Err(bad("topics", &format_args!("at most {MAX_TOPICS} patterns, not {}", topics.len())));
    }
    Ok(topics)
}

/// Says what is most likely wrong with a pattern that breaks off: an URL ends before `#` (RFC 3986, section 3.5).
pub(super) fn hint(pattern: &str) -> &'static str {
    if pattern.is_empty() || pattern.ends_with('.') { "; in a URL, # is written %23" } else { "" }
}

fn last_seen(query: &Query, headers: &HeaderMap) -> Result<Option<LastSeen>, Problem> {
    let token = token(query, headers)?;
    token.map(|(name, text)| LastSeen::from_str(text).map_err(|error| bad(name, &error))).transpose()
}

/// Returns the token of a poll and where it stands. An empty one is how a client says that it has none yet.
fn token<'a>(query: &'a Query, headers: &'a HeaderMap) -> Result<Option<(&'static str, &'a str)>, Problem> {
    let header = match headers.get(LAST_EVENT_ID) {
        Some(value) => Some(value.to_str().map_err(|_| bad("Last-Event-ID", &"it is not ASCII"))?),
        None => None,
    };
    let given = [
        ("Last-Event-ID", header),
        (LAST_EVENT_ID_PARAMETER, query.get(LAST_EVENT_ID_PARAMETER)),
        ("last_seen", query.get("last_seen")),
    ];
    Ok(given.into_iter().find_map(|(name, text)| Some((name, text.filter(|text| !text.is_empty())?))))
}

fn order(text: &str) -> Result<PollOrder, Problem> {
    let wrong = || bad("poll", &"it looks like <instance>.<n>, e.g. poll=tab7.42");
    let (instance, number) = text.rsplit_once('.').ok_or_else(wrong)?;
    let fits = (1..=MAX_INSTANCE).contains(&instance.len()) && instance.bytes().all(events::is_token_byte);
    let number = number.parse().map_err(|_| wrong())?;
    if fits { Ok(PollOrder { instance: instance.to_owned(), number }) } else { Err(wrong()) }
}

fn bad(parameter: &str, what: &dyn std::fmt::Display) -> Problem {
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

/// The parameters of a poll. One that nothing knows is a slip, which would be paid for later: `lastSeen` for `last_seen` confirms
/// nothing. Only what begins with `_` is left alone, as what keeps caches away does.
struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    const KNOWN: [&'static str; 7] = ["topics", "last_seen", LAST_EVENT_ID_PARAMETER, "wait", "limit", "poll", "fold"];

    fn read(query: Option<&'a str>) -> Result<Self, Problem> {
        let mut known: Vec<(Cow<str>, Cow<str>)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if name.starts_with('_') {
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

    /// Tells whether the place is that of an `EventSource`.
    fn has_event_id(&self, headers: &HeaderMap) -> bool {
        let header = headers.get(LAST_EVENT_ID).is_some_and(|id| !id.is_empty());
        header || self.get(LAST_EVENT_ID_PARAMETER).is_some_and(|id| !id.is_empty())
    }

    /// Refuses a parameter that belongs to the other kind of resource, and would change nothing here.
    fn has_no(&self, name: &str, why: &str) -> Result<(), Problem> {
        if self.get(name).is_some() { Err(bad(name, &why)) } else { Ok(()) }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    fn number<N: FromStr + PartialOrd + std::fmt::Display>(
        &self,
        name: &str,
        least: &N,
        most: &N,
    ) -> Result<Option<N>, Problem> {
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

    fn read(query: &str) -> Result<PollRequest, String> {
        poll(Some(query), &HeaderMap::new(), false).map_err(|problem| match problem {
            Problem::BadRequest(detail) => detail,
            other => format!("{other:?}"),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn defaults_and_every_parameter() {
        let plain = poll(None, &HeaderMap::new(), false).unwrap();
        assert_eq!((plain.topics.len(), plain.limit, plain.last_seen, plain.order), (0, 100, None, None));
        let wait = plain.deadline - Instant::now();
        assert!((Duration::from_millis(22_500)..=Duration::from_secs(25)).contains(&wait), "{wait:?}");
        let full = read("topics=a.*,b.%23&last_seen=T&wait=0&limit=1&poll=tab.x.7&_=1&_=2").unwrap();
        assert_eq!(full.topics, ["a.*".parse().unwrap(), "b.#".parse().unwrap()]);
        assert_eq!((full.last_seen.unwrap().as_str(), full.deadline, full.limit), ("T", Instant::now(), 1));
        assert_eq!(full.order, Some(PollOrder { instance: "tab.x".to_owned(), number: 7 }));
    }

    #[test]
    fn the_header_comes_before_the_query_and_empty_is_none() {
        let mut headers = HeaderMap::new();
        headers.insert(LAST_EVENT_ID, "H".parse().unwrap());
        let token = |query, headers: &HeaderMap| poll(Some(query), headers, false).unwrap().last_seen;
        assert_eq!(token("last_seen=Q", &headers).unwrap().as_str(), "H");
        assert_eq!(token("last_seen=Q", &HeaderMap::new()).unwrap().as_str(), "Q");
        headers.insert(LAST_EVENT_ID, "".parse().unwrap());
        assert_eq!(token("last_seen=", &headers), None);
    }

    #[test]
    fn a_tag_is_looked_for_in_every_line_and_any_other_is_of_another_log() {
        let start = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(IF_NONE_MATCH, line.parse().unwrap());
            }
            feed(TopicPattern::all(), None, &headers, false)
                .map(|(request, is_conditional)| (request.start, is_conditional))
        };
        let known = Cursor::beginning("7~0000002a").unwrap();
        for lines in [
            &["\"7~0000002a\""][..],
            &["\"x\"", "\"7~0000002a\""],
            &["", "\"\", W/\"7~0000002a-gzip\""],
            &["\"x,y\"", "\"a b\"", "*, \"7~0000002a\", \"8~0000002a\""],
        ] {
            assert_eq!(start(lines).unwrap(), (Start::After(known), true), "{lines:?}");
        }
        for lines in [&["\"\""][..], &["W/\"\"", "\"x\""]] {
            assert_eq!(start(lines).unwrap(), (Start::Unknown, true), "{lines:?}");
        }
        for lines in [&[][..], &["*"], &["", ","]] {
            assert_eq!(start(lines).unwrap(), (Start::Newest, false), "{lines:?}");
        }
        assert!(start(&["\"x\"", "7~0000002a"]).is_err());
    }

    #[test]
    fn a_name_that_is_long_is_not_compared() {
        let detail = read(&format!("last_seen{}=T", "_".repeat(3900))).unwrap_err();
        assert!(detail.contains("there is no such parameter, only"), "{detail}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let many = format!("topics={}", vec!["a"; 65].join(","));
        let wrong = [
            ("wait=56", "wait: a whole number from 0 to 55"),
            ("wait=-1", "wait:"),
            ("wait=1.5", "wait:"),
            ("wait=", "wait:"),
            ("limit=0", "limit: a whole number from 1 to 500"),
            ("limit=501", "limit:"),
            ("topics=", "topics: \"\": a topic has 1 to 255 bytes"),
            ("topics=a,,b", "topics:"),
            (
                "topics=jobs.",
                "topics: \"jobs.\": a topic pattern is words of A-Z a-z 0-9 _ -, or * or #, joined by dots, but its word 2 is not one; in a URL, # is written %23",
            ),
            ("topics=a%20b", "topics:"),
            (&many, "topics: at most 64"),
            ("last_seen=a%20b", "last_seen:"),
            ("poll=7", "poll:"),
            ("poll=.7", "poll:"),
            ("poll=a.-1", "poll:"),
            ("wait=1&wait=2", "wait: it is given twice"),
            ("limt=3", "limt: there is no such parameter; did you mean limit?"),
            ("topic=a", "topic: there is no such parameter; did you mean topics?"),
            ("lastSeen=T", "lastSeen: there is no such parameter; did you mean last_seen?"),
            ("last-event-id=T", "last-event-id: there is no such parameter; did you mean lastEventId?"),
            ("tenant=7", "tenant: there is no such parameter, only topics, last_seen, "),
            ("=7", ": there is no such parameter, only"),
        ];
        for (query, start) in wrong {
            let detail = read(query).unwrap_err();
            assert!(detail.starts_with(start), "{query}: {detail}");
        }
    }
}
