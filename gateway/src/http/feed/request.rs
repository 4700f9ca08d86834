//! What a poll of a Feed, or a stream of it, asks for.

use std::str::FromStr;

use events::Selection;
use feeds::{Cursor, FeedRequest, Start};
use hyper::{HeaderMap, header::IF_NONE_MATCH};
use mailboxes::LastSeen;

use super::sharing::Sharing;
use crate::http::{
    problem::Problem,
    query::{Query, bad},
};

/// A poll of a Feed, or a stream of it, as HTTP asks for it.
#[derive(Debug)]
pub(crate) struct FeedPoll {
    pub(crate) request: FeedRequest,
    pub(super) empty_status: EmptyStatus,
    /// How its answer can be shared, if it can.
    pub(super) sharing: Option<Sharing>,
}

/// How a Feed is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Poll {
        /// Shared caches may keep its answer (`--feed-cache`).
        may_be_kept: bool,
    },
    Stream,
}

/// What an answer without events is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EmptyStatus {
    /// 204.
    NoContent,
    /// 304, to a conditional request (RFC 9110, section 13).
    NotModified,
}

/// Reads a poll of a Feed, or a stream of it.
pub(crate) fn read(
    selection: Selection,
    query: Option<&str>,
    headers: &HeaderMap,
    manner: Manner,
) -> Result<Box<FeedPoll>, Problem> {
    let query = Query::read(query)?;
    query.has_no("topics", "the topics of a feed, or patterns of them, are in its path")?;
    let (deadline, limit) = (query.deadline()?, query.limit()?);
    let latest_only = match query.get("fold") {
        None => false,
        Some("latest") => true,
        Some(other) => return Err(bad("fold", &format_args!("latest, or nothing, not {other:?}"))),
    };
    let (start, is_conditional) = match place(&query, headers) {
        Err(_) if manner == Manner::Stream && query.has_event_id(headers) => (Some(Start::Unknown), false),
        Ok(None) => {
            let tagged = tagged(headers)?;
            (tagged, tagged.is_some())
        }
        read => (read?, false),
    };
    let start = start.unwrap_or(Start::Newest);
    let sharing = if manner == (Manner::Poll { may_be_kept: true }) && !latest_only {
        let token = query.token(headers)?.map(|(_, token)| token);
        Sharing::of(start, token, query.wait()?, headers)
    } else {
        None
    };
    let request = FeedRequest { selection, start, limit, latest_only, deadline };
    let empty_status = if is_conditional { EmptyStatus::NotModified } else { EmptyStatus::NoContent };
    Ok(Box::new(FeedPoll { request, empty_status, sharing }))
}

/// Returns where a poll of a Feed wants to go on, if it says so by a token.
fn place(query: &Query, headers: &HeaderMap) -> Result<Option<Start>, Problem> {
    let Some((name, text)) = query.token(headers)? else { return Ok(None) };
    let start = text.parse().unwrap_or(Start::Unknown);
    if start == Start::Unknown {
        LastSeen::from_str(text).map_err(|error| bad(name, &error))?;
    }
    Ok(Some(start))
}

/// Returns the place of the first tag in `If-None-Match` that has one, compared weakly (RFC 9110, section 8.8.3.2).
/// Other tags stand for a place of another log, `*` for none.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_looked_for_in_every_line_and_any_other_is_of_another_log() {
        let start = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(IF_NONE_MATCH, line.parse().unwrap());
            }
            read(Selection::all(), None, &headers, Manner::Poll { may_be_kept: false })
                .map(|poll| (poll.request.start, poll.empty_status))
        };
        let known = Cursor::beginning("7~0000002a").unwrap();
        for lines in [
            &["\"7~0000002a\""][..],
            &["\"x\"", "\"7~0000002a\""],
            &["", "\"\", W/\"7~0000002a-gzip\""],
            &["\"x,y\"", "\"a b\"", "*, \"7~0000002a\", \"8~0000002a\""],
        ] {
            assert_eq!(start(lines).unwrap(), (Start::After(known), EmptyStatus::NotModified), "{lines:?}");
        }
        for lines in [&["\"\""][..], &["W/\"\"", "\"x\""]] {
            assert_eq!(start(lines).unwrap(), (Start::Unknown, EmptyStatus::NotModified), "{lines:?}");
        }
        for lines in [&[][..], &["*"], &["", ","]] {
            assert_eq!(start(lines).unwrap(), (Start::Newest, EmptyStatus::NoContent), "{lines:?}");
        }
        assert!(start(&["\"x\"", "7~0000002a"]).is_err());
    }
}
