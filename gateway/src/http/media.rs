//! Which of several forms of an answer a client asks for.

use hyper::{HeaderMap, header::ACCEPT};

/// Tells whether `Accept` names a media type itself, and not with the weight 0, which refuses it (RFC 9110, section
/// 12.5.1).
pub(super) fn is_named(headers: &HeaderMap, media_type: &str) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.split(',').any(|part| names(part, media_type)))
}

fn names(part: &str, media_type: &str) -> bool {
    let mut parts = part.split(';').map(str::trim);
    let named = parts.next().is_some_and(|media| media.eq_ignore_ascii_case(media_type));
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    named && weight.is_none_or(|weight| weight.trim().parse() != Ok(0.0_f32))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_form_is_wanted_only_by_its_name() {
        let accepts = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(value));
            is_named(&headers, "text/event-stream")
        };
        assert!(accepts("text/event-stream") && accepts("application/json, text/event-stream;q=0.5"));
        assert!(accepts("Text/Event-Stream") && accepts("text/html,TEXT/EVENT-STREAM ; charset=utf-8"));
        assert!(!accepts("text/event-streamx") && !accepts("text/event-stream-2, x-text/event-stream"));
        assert!(!accepts("*/*") && !accepts("application/json") && !accepts("text/event-stream; q=0"));
    }
}
