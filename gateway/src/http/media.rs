//! Which of two forms of an answer a client asks for.

use hyper::{HeaderMap, header::ACCEPT};

/// Tells whether `Accept` names a media type itself, and gives it no smaller weight than that which is answered otherwise (RFC
/// 9110, section 12.5.1); with the weight 0 it refuses it.
pub(super) fn is_preferred(headers: &HeaderMap, media_type: &str, otherwise: &str) -> bool {
    let Some(weight) = weight(headers, media_type) else { return false };
    let (kind, _) = otherwise.split_once('/').unwrap_or((otherwise, ""));
    // The most specific range that includes it has its weight.
    let ranges = [otherwise, &format!("{kind}/*"), "*/*"];
    let other = ranges.into_iter().find_map(|range| self::weight(headers, range));
    weight > 0.0 && weight >= other.unwrap_or(0.0)
}

/// Returns the greatest weight that a range is named with; 1 is the default.
fn weight(headers: &HeaderMap, range: &str) -> Option<f32> {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).filter_map(|part| weight_in(part, range)).reduce(f32::max)
}

fn weight_in(part: &str, range: &str) -> Option<f32> {
    let mut parts = part.split(';').map(str::trim);
    let is_named = parts.next().is_some_and(|media| media.eq_ignore_ascii_case(range));
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    is_named.then(|| weight.and_then(|weight| weight.trim().parse().ok()).unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn accepts(values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        is_preferred(&headers, "text/event-stream", "application/json")
    }

    #[test]
    fn a_form_is_wanted_only_by_its_name() {
        for value in [
            "text/event-stream",
            "Text/Event-Stream",
            "text/html,TEXT/EVENT-STREAM ; charset=utf-8",
            "application/json, text/event-stream",
            "text/event-stream, */*",
            "text/event-stream;q=x",
        ] {
            assert!(accepts(&[value]), "{value}");
        }
        for value in [
            "*/*",
            "text/*",
            "application/json",
            "text/event-streamx",
            "text/event-stream-2, x-text/event-stream",
            "text/event-stream; q=0",
        ] {
            assert!(!accepts(&[value]), "{value}");
        }
        assert!(!accepts(&[]));
    }

    #[test]
    fn the_form_with_the_greater_weight_is_chosen() {
        for (value, is_stream) in [
            ("application/json, text/event-stream;q=0.5", false),
            ("application/json;q=0.4, text/event-stream;q=0.5", true),
            ("text/event-stream;q=0.5, */*", false),
            ("text/event-stream;q=0.5, application/*;q=0.6, */*;q=0.1", false),
            ("text/event-stream;q=0.5, application/json;q=0.1, */*", true),
            ("text/event-stream; q=0.5, text/html", true),
        ] {
            assert_eq!(accepts(&[value]), is_stream, "{value}");
        }
        assert!(!accepts(&["text/event-stream;q=0.5", "application/json"]));
    }
}
