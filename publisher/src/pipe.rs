//! `pipe`: each line of standard input is one event, byte for byte.
//!
//! A line's end (`\n` or `\r\n`) is no part of the payload; empty lines are skipped; a line that is not JSON is sent as
//! text or bytes. Lines that cannot be sent (too long, no topic in them) are reported by their number, and the others
//! go on.

mod lines;

use anyhow::Context;
use bytes::Bytes;
use events::{ContentType, Event, Topic};
use serde_json::Value;
use tokio::io::{self, AsyncBufRead, BufReader, Stdin};

use self::lines::{Line, Lines};
use crate::source::{Input, Order, Outgoing, Source, compose};

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// How lines become events.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) topic: TopicOf,
    pub(crate) content_type: Option<ContentType>,
    /// The longest line, in bytes.
    pub(crate) max_line: usize,
    pub(crate) order: Order,
}

/// Where a line's topic comes from.
#[derive(Debug)]
pub(crate) enum TopicOf {
    All(Topic),
    /// The string at this path of object members in the JSON of each line.
    Field(Vec<String>),
}

/// The source of events from lines.
pub(crate) struct Pipe<R> {
    lines: Lines<R>,
    topic: TopicOf,
    content_type: Option<ContentType>,
    order: Order,
    is_at_end: bool,
}

impl Pipe<BufReader<Stdin>> {
    /// Reads standard input.
    pub(crate) fn stdin(options: Options) -> Self {
        Self::new(BufReader::with_capacity(CHUNK, io::stdin()), options)
    }
}

impl<R: AsyncBufRead + Unpin> Pipe<R> {
    fn new(reader: R, options: Options) -> Self {
        let Options { topic, content_type, max_line, order } = options;
        Self { lines: Lines::new(reader, max_line), topic, content_type, order, is_at_end: false }
    }
}

impl TopicOf {
    fn event(&self, content_type: Option<&ContentType>, payload: Bytes) -> Result<Event, String> {
        let topic = match self {
            Self::All(topic) => topic.clone(),
            Self::Field(path) => topic_in(&payload, path)?,
        };
        compose(topic, content_type, payload)
    }
}

fn topic_in(payload: &[u8], path: &[String]) -> Result<Topic, String> {
    let json: Value = serde_json::from_slice(payload).map_err(|error| format!("no topic: not JSON: {error}"))?;
    let field = path.join(".");
    match path.iter().try_fold(&json, |value, name| value.get(name)) {
        Some(Value::String(text)) => text.parse().map_err(|error| format!("no topic: {field:?} is not one: {error}")),
        Some(_) => Err(format!("no topic: {field:?} is not a string")),
        None => Err(format!("no topic: there is no {field:?}")),
    }
}

impl<R: AsyncBufRead + Unpin> Source for Pipe<R> {
    async fn next(&mut self) -> anyhow::Result<Option<Input>> {
        loop {
            let line = self.lines.next().await.context("cannot read standard input")?;
            let number = Some(self.lines.number());
            return Ok(Some(match line {
                None => {
                    self.is_at_end = true;
                    return Ok(None);
                }
                Some(Line::Whole(payload)) if payload.is_empty() => continue,
                Some(Line::Whole(payload)) => match self.topic.event(self.content_type.as_ref(), payload) {
                    Ok(event) => Input::Event(Outgoing { event, line: number }),
                    Err(reason) => Input::Unusable { line: number, reason },
                },
                Some(Line::TooLong) => {
                    let reason = format!("longer than {} bytes; --max-line allows more", self.lines.max());
                    Input::Unusable { line: number, reason }
                }
            }));
        }
    }

    fn order(&self) -> Order {
        self.order
    }

    fn unread(&self) -> Option<String> {
        match self.lines.number() {
            _ if self.is_at_end => None,
            0 => Some("no line was read".to_owned()),
            number => Some(format!("what follows line {number} was not read")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pipe(input: &str, topic: TopicOf) -> Vec<String> {
        let mut pipe =
            Pipe::new(input.as_bytes(), Options { topic, content_type: None, max_line: 40, order: Order::Source });
        let mut shown = Vec::new();
        while let Some(input) = pipe.next().await.unwrap() {
            shown.push(match input {
                Input::Event(Outgoing { event, line }) => {
                    let payload = String::from_utf8_lossy(&event.payload).into_owned();
                    format!("{} {} {payload}", line.unwrap(), event.topic)
                }
                Input::Unusable { line, reason } => format!("{} {reason}", line.unwrap()),
            });
        }
        shown
    }

    #[tokio::test]
    async fn every_line_but_the_empty_ones_is_an_event() {
        let input = "{\"a\":1}\n\n\r\nplain \r\n  \nlast";
        let topic = TopicOf::All("t".parse().unwrap());
        assert_eq!(pipe(input, topic).await, ["1 t {\"a\":1}", "4 t plain ", "5 t   ", "6 t last"]);
    }

    #[tokio::test]
    async fn the_topic_may_be_in_the_line_and_a_line_without_does_not_stop_the_others() {
        let input = ["{\"m\":{\"t\":\"a.b\"}}", "{\"m\":1}", "oops", "{\"m\":{\"t\":\"a..b\"}}", "{\"m\":{\"t\":3}}"];
        let long = format!("{}\n\"{}\"\n{}", input.join("\n"), "x".repeat(40), input[0]);
        let shown = pipe(&long, TopicOf::Field(vec!["m".to_owned(), "t".to_owned()])).await;
        let expected = [
            "1 a.b {\"m\":{\"t\":\"a.b\"}}",
            "2 no topic: there is no \"m.t\"",
            "3 no topic: not JSON: ",
            "4 no topic: \"m.t\" is not one: ",
            "5 no topic: \"m.t\" is not a string",
            "6 longer than 40 bytes; --max-line allows more",
            "7 a.b {\"m\":{\"t\":\"a.b\"}}",
        ];
        assert_eq!(shown.len(), expected.len());
        for (shown, expected) in shown.iter().zip(expected) {
            assert!(shown.starts_with(expected), "{shown}");
        }
    }
}
