//! What a gateway's answer says about the event.
//!
//! Pure. Only `202` is a confirm. A status that speaks of the event refuses it; one that speaks of the gateway's
//! health, or of a proxy's before it, is a reason to try again; `507` says that a mailbox is full, and each try leaves
//! a repeat in the others; any other does not come from a gateway.

use std::time::Duration;

use hyper::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use serde_json::Value;

use super::batch;
use crate::transport::SendError;

/// The most characters of a `detail` that are shown.
const MAX_DETAIL: usize = 500;

/// Says what became of the event.
pub(super) fn verdict(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<(), SendError> {
    let said = said(status, headers, body);
    match status {
        StatusCode::ACCEPTED => Ok(()),
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Err(SendError::Refused(said)),
        // 408: the body did not come in time.
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(unavailable(said, headers)),
        // A mailbox is full; those that are not have the event.
        StatusCode::INSUFFICIENT_STORAGE => Err(SendError::Rejected(said)),
        status if status.is_server_error() => Err(unavailable(said, headers)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(SendError::WrongDestination(format!("{said}; check user and password in --gateway, or --token-file")))
        }
        _ => Err(SendError::WrongDestination(format!("{said}; check --gateway"))),
    }
}

/// What an answer says about the events of a batch.
#[derive(Debug)]
pub(super) enum BatchVerdict {
    /// What became of each.
    Settled(Vec<Result<(), SendError>>),
    /// One of them is refused, and so nothing of the batch is stored.
    Refused(Vec<Result<(), SendError>>),
    /// The batch is too large, or something in it is refused that is not named.
    TooLarge,
    /// There is no place for batches.
    NoBatches,
}

/// Says what became of the events of a batch, which have these ids.
pub(super) fn batch_verdict(status: StatusCode, headers: &HeaderMap, body: &[u8], ids: &[&str]) -> BatchVerdict {
    let problem = problem(headers, body).unwrap_or_default();
    let each =
        |of: &dyn Fn(usize, &str) -> Result<(), SendError>| ids.iter().enumerate().map(|(n, id)| of(n, id)).collect();
    let names = |member: &str, id: &str| {
        problem[member].as_array().is_some_and(|named| named.iter().any(|named| named.as_str() == Some(id)))
    };
    let wrong = problem["index"].as_u64().and_then(|index| usize::try_from(index).ok()).filter(|n| *n < ids.len());
    let of_all = |verdict: Result<(), SendError>| match verdict {
        Ok(()) => each(&|_, _| Ok(())),
        Err(error) => batch::of_all(error, ids.len()),
    };
    match (verdict(status, headers, body), wrong) {
        _ if matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => BatchVerdict::NoBatches,
        _ if status == StatusCode::PAYLOAD_TOO_LARGE => BatchVerdict::TooLarge,
        (Err(error), Some(wrong)) if status.is_client_error() => BatchVerdict::Refused(each(&|n, _| {
            let reason = error.to_string();
            Err(if n == wrong { SendError::Refused(reason) } else { SendError::NotTried(reason) })
        })),
        (Err(SendError::Refused(_)), _) if ids.len() > 1 => BatchVerdict::TooLarge,
        (Err(_), _) if problem["confirmed"].is_array() => BatchVerdict::Settled(each(&|_, id| {
            let reason = said(status, headers, body);
            match () {
                () if names("confirmed", id) => Ok(()),
                () if names("rejected", id) => Err(SendError::Rejected(reason)),
                () => Err(unavailable(reason, headers)),
            }
        })),
        (verdict, _) => BatchVerdict::Settled(of_all(verdict)),
    }
}

fn unavailable(reason: String, headers: &HeaderMap) -> SendError {
    SendError::Unavailable { reason, was_sent: true, retry_after: retry_after(headers) }
}

/// Reads seconds (RFC 9110, section 10.2.3). A date is left alone: it would need clocks that agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Returns the status, and the `detail` of a problem (RFC 9457) or the target of a redirection.
fn said(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> String {
    let target = || {
        let target = headers.get(LOCATION).filter(|_| status.is_redirection())?;
        Some(format!("it is at {}", target.to_str().ok()?))
    };
    let detail = problem(headers, body).and_then(|problem| Some(problem.get("detail")?.as_str()?.to_owned()));
    match detail.or_else(target) {
        Some(detail) => format!("{status}: {}", printable(&detail)),
        None => status.to_string(),
    }
}

fn problem(headers: &HeaderMap, body: &[u8]) -> Option<Value> {
    let is_problem = headers.get(CONTENT_TYPE)?.to_str().ok()?.starts_with("application/problem+json");
    if is_problem { serde_json::from_slice(body).ok() } else { None }
}

/// Leaves out what would move a terminal's cursor, and what is too much.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_DETAIL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn shown(status: u16, pairs: &[(&'static str, &str)], body: &str) -> String {
        match verdict(StatusCode::from_u16(status).unwrap(), &headers(pairs), body.as_bytes()) {
            Ok(()) => "stored".to_owned(),
            Err(SendError::Refused(text)) => format!("refused: {text}"),
            Err(SendError::WrongDestination(text)) => format!("wrong place: {text}"),
            Err(SendError::Rejected(text)) => format!("rejected: {text}"),
            Err(SendError::Unavailable { reason, was_sent: true, retry_after }) => {
                format!("again after {retry_after:?}: {reason}")
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_status_says_one_of_five_things() {
        let problem = ("content-type", "application/problem+json");
        let too_large = r#"{"status":413,"detail":"an event has at most 9 bytes here"}"#;
        for (status, pairs, body, expected) in [
            (202, &[][..], "{}", "stored"),
            (413, &[problem][..], too_large, "refused: 413 Payload Too Large: an event has at most 9 bytes here"),
            (400, &[problem], "{}", "refused: 400 Bad Request"),
            (400, &[], too_large, "refused: 400 Bad Request"),
            (415, &[], "", "refused: 415 Unsupported Media Type"),
            (422, &[problem], "{nope", "refused: 422 Unprocessable Entity"),
            (503, &[("retry-after", "4")], "", "again after Some(4s): 503 Service Unavailable"),
            (429, &[("retry-after", "Fri, 20 Nov 2026 10:00:00 GMT")], "", "again after None: 429 Too Many Requests"),
            (503, &[problem], r#"{"detail":"full"}"#, "again after None: 503 Service Unavailable: full"),
            (
                507,
                &[problem],
                r#"{"detail":"a mailbox is full"}"#,
                "rejected: 507 Insufficient Storage: a mailbox is full",
            ),
            (408, &[], "", "again after None: 408 Request Timeout"),
            (500, &[], "", "again after None: 500 Internal Server Error"),
            (502, &[], "<html>", "again after None: 502 Bad Gateway"),
            (404, &[problem], r#"{"detail":"no\u001b[2J"}"#, "wrong place: 404 Not Found: no [2J; check --gateway"),
            (405, &[], "", "wrong place: 405 Method Not Allowed; check --gateway"),
            (200, &[], "", "wrong place: 200 OK; check --gateway"),
            (204, &[], "", "wrong place: 204 No Content; check --gateway"),
            (401, &[], "", "wrong place: 401 Unauthorized; check user and password in --gateway, or --token-file"),
            (
                301,
                &[("location", "https://x/")],
                "",
                "wrong place: 301 Moved Permanently: it is at https://x/; check --gateway",
            ),
        ] {
            assert_eq!(shown(status, pairs, body), expected);
        }
    }

    #[test]
    fn of_a_batch_each_event_has_an_answer() {
        let ids = ["a", "b", "c"];
        let shown = |status: u16, body: &str| {
            let headers = headers(&[("content-type", "application/problem+json")]);
            let word = |answer: &Result<(), SendError>| match answer {
                Ok(()) => "stored",
                Err(SendError::Refused(_)) => "refused",
                Err(SendError::Rejected(_)) => "rejected",
                Err(SendError::Unavailable { .. }) => "again",
                Err(SendError::NotTried(_)) => "not tried",
                Err(_) => "wrong place",
            };
            match batch_verdict(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), &ids) {
                BatchVerdict::Settled(answers) => answers.iter().map(word).collect::<Vec<_>>().join(", "),
                BatchVerdict::Refused(answers) => {
                    format!("refused: {}", answers.iter().map(word).collect::<Vec<_>>().join(", "))
                }
                BatchVerdict::TooLarge => "too large".to_owned(),
                BatchVerdict::NoBatches => "no batches".to_owned(),
            }
        };
        for (status, body, expected) in [
            (202, r#"{"ids":["a","b","c"]}"#, "stored, stored, stored"),
            (202, "", "stored, stored, stored"),
            (400, r#"{"index":1}"#, "refused: not tried, refused, not tried"),
            (403, r#"{"index":0}"#, "refused: refused, not tried, not tried"),
            (400, r#"{"index":3}"#, "too large"),
            (400, "oops", "too large"),
            (413, "{}", "too large"),
            (404, "{}", "no batches"),
            (405, "{}", "no batches"),
            (503, r#"{"confirmed":["a"],"rejected":["c"]}"#, "stored, again, rejected"),
            (503, r#"{"confirmed":[],"rejected":[]}"#, "again, again, again"),
            (503, "{}", "again, again, again"),
            (429, "{}", "again, again, again"),
            (401, "{}", "wrong place, not tried, not tried"),
            (403, "{}", "wrong place, not tried, not tried"),
        ] {
            assert_eq!(shown(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_detail_is_cut() {
        let body = format!(r#"{{"detail":"{}"}}"#, "x".repeat(10_000));
        let shown = shown(400, &[("content-type", "application/problem+json; charset=utf-8")], &body);
        assert_eq!(shown.len(), "refused: 400 Bad Request: ".len() + MAX_DETAIL);
    }
}
