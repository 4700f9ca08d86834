use events::Form;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn one(text: &str) -> Result<Event, String> {
    event(text.as_bytes())
}

/// Returns what is wrong with a body, and where.
fn wrong(format: Format, body: &str) -> (At, String) {
    match format.read(body.as_bytes()) {
        Err(Problem::WrongEvent(at, what)) => (at, what),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_payload_is_kept_as_it_is_written() {
    let shown = |text: &str| {
        let event = one(text).unwrap();
        let form = match event.form() {
            Form::Json(text) => format!("json {text}"),
            Form::Text(text) => format!("text {text}"),
            Form::Bytes(bytes) => format!("bytes {bytes:?}"),
        };
        (event.content_type.unwrap().as_str().to_owned(), form)
    };
    for (text, content_type, form) in [
        (
            r#"{"topic":"a","data":{ "n" : 1.00,"e":"\u00e4" }}"#,
            "application/json",
            r#"json { "n" : 1.00,"e":"\u00e4" }"#,
        ),
        (r#"{"topic":"a","data":null}"#, "application/json", "json null"),
        (r#"{"data":[1],"topic":"a","content_type":"application/vnd.x+json"}"#, "application/vnd.x+json", "json [1]"),
        (r#"{"topic":"a","text":"ä\n"}"#, "text/plain; charset=utf-8", "text ä\n"),
        (r#"{"topic":"a","text":" [1, 2 ]\r\n","content_type":"text/json"}"#, "text/json", "json  [1, 2 ]\r\n"),
        (r#"{"topic":"a","data_base64":"iVBORw=="}"#, "application/octet-stream", "bytes [137, 80, 78, 71]"),
        (r#"{"topic":"a","data_base64":"","content_type":"image/png"}"#, "image/png", "bytes []"),
    ] {
        assert_eq!(shown(text), (content_type.to_owned(), form.to_owned()), "{text}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (text, expected) in [
        ("[\"a\",1]", "it is no JSON object"),
        ("{}", "missing field `topic`"),
        (r#"{"topic":"a"}"#, r#"one of "data", "text" and "data_base64" is missing"#),
        (r#"{"topic":"a","data":1,"text":"b"}"#, "an event has one of them"),
        (r#"{"topic":"a..b","data":1}"#, "topic: "),
        (r#"{"topic":"a","data":1,"contentType":"x"}"#, "unknown field `contentType`, expected one of"),
        (r#"{"topic":"a","data":1,"topic":"b"}"#, "duplicate field `topic`"),
        (r#"{"topic":"a","data":1,"content_type":"text/plain"}"#, "content_type: \"data\" is JSON"),
        (r#"{"topic":"a","text":"{","content_type":"application/json"}"#, "the payload is not one JSON value"),
        (r#"{"topic":"a","data":1e999}"#, "the payload is not one JSON value"),
        (r#"{"topic":"a","data_base64":"="}"#, "data_base64: "),
        (r#"{"topic":"a","data":1,"id":""}"#, "id: 1 to 255 characters"),
        (r#"{"topic":"a","data":1,"content_type":"a\u0000"}"#, "content_type: "),
        (r#"{"topic":"a","data":1,"content_type":"text/ä"}"#, "content_type: it is not ASCII"),
        (r#"{"topic":7,"data":1}"#, "invalid type: integer `7`, expected a string"),
    ] {
        let wrong = one(text).unwrap_err();
        assert!(wrong.contains(expected) && !wrong.contains(" at line 1 column 2"), "{text}: {wrong}");
    }
    let deep = "[".repeat(62) + &"]".repeat(62);
    assert!(one(&format!(r#"{{"topic":"a","data":{deep}}}"#)).is_err());
}

#[test]
fn a_body_is_an_array_or_lines() {
    let of = |declared: &str| Format::of(ContentType::new(declared).ok().as_ref());
    for (declared, format) in [
        ("Application/JSON; charset=utf-8", Format::Array),
        ("application/x-ndjson", Format::Lines),
        ("application/jsonl", Format::Lines),
        ("application/x-www-form-urlencoded", Format::Any),
        ("", Format::Any),
    ] {
        assert_eq!(of(declared).unwrap(), format, "{declared}");
    }
    assert!(matches!(of("text/plain"), Err(Problem::BatchType)));
    let (one, other) = (r#"{"topic":"a","data":1}"#, r#"{"topic":"b","data":2}"#);
    let topics = |format: Format, body: &str| -> Vec<String> {
        let items = format.read(body.as_bytes()).unwrap();
        items.into_iter().map(|item| item.event.topic.as_str().to_owned()).collect()
    };
    let (array, lines) = (format!(" [{one},\n {other}]\n"), format!("\r\n{one}\r\n\n  {other}  "));
    for (format, body) in
        [(Format::Array, &array), (Format::Any, &array), (Format::Lines, &lines), (Format::Any, &lines)]
    {
        assert_eq!(topics(format, body), ["a", "b"], "{format:?} {body}");
    }
    for (format, body) in [(Format::Array, "[]"), (Format::Lines, "\n\n"), (Format::Any, "")] {
        assert_eq!(topics(format, body), [""; 0], "{format:?}");
    }
    assert_eq!(wrong(Format::Lines, &format!("\n{one}\n\n[]")).0, At { index: 1, line: Some(4) });
    for (body, index) in [(format!("[{one},{{]"), 1), (format!("[{one}, {{\"topic\""), 1), ("[oops]".to_owned(), 0)] {
        let (at, what) = wrong(Format::Array, &body);
        assert_eq!(at, At { index, line: None }, "{body}");
        assert!(what.starts_with("it is no JSON: "), "{body}: {what}");
    }
}

#[test]
fn what_is_wrong_beside_the_events_of_an_array_names_none_of_them() {
    let one = r#"{"topic":"a","data":1}"#;
    let bodies = ["oops".to_owned(), String::new(), "[".to_owned()];
    let around = ["ONE", "[ONE", "[ONE,", "[ONE,]", "[ONE ONE]", "[ONE] []", "[ONE]]", "[ONE}"]
        .map(|body| body.replace("ONE", one));
    for body in bodies.into_iter().chain(around) {
        match Format::Array.read(body.as_bytes()) {
            Err(Problem::BadRequest(what)) => {
                assert!(what.starts_with("the body is no array of JSON: "), "{body}: {what}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn what_follows_the_last_event_that_may_be_there_is_not_read() {
    let event = r#"{"topic":"a","data":1}"#;
    let many = |count: usize| vec![event; count];
    for (format, separator, around) in [(Format::Array, ",", ["[", "]"]), (Format::Lines, "\n", ["", ""])] {
        let body = |events: Vec<&str>| format!("{}{}{}", around[0], events.join(separator), around[1]);
        assert_eq!(format.read(body(many(MAX_EVENTS)).as_bytes()).unwrap().len(), MAX_EVENTS);
        let mut too_many = many(MAX_EVENTS + 1);
        too_many.push("oops");
        assert!(matches!(format.read(body(too_many).as_bytes()), Err(Problem::BatchTooLong(MAX_EVENTS))), "{format:?}");
    }
}

proptest! {
    #[test]
    fn the_first_event_that_is_wrong_is_named(
        is_wrong in prop::collection::vec(prop::bool::weighted(0.1), 1..40),
        as_lines in any::<bool>(),
    ) {
        let event = |is_wrong: &bool| json!({ "topic": if *is_wrong { "a b" } else { "a" }, "data": 1 }).to_string();
        let events: Vec<_> = is_wrong.iter().map(event).collect();
        let (format, body) = if as_lines {
            (Format::Lines, events.join("\n"))
        } else {
            (Format::Array, format!("[{}]", events.join(",")))
        };
        match (format.read(body.as_bytes()), is_wrong.iter().position(|is_wrong| *is_wrong)) {
            (Ok(items), None) => prop_assert_eq!(items.len(), events.len()),
            (Err(Problem::WrongEvent(at, _)), Some(first)) => {
                prop_assert_eq!(at, At { index: first, line: as_lines.then_some(first + 1) });
            }
            (other, first) => prop_assert!(false, "{:?} {:?}", other, first),
        }
    }
}
