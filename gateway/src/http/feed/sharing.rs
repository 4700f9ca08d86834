//! Which answers of polls a shared cache may keep, and for how long (RFC 9111).
//!
//! `--feed-cache` allows it. The rules, and what goes wrong without each, are in `docs/src/feed-cache.md`. The invariant: an
//! answer that may be kept depends on nothing but the URL and the headers that its `Vary` names, and never sends its receiver
//! back to its own URL while it is kept for longer than [`MOMENT`].

use std::time::{Duration, SystemTime};

use events::TopicPattern;
use feeds::{Cursor, Hold, Slot, Slots, Start};
use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, VARY},
};

use crate::http::{body::HttpResponse, query::LAST_EVENT_ID};

/// How long an answer may be kept that may be another one soon.
const MOMENT: Duration = Duration::from_secs(1);

/// The headers by which a client says who it is, or where it is: what is answered to them is for that client.
const OWN: [HeaderName; 4] = [AUTHORIZATION, COOKIE, LAST_EVENT_ID, IF_NONE_MATCH];

/// What the answer to a URL depends on besides: either of these headers comes before the place in a URL.
const VARY_OF_PLACE: HeaderValue = HeaderValue::from_static("accept, last-event-id");
/// Where the URL has no place, a tag is one.
const VARY_OF_BEGINNING: HeaderValue = HeaderValue::from_static("accept, last-event-id, if-none-match");

/// A poll whose answer is the same for every client that asks for its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sharing {
    /// How long it asks to be held.
    wait: Duration,
    /// The slot of its token.
    slot: Option<Slot>,
    /// Its token names a place, and the place its log.
    has_place: bool,
}

impl Sharing {
    /// Returns it for a poll from this place, unless what the poll gets is for its client alone.
    pub(super) fn of(start: Start, token: Option<&str>, wait: Duration, headers: &HeaderMap) -> Option<Self> {
        if OWN.iter().any(|name| headers.contains_key(name)) {
            return None;
        }
        let has_place = matches!(start, Start::After(cursor) if cursor.names_its_log());
        Some(Self { wait, slot: token.and_then(|token| Slot::split(token).1), has_place })
    }

    /// Tells for how long it is held; `None` for not at all.
    pub(super) fn hold(self, pattern: &TopicPattern) -> Option<Hold> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (!self.wait.is_zero()).then(|| Slots::of(pattern, self.wait).hold(now, self.slot))
    }

    /// Returns the token of an answer without events.
    pub(super) fn token(self, place: Cursor, hold: Option<Hold>) -> String {
        match hold {
            Some(Hold { next, .. }) if self.has_place => format!("{place}~{next}"),
            _ => place.to_string(),
        }
    }

    /// Lets caches keep an answer for so long, or for a moment.
    pub(super) fn allow(self, is_empty: bool, cache: Duration, response: &mut HttpResponse) {
        // A poll that is not held comes back to the same URL by and by, for news.
        let is_for_long = self.has_place && !(is_empty && self.wait.is_zero());
        let seconds = if is_for_long { cache } else { MOMENT }.as_secs();
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::try_from(format!("public, max-age=0, s-maxage={seconds}")) {
            headers.insert(CACHE_CONTROL, value);
        }
        headers.insert(VARY, if self.has_place { VARY_OF_PLACE } else { VARY_OF_BEGINNING });
        // What has the tag would ask with it whether the answer is still the same, and a tag is a place here.
        headers.remove(ETAG);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = "7~6~0000002a";

    fn of(token: Option<&str>, wait: u64, headers: &[(HeaderName, &'static str)]) -> Option<Sharing> {
        let start = token.map_or(Start::Newest, |token| token.parse().unwrap());
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        Sharing::of(start, token, Duration::from_secs(wait), &headers)
    }

    fn kept_s(sharing: Sharing, is_empty: bool) -> u64 {
        let mut response = crate::http::response::json(hyper::StatusCode::OK, "{}");
        sharing.allow(is_empty, Duration::from_mins(1), &mut response);
        let value = response.headers()[CACHE_CONTROL].to_str().unwrap();
        value.strip_prefix("public, max-age=0, s-maxage=").unwrap().parse().unwrap()
    }

    #[test]
    fn what_is_for_one_client_is_not_shared() {
        assert!(of(Some(PLACE), 25, &[]).is_some() && of(None, 25, &[(VARY, "x")]).is_some());
        for header in OWN {
            assert_eq!(of(Some(PLACE), 25, &[(header.clone(), "")]), None, "{header}");
        }
    }

    #[test]
    fn only_a_place_that_names_its_log_is_kept_for_long() {
        let kept = |token, wait, is_empty| kept_s(of(token, wait, &[]).unwrap(), is_empty);
        for token in [PLACE, "7~6~0000002a~3", "7~0~0000002a"] {
            assert_eq!([kept(Some(token), 25, false), kept(Some(token), 25, true)], [60, 60], "{token}");
            assert_eq!([kept(Some(token), 0, false), kept(Some(token), 0, true)], [60, 1], "{token}");
        }
        for token in [None, Some("now"), Some("oldest"), Some("7~0~00000000"), Some("of-another-server")] {
            assert_eq!([kept(token, 25, false), kept(token, 25, true)], [1, 1], "{token:?}");
        }
    }

    #[test]
    fn an_empty_answer_leads_to_another_url_unless_it_is_kept_for_a_moment() {
        let pattern = TopicPattern::all();
        for asked in [PLACE, "7~6~0000002a~1", "7~6~0000002a~999999999999999"] {
            let Ok(Start::After(place)) = asked.parse() else { panic!("{asked} is no place") };
            let sharing = of(Some(asked), 25, &[]).unwrap();
            let first = sharing.token(place, sharing.hold(&pattern));
            assert!(first.starts_with("7~6~0000002a~") && first != asked, "{first}");
            let short = of(Some(asked), 0, &[]).unwrap();
            assert_eq!(short.token(place, short.hold(&pattern)), PLACE);
        }
    }
}
