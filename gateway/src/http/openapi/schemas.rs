//! The forms of answers.

use serde_json::{Map, Value, json};

/// Returns the answer that has events.
pub(super) fn batch() -> Value {
    json!({
        "description": "Events, or the news that some are gone",
        "headers": { "Last-Seen": header("The token, as in last_seen") },
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Batch" } } },
    })
}

/// Returns an answer of a feed, which has its place also if it has no events.
pub(super) fn with_place(mut answer: Value) -> Value {
    answer["headers"] = json!({
        "Last-Seen": header("The place in the feed, for last_seen; not in a stream"),
        "ETag": header("The same in quotes, for If-None-Match; not in an answer that a cache may keep (--feed-cache)"),
    });
    answer
}

/// Returns a `200` or a `304` of what a tag names.
pub(super) fn with_tag(mut answer: Value) -> Value {
    answer["headers"] = json!({ "ETag": header("Names the content, for If-None-Match") });
    answer
}

fn header(meaning: &str) -> Value {
    json!({ "description": meaning, "schema": { "type": "string" } })
}

/// Returns the answer to an event that is stored.
pub(super) fn accepted() -> Value {
    json!({
        "description": "The broker has stored the event, for every mailbox that is bound to its topic",
        "content": { "application/json": { "schema": {
            "type": "object",
            "required": ["id"],
            "properties": { "id": { "type": "string", "description": "The id that readers see" } },
        } } },
    })
}

/// Returns the answer to a batch of events that are stored.
pub(super) fn accepted_batch() -> Value {
    json!({
        "description": "The broker has stored all of the events",
        "content": { "application/json": { "schema": {
            "type": "object",
            "required": ["ids"],
            "properties": { "ids": {
                "type": "array",
                "items": { "type": "string" },
                "description": "The ids that readers see, in the order of the events",
            } },
        } } },
    })
}

/// Returns the answer with the state of a mailbox.
pub(super) fn status() -> Value {
    json!({
        "description": "The mailbox exists",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Mailbox" } } },
    })
}

/// Returns the forms that answers share.
pub(super) fn schemas() -> Value {
    json!({
        "Batch": {
            "type": "object",
            "required": ["events", "last_seen"],
            "properties": {
                "events": { "type": "array", "items": { "$ref": "#/components/schemas/Event" } },
                "last_seen": { "type": "string", "description": "The token for the next poll, which confirms these events" },
                "reset": { "type": "boolean", "description": "true: something that the client has not seen is gone" },
            },
        },
        "Event": {
            "type": "object",
            "description": "One of data and data_base64 is there",
            "required": ["id", "topic", "time"],
            "properties": {
                "id": { "type": "string", "description": "The same in each repeat of the event" },
                "topic": { "type": "string" },
                "time": { "type": "string", "format": "date-time", "description": "When it was published" },
                "redelivered": { "type": "boolean", "description": "true: the client may have got it before" },
                "content_type": { "type": "string", "description": "Present when the payload is not JSON" },
                "content_encoding": { "type": "string", "description": "Present when the payload is encoded so" },
                "data": { "description": "The payload: JSON as it came, or a string" },
                "data_base64": { "type": "string", "contentEncoding": "base64" },
                "headers": { "type": "object", "description": "The headers that its publisher gave it over AMQP" },
                "cloudevent": {
                    "type": "object",
                    "description": "The attributes of a CloudEvent, but for those that the event has itself: id, time, datacontenttype",
                    "required": ["specversion", "source", "type"],
                },
            },
        },
        "NewEvent": {
            "type": "object",
            "description": "One of data, text and data_base64 is there",
            "required": ["topic"],
            "additionalProperties": false,
            "properties": {
                "topic": { "type": "string" },
                "data": { "description": "A payload of JSON, which is kept as it is written" },
                "text": { "type": "string", "description": "A payload of text" },
                "data_base64": { "type": "string", "contentEncoding": "base64", "description": "Any other payload" },
                "content_type": { "type": "string", "description": "application/json for data, text/plain; charset=utf-8 for \
                                  text, application/octet-stream for data_base64 unless it is given" },
                "id": { "type": "string", "minLength": 1, "maxLength": 255, "description": "Names the event, so that a repeat is \
                        known as one" },
            },
        },
        "Mailbox": {
            "type": "object",
            "required": ["client", "queued", "unconfirmed", "connected"],
            "properties": {
                "client": { "type": "string" },
                "queued": { "type": "integer", "description": "Events that no poll has got" },
                "unconfirmed": {
                    "type": ["integer", "null"],
                    "description": "Events that a poll has got and not confirmed; null: another gateway knows",
                },
                "connected": { "type": "boolean", "description": "A gateway reads the mailbox" },
            },
        },
        "Problem": {
            "type": "object",
            "description": "RFC 9457",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": { "type": "string", "format": "uri-reference" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string", "description": "What is wrong, and what to do" },
                "index": { "type": "integer", "description": "Which event of a batch is wrong, from 0" },
                "line": { "type": "integer", "description": "The line that it stands on, from 1" },
                "ids": { "type": "array", "items": { "type": "string" }, "description": "The ids of all events of a batch" },
                "confirmed": {
                    "type": "array",
                    "items": { "type": "string" },
                    "description": "The ids of the events of a batch that are stored",
                },
                "rejected": {
                    "type": "array",
                    "items": { "type": "string" },
                    "description": "The ids of the events that at least one mailbox did not take",
                },
            },
        },
    })
}

/// Returns the ways in which a token comes; where none is needed, neither is.
pub(super) fn security_schemes() -> Value {
    json!({
        "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
        "cookie": { "type": "apiKey", "in": "cookie", "name": "__Host-postern", "description": "See --token-cookie" },
    })
}

/// Returns the errors, by their status codes.
pub(super) fn responses() -> Value {
    let problem = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    let meanings = [
        ("400", "The request is wrong; the detail names what"),
        ("401", "It needs a token and has none, or one that is not taken; the detail says why"),
        ("403", "The token does not include it, or a page of an origin that --allow-origin does not name sent it"),
        ("404", "The client has no mailbox, or the pattern selects nothing that is kept for feeds"),
        ("408", "The body did not come in time"),
        ("409", "A newer poll of the same client took this one's place"),
        ("410", "The mailbox was deleted while the poll was held"),
        ("413", "The event is too large, or the batch too long"),
        ("415", "The body's coding or type is not taken"),
        ("421", "Host is no name of this gateway, and --host does not name it"),
        ("422", "The mailbox is bound to too many patterns"),
        ("429", "The sender has reached a limit of its own; the detail names it"),
        ("501", "The body has a Transfer-Encoding other than chunked"),
        (
            "503",
            "It cannot be done now, and can later; a publish may have been stored, unless the detail says that it was not",
        ),
        ("507", "A mailbox that is full, or whose node is away, rejected the event; the others have it"),
    ];
    let mut responses = Map::new();
    for (code, meaning) in meanings {
        let mut described = json!({ "description": meaning, "content": problem });
        if matches!(code, "429" | "503") {
            described["headers"] =
                json!({ "Retry-After": { "description": "Seconds", "schema": { "type": "integer" } } });
        }
        responses.insert(code.to_owned(), described);
    }
    responses.into()
}
