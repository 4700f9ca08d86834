//! What a poll of a mailbox, or a stream of it, asks for.

use std::str::FromStr;

use events::TopicPattern;
use hyper::HeaderMap;
use mailboxes::{LastSeen, PollRequest};

use crate::http::{
    problem::Problem,
    query::{self, Query, bad},
};

/// The most patterns that one request may name.
pub(crate) const MAX_TOPICS: usize = 64;

/// Reads a poll of a mailbox, or a stream of it.
///
/// An `EventSource` repeats the last id that it got, also that of another system at the same URL, and never retries
/// after an error. So an id that is not a token of this gateway stands for a place of another log.
pub(crate) fn read(query: Option<&str>, headers: &HeaderMap, is_stream: bool) -> Result<Box<PollRequest>, Problem> {
    let query = Query::read(query)?;
    query.has_no("fold", "only feeds are folded, at /topics/{topic}/events")?;
    let (deadline, limit) = (query.deadline()?, query.limit()?);
    Ok(Box::new(PollRequest {
        topics: topics(&query)?,
        last_seen: match last_seen(&query, headers) {
            Err(_) if is_stream && query.has_event_id(headers) => Some(LastSeen::elsewhere()),
            read => read?,
        },
        limit,
        deadline,
        order: query.get("poll").map(|text| text.parse().map_err(|error| bad("poll", &error))).transpose()?,
        may_see: None,
        goes_on: is_stream,
    }))
}

fn topics(query: &Query) -> Result<Vec<TopicPattern>, Problem> {
    let Some(text) = query.get("topics") else { return Ok(Vec::new()) };
    let topics: Vec<TopicPattern> = text
        .split(',')
        .map(|pattern| {
            pattern
                .parse()
                .map_err(|error| bad("topics", &format_args!("{pattern:?}: {error}{}", query::hint(pattern))))
        })
        .collect::<Result<_, _>>()?;
    if topics.len() > MAX_TOPICS {
        return Err(bad("topics", &format_args!("at most {MAX_TOPICS} patterns, not {}", topics.len())));
    }
    Ok(topics)
}

fn last_seen(query: &Query, headers: &HeaderMap) -> Result<Option<LastSeen>, Problem> {
    let token = query.token(headers)?;
    token.map(|(name, text)| LastSeen::from_str(text).map_err(|error| bad(name, &error))).transpose()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mailboxes::PollOrder;
    use tokio::time::Instant;

    use super::*;

    fn asking(query: &str) -> Result<Box<PollRequest>, String> {
        read(Some(query), &HeaderMap::new(), false).map_err(|problem| match problem {
            Problem::BadRequest(detail) => detail,
            other => format!("{other:?}"),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn defaults_and_every_parameter() {
        let plain = read(None, &HeaderMap::new(), false).unwrap();
        assert_eq!((plain.topics.len(), plain.limit, plain.last_seen, plain.order), (0, 100, None, None));
        let wait = plain.deadline - Instant::now();
        assert!((Duration::from_millis(22_500)..=Duration::from_secs(25)).contains(&wait), "{wait:?}");
        let full = asking("topics=a.*,b.%23&last_seen=T&wait=0&limit=1&poll=tab.x.7&_=1&_=2").unwrap();
        assert_eq!(full.topics, ["a.*".parse().unwrap(), "b.#".parse().unwrap()]);
        assert_eq!((full.last_seen.unwrap().as_str(), full.deadline, full.limit), ("T", Instant::now(), 1));
        assert_eq!(full.order, Some(PollOrder { instance: "tab.x".to_owned(), number: 7 }));
    }

    #[test]
    fn the_header_comes_before_the_query_and_empty_is_none() {
        let mut headers = HeaderMap::new();
        headers.insert("last-event-id", "H".parse().unwrap());
        let token = |query, headers: &HeaderMap| read(Some(query), headers, false).unwrap().last_seen;
        assert_eq!(token("last_seen=Q", &headers).unwrap().as_str(), "H");
        assert_eq!(token("last_seen=Q", &HeaderMap::new()).unwrap().as_str(), "Q");
        headers.insert("last-event-id", "".parse().unwrap());
        assert_eq!(token("last_seen=", &headers), None);
    }

    #[test]
    fn a_name_that_is_long_is_not_compared() {
        let detail = asking(&format!("last_seen{}=T", "_".repeat(3900))).unwrap_err();
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
            let detail = asking(query).unwrap_err();
            assert!(detail.starts_with(start), "{query}: {detail}");
        }
    }
}
