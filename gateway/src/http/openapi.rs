//! `GET /openapi.json`: the HTTP interface in the words of `OpenAPI` 3.1, which clients and tools are generated from.
//!
//! Paths, methods and names come from the table of routes, ranges and defaults from where requests are read.

mod schemas;

use std::sync::LazyLock;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Map, Value, json};

use super::{
    body::HttpResponse,
    mailbox::MAX_TOPICS,
    metrics::Operation,
    publish::MAX_EVENTS,
    query::{DEFAULT_LIMIT, DEFAULT_WAIT_S, MAX_LIMIT, MAX_WAIT_S, Query},
    response,
    routes::{ROUTES, Right, Route},
};

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| format!("{:#}\n", describe()).into());

/// Returns the document.
pub(super) fn document() -> HttpResponse {
    response::typed("application/json", DOCUMENT.clone())
}

fn describe() -> Value {
    let paths: Map<_, _> = ROUTES.iter().map(|route| (route.path.to_owned(), path(route))).collect();
    let parameters: Map<_, _> = Query::KNOWN.iter().map(|name| ((*name).to_owned(), parameter(name))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Postern",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A push gateway between a message broker and the web",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "parameters": parameters,
            "schemas": schemas::schemas(),
            "responses": schemas::responses(),
            "securitySchemes": schemas::security_schemes(),
        },
    })
}

/// Describes a path. HEAD is left out: it is a GET without a body.
fn path(route: &Route) -> Value {
    let mut item = Map::new();
    let named = route.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<_> = named.map(path_parameter).collect();
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    for (method, operation, right) in route.operations.iter().filter(|(method, ..)| method != Method::HEAD) {
        let described = item.entry(method.as_str().to_lowercase()).or_insert_with(|| describe_operation(*operation));
        if limited(*operation) {
            described["responses"]["429"] = json!({ "$ref": "#/components/responses/429" });
        }
        if *right != Right::Nothing {
            described["security"] = json!([{ "bearer": [] }, { "cookie": [] }, {}]);
            for code in ["401", "403"] {
                described["responses"][code] = json!({ "$ref": format!("#/components/responses/{code}") });
            }
        }
        if operation.is_stream() {
            described["responses"]["200"]["content"]["text/event-stream"] = json!({ "schema": { "type": "string" } });
        }
    }
    item.into()
}

/// Tells whether one sender has a limit of its own there.
const fn limited(operation: Operation) -> bool {
    operation.reading().is_some()
        || matches!(
            operation,
            Operation::Publish
                | Operation::PublishBatch
                | Operation::MailboxStatus
                | Operation::MailboxBind
                | Operation::MailboxUnbind
                | Operation::MailboxDelete
        )
}

/// What a document says about an operation.
struct About {
    summary: &'static str,
    /// The parameters of its query.
    query: &'static [&'static str],
    /// The headers that it reads.
    headers: &'static [(&'static str, &'static str)],
    /// The answers that are no error.
    answers: Vec<(&'static str, Value)>,
    /// The names of the errors, beside those of the guard.
    problems: &'static [&'static str],
}

impl About {
    /// An operation that reads nothing but its path.
    const fn new(
        summary: &'static str,
        answers: Vec<(&'static str, Value)>,
        problems: &'static [&'static str],
    ) -> Self {
        Self { summary, query: &[], headers: &[], answers, problems }
    }
}

fn describe_operation(operation: Operation) -> Value {
    let about = about(operation);
    let query = about.query.iter().map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }));
    let headers = about.headers.iter().map(|(name, meaning)| {
        json!({ "name": name, "in": "header", "description": meaning, "schema": { "type": "string" } })
    });
    let parameters: Vec<_> = query.chain(headers).collect();
    let mut responses: Map<_, _> = about.answers.into_iter().map(|(code, answer)| (code.to_owned(), answer)).collect();
    let is_guarded = !matches!(operation, Operation::Live | Operation::Ready);
    let of_guard = is_guarded.then_some(["403", "421"]).into_iter().flatten();
    for code in about.problems.iter().copied().chain(of_guard) {
        responses.insert(code.to_owned(), json!({ "$ref": format!("#/components/responses/{code}") }));
    }
    let mut described = json!({ "operationId": operation.word(), "summary": about.summary, "responses": responses });
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if let Some(body) = request_body(operation) {
        described["requestBody"] = body;
    }
    described
}

fn request_body(operation: Operation) -> Option<Value> {
    match operation {
        Operation::Publish => Some(json!({
            "description": "The payload of one event, with its type. Without a type, or with that of a form, it is JSON if it \
                            parses, else text if it is UTF-8, else bytes.",
            "content": {
                "application/json": {}, "text/plain": {}, "application/octet-stream": {}, "application/cloudevents+json": {},
            },
        })),
        Operation::PublishBatch => Some(json!({
            "description": "The events: an array, or one on each line. Without a type, or with that of a form, it is an array if it \
                            begins with a bracket.",
            "required": true,
            "content": {
                "application/json": { "schema": {
                    "type": "array", "maxItems": MAX_EVENTS, "items": { "$ref": "#/components/schemas/NewEvent" },
                } },
                "application/x-ndjson": {},
                "application/cloudevents+json": {},
                "application/cloudevents-batch+json": {},
            },
        })),
        _ => None,
    }
}

const LAST_EVENT_ID: (&str, &str) =
    ("Last-Event-ID", "The token after the last event, as EventSource sends it; it comes before last_seen");

fn about(operation: Operation) -> About {
    let text = |media_type: &str| json!({ "description": "As it says", "content": { media_type: {} } });
    let plain = |description: &str| json!({ "description": description });
    let done = || vec![("204", plain("Done"))];
    match operation {
        Operation::MailboxPoll | Operation::MailboxStream => About {
            query: &["topics", "last_seen", "lastEventId", "wait", "limit", "poll"],
            headers: &[LAST_EVENT_ID],
            ..About::new(
                "Polls a mailbox, which confirms what the token names; or streams it",
                vec![("200", schemas::batch()), ("204", plain("Nothing came by the deadline"))],
                &["400", "404", "409", "410", "422", "503"],
            )
        },
        Operation::FeedPoll | Operation::FeedStream => About {
            query: &["last_seen", "lastEventId", "wait", "limit", "fold"],
            headers: &[LAST_EVENT_ID, ("If-None-Match", "The ETag of an answer: then nothing new is a 304")],
            ..About::new(
                "Polls a feed, or streams it; {topic} may be a pattern, or up to 64 separated by commas",
                vec![
                    ("200", schemas::with_place(schemas::batch())),
                    ("204", schemas::with_place(plain("Nothing came by the deadline"))),
                    ("304", schemas::with_place(plain("Nothing came by the deadline, and If-None-Match was given"))),
                ],
                &["400", "404", "503"],
            )
        },
        Operation::Publish => About {
            headers: &[
                (
                    "Event-Id",
                    "Names the event, so that a repeat is known as one: 1 to 255 characters of printable ASCII",
                ),
                ("Idempotency-Key", "The same"),
                ("Postern-Resent", "true: the event may have been stored already"),
                ("Content-Encoding", "gzip or deflate, which is undone"),
            ],
            ..About::new(
                "Publishes one event; the answer comes when the broker has stored it",
                vec![("202", schemas::accepted())],
                &["400", "408", "413", "415", "501", "503", "507"],
            )
        },
        Operation::PublishBatch => About {
            headers: &[
                ("Postern-Resent", "true: the events may have been stored already"),
                ("Content-Encoding", "gzip or deflate, which is undone"),
            ],
            ..About::new(
                "Publishes a batch of events; the answer comes when the broker has stored all of them",
                vec![("202", schemas::accepted_batch())],
                &["400", "408", "413", "415", "501", "503"],
            )
        },
        Operation::MailboxStatus => {
            About::new("Tells the state of a mailbox", vec![("200", schemas::status())], &["400", "404", "503"])
        }
        Operation::MailboxDelete => About::new("Deletes a mailbox and what is in it", done(), &["400", "503"]),
        Operation::MailboxBind => About::new(
            "Binds a mailbox to a topic pattern, and creates it if there is none",
            done(),
            &["400", "422", "503"],
        ),
        Operation::MailboxUnbind => About::new("Ends a binding", done(), &["400", "503"]),
        Operation::Page => About::new("The page", vec![("200", text("text/html"))], &["400"]),
        Operation::BrowserClient => About {
            headers: &[("If-None-Match", "The ETag of what the client has: then the same is a 304")],
            ..About::new(
                "The browser client, an ES module",
                vec![
                    ("200", schemas::with_tag(text("text/javascript"))),
                    ("304", schemas::with_tag(plain("The client has it"))),
                ],
                &["400"],
            )
        },
        Operation::OpenApi => About::new("This document", vec![("200", text("application/json"))], &["400"]),
        Operation::Live => About::new("Tells that the process answers", vec![("200", text("text/plain"))], &["400"]),
        Operation::Ready => About::new(
            "Tells whether mailboxes can be served; with ?feeds, whether feeds can",
            vec![("200", text("text/plain"))],
            &["400", "503"],
        ),
        Operation::Metrics => {
            let formats = json!({
                "description": "In the OpenMetrics format if Accept names it",
                "content": { "text/plain": {}, "application/openmetrics-text": {} },
            });
            About::new("Metrics for Prometheus", vec![("200", formats)], &["400", "404"])
        }
        Operation::Options | Operation::Unknown => About::new("", Vec::new(), &[]),
    }
}

fn path_parameter(name: &str) -> Value {
    let (meaning, longest) = match name {
        "client" => ("Names one reader: A-Z a-z 0-9 . _ ~ -, but not . or ..", 128),
        "pattern" => ("A topic, in which * stands for one word and # for any number of them", 255),
        _ => ("Words of A-Z a-z 0-9 _ -, joined by dots; to follow, also a pattern with * and #", 255),
    };
    let schema = json!({ "type": "string", "minLength": 1, "maxLength": longest });
    json!({ "name": name, "in": "path", "required": true, "description": meaning, "schema": schema })
}

/// Describes a parameter of a query.
fn parameter(name: &str) -> Value {
    let (meaning, schema) = match name {
        "topics" => (
            "Patterns that the mailbox is bound to from now on; a client without a mailbox has to name some",
            json!({ "type": "array", "maxItems": MAX_TOPICS, "items": { "type": "string" } }),
        ),
        "last_seen" => (
            "The token of the last answer: all up to it is confirmed. Of a feed also: oldest, now",
            json!({ "type": "string" }),
        ),
        "lastEventId" => ("The same, for clients that cannot send Last-Event-ID", json!({ "type": "string" })),
        "wait" => (
            "Seconds to hold the poll",
            json!({ "type": "integer", "minimum": 0, "maximum": MAX_WAIT_S, "default": DEFAULT_WAIT_S }),
        ),
        "limit" => (
            "The most events of one answer",
            json!({ "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT }),
        ),
        "poll" => (
            "<instance>.<n>: within one instance a lower n never displaces a higher one",
            json!({ "type": "string", "pattern": r"^[A-Za-z0-9._~-]{1,64}\.[0-9]{1,20}$" }),
        ),
        "fold" => ("latest: only the newest event of each topic", json!({ "type": "string", "enum": ["latest"] })),
        _ => ("", json!({})),
    };
    let mut described = json!({ "name": name, "in": "query", "description": meaning, "schema": schema });
    if name == "topics" {
        described["style"] = "form".into();
        described["explode"] = false.into();
    }
    described
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// The book has the document, too. `UPDATE_DOCS=1` writes it.
    #[test]
    fn the_book_has_the_document_as_it_is() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/openapi.json");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&file, &*DOCUMENT).unwrap();
        }
        let written = fs::read(&file).unwrap();
        assert!(
            written == *DOCUMENT,
            "docs/src/openapi.json is not what the routes say; UPDATE_DOCS=1 cargo test -p gateway"
        );
    }

    fn operations(document: &Value) -> Vec<&Value> {
        let items = document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap());
        items.filter(|(name, _)| *name != "parameters").map(|(_, operation)| operation).collect()
    }

    #[test]
    fn everything_is_described() {
        let document = describe();
        assert!(
            !document.to_string().contains(r#""summary":"""#) && !document.to_string().contains(r#""description":"""#)
        );
        assert_eq!(operations(&document).len(), 14);
    }

    /// A body that is not wanted, and a second `Host`, are refused everywhere.
    #[test]
    fn every_operation_may_refuse_a_request() {
        for operation in operations(&describe()) {
            assert!(operation["responses"]["400"].is_object(), "{operation}");
        }
    }

    #[test]
    fn what_is_referred_to_is_there() {
        let document = describe();
        let text = document.to_string();
        for (at, _) in text.match_indices(r##""#/"##) {
            let pointer = text[at + 2..].split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
