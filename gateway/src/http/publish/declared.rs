//! What the headers of a publish say of the event.

use events::{
    ContentCoding, ContentType, EventId,
    http_names::{EVENT_ID, IDEMPOTENCY_KEY, RESENT},
};
use hyper::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE, GetAll, HeaderValue, TRANSFER_ENCODING},
};

use super::super::problem::Problem;

/// The longest id that is taken, in bytes: that of AMQP's `message_id`.
const MAX_ID: usize = 255;

/// See the module.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) id: Option<EventId>,
    pub(super) resent: bool,
    pub(super) content_type: Option<ContentType>,
    pub(super) coding: ContentCoding,
}

impl Declared {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        check_transfer_coding(headers)?;
        Ok(Self {
            id: event_id(headers)?,
            resent: is_resent(headers)?,
            content_type: content_type(headers)?,
            coding: coding(headers)?,
        })
    }
}

fn event_id(headers: &HeaderMap) -> Result<Option<EventId>, Problem> {
    let given = headers.get_all(EVENT_ID).iter().map(|value| ("Event-Id", value));
    let keys = headers.get_all(IDEMPOTENCY_KEY).iter().map(|value| ("Idempotency-Key", value));
    let mut found: Option<EventId> = None;
    for (name, value) in given.chain(keys) {
        let id = id_in_header(value).ok_or_else(|| Problem::BadRequest(format!("{name}: {WHAT_AN_ID_IS}")))?;
        if found.as_ref().is_some_and(|other| *other != id) {
            let detail = "Event-Id and Idempotency-Key: they differ; they mean the same, so one is enough";
            return Err(Problem::BadRequest(detail.to_owned()));
        }
        found = Some(id);
    }
    Ok(found)
}

/// Takes the quotes off that the draft of `Idempotency-Key` puts around a key (RFC 9651, section 3.3.3); few clients
/// do.
fn id_in_header(value: &HeaderValue) -> Option<EventId> {
    let text = value.to_str().ok()?.trim();
    id_in(text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text))
}

/// Says what a text has to be to be an id.
pub(super) const WHAT_AN_ID_IS: &str = "1 to 255 characters of printable ASCII, a UUID at best";

/// Takes the id of an event.
pub(super) fn id_in(text: &str) -> Option<EventId> {
    let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    EventId::from_publisher(text).filter(|_| text.len() <= MAX_ID && is_printable)
}

fn is_resent(headers: &HeaderMap) -> Result<bool, Problem> {
    match headers.get(RESENT).map(HeaderValue::as_bytes) {
        None | Some(b"false") => Ok(false),
        Some(b"true") => Ok(true),
        Some(_) => {
            Err(Problem::BadRequest("Postern-Resent: true for an event that is sent again, or false".to_owned()))
        }
    }
}

fn content_type(headers: &HeaderMap) -> Result<Option<ContentType>, Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    let wrong = |what: &dyn std::fmt::Display| Problem::BadRequest(format!("Content-Type: {what}"));
    let text = value.to_str().map_err(|_| wrong(&"it is not ASCII"))?;
    let declared = ContentType::new(text).map_err(|error| wrong(&error))?;
    // Its parts are wrapped in text that no reader expects in an event.
    if declared.is_multipart() { Err(Problem::Multipart) } else { Ok(Some(declared)) }
}

fn coding(headers: &HeaderMap) -> Result<ContentCoding, Problem> {
    match ContentCoding::of(&joined(&headers.get_all(CONTENT_ENCODING))) {
        ContentCoding::Other => Err(Problem::ContentCoding),
        coding => Ok(coding),
    }
}

/// Refuses a body that is compressed for the way only (RFC 9112, section 6.1). hyper undoes `chunked` and leaves the
/// rest.
fn check_transfer_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let codings = joined(&headers.get_all(TRANSFER_ENCODING));
    let is_known = |coding: &str| coding.trim().is_empty() || coding.trim().eq_ignore_ascii_case("chunked");
    if codings.split(',').all(is_known) { Ok(()) } else { Err(Problem::TransferCoding) }
}

/// Returns a list that may be spread over several lines (RFC 9110, section 5.3).
fn joined(values: &GetAll<'_, HeaderValue>) -> String {
    let texts = values.iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    fn declared(headers: &[(&'static str, &str)]) -> Result<Declared, Problem> {
        let pairs = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let mut map = HeaderMap::new();
        pairs.for_each(|(name, value)| _ = map.append(name, value));
        Declared::of(&map)
    }

    #[test]
    fn an_id_has_two_names_and_one_meaning() {
        let id = |headers: &[(&'static str, &str)]| declared(headers).unwrap().id.unwrap().to_string();
        let uuid = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(id(&[(EVENT_ID, " order-17 ")]), "order-17");
        assert_eq!(id(&[(IDEMPOTENCY_KEY, "order-17")]), "order-17");
        assert_eq!(id(&[(IDEMPOTENCY_KEY, &format!("\"{uuid}\"")), (EVENT_ID, &uuid.to_uppercase())]), uuid);
        let text = "evt/1 (second)".repeat(18);
        assert_eq!(id(&[(EVENT_ID, &text)]), EventId::from_publisher(&text).unwrap().as_str());
        let long = "x".repeat(256);
        for bad in ["", "\"\"", "ä", "a\tb", &long] {
            assert!(matches!(declared(&[(EVENT_ID, bad)]), Err(Problem::BadRequest(_))), "{bad:?}");
        }
        for other in [EVENT_ID, IDEMPOTENCY_KEY] {
            assert!(matches!(declared(&[(EVENT_ID, "a"), (other, "b")]), Err(Problem::BadRequest(_))), "{other}");
        }
    }

    #[test]
    fn what_is_not_undone_is_refused() {
        assert_eq!(declared(&[("content-encoding", "GZip")]).unwrap().coding, ContentCoding::Gzip);
        let twice = [("content-encoding", "gzip"), ("content-encoding", "br")];
        assert!(matches!(declared(&twice), Err(Problem::ContentCoding)));
        assert!(declared(&[("transfer-encoding", "Chunked")]).is_ok());
        assert!(matches!(declared(&[("transfer-encoding", "gzip, chunked")]), Err(Problem::TransferCoding)));
        assert!(matches!(declared(&[("content-type", "Multipart/Form-Data; boundary=x")]), Err(Problem::Multipart)));
    }
}
