//! One request for a mailbox, in one of the ways in which clients ask and leave.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::timeout;

use super::ground::{Ground, locked};
use crate::{
    Answer, Batch, EventStream, Head, Http2Connection, HttpConnection, Poll,
    history::{Seen, Step},
};

/// How long an answer may take at most: many times the longest wait, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// How a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Http1,
    Http2,
    Stream,
}

/// How it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// After the answer, it keeps the connection.
    Stays,
    /// After the answer, in order (FIN).
    Closes,
    /// After the answer, with a reset (RST).
    Resets,
    /// After so long if no answer came by then, in order or with a reset.
    HangsUp { after: Duration, reset: bool },
    /// With the answer begun, in order or with a reset; after so many events of a stream.
    BreaksOff { after: u32, reset: bool },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) client: usize,
    pub(super) gateway: usize,
    pub(super) token: Option<String>,
    pub(super) wait: u32,
    pub(super) limit: u32,
    pub(super) way: Way,
    pub(super) leave: Leave,
}

/// Connections that a client kept, one of each kind for each gateway.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) http1: Option<HttpConnection>,
    pub(super) http2: Option<Http2Connection>,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Events or a reset, and the newest token.
    Token(String),
    Nothing,
    Refused,
    Broken,
}

impl Call {
    /// Asks, leaves, and writes both down.
    pub(super) async fn make(&self, ground: &Ground, kept: &mut Kept) -> Reply {
        let how = format!(
            "gateway {} by {:?}, wait {}, limit {}, {:?}",
            self.gateway, self.way, self.wait, self.limit, self.leave
        );
        let request = ground.asks(self.client, how, self.token.clone());
        match self.way {
            Way::Http1 => self.over_http1(ground, request, kept).await,
            Way::Http2 => self.over_http2(ground, request, kept).await,
            Way::Stream => self.stream(ground, request).await,
        }
    }

    fn poll(&self, ground: &Ground) -> Poll {
        let (name, topics) = {
            let client = locked(&ground.clients[self.client]);
            (client.name.clone(), client.topics.clone())
        };
        let poll = Poll::of(&name).topics(&topics).wait(self.wait).query("limit", &self.limit.to_string());
        self.token.iter().filter(|_| self.way != Way::Stream).fold(poll, |poll, token| poll.last_seen(token))
    }

    async fn over_http1(&self, ground: &Ground, request: u64, kept: &mut Kept) -> Reply {
        let broken = |how: &str| self.broken(ground, request, how);
        let opened = match kept.http1.take() {
            Some(connection) => Ok(connection),
            None => HttpConnection::try_open(ground.gateways[self.gateway]).await,
        };
        let Ok(mut connection) = opened else { return broken("nothing listens") };
        if connection.send_unless_left(&self.poll(ground).request().bytes()).await.is_err() {
            return broken("the gateway left");
        }
        let head = match self.leave {
            Leave::HangsUp { after, reset } => {
                let Ok(head) = timeout(after, connection.head_unless_left()).await else {
                    leave(connection, reset).await;
                    return broken("hung up");
                };
                head
            }
            _ => connection.head_unless_left().await,
        };
        let Ok(head) = head else { return broken("the gateway left before its answer") };
        if let (Leave::BreaksOff { reset, .. }, 200) = (self.leave, head.status) {
            leave(connection, reset).await;
            return broken("left within the body");
        }
        let Ok(body) = connection.body_unless_left(&head).await else {
            return broken("the gateway left in its answer");
        };
        let reply = self.answered(ground, request, &Answer::of(head, body));
        match self.leave {
            Leave::Resets | Leave::HangsUp { reset: true, .. } => connection.reset(),
            Leave::Stays => kept.http1 = Some(connection),
            _ => connection.close().await,
        }
        reply
    }

    async fn over_http2(&self, ground: &Ground, request: u64, kept: &mut Kept) -> Reply {
        let broken = |how: &str| self.broken(ground, request, how);
        let opened = match kept.http2.take() {
            Some(connection) => Some(connection),
            None => Http2Connection::try_open(ground.gateways[self.gateway]).await,
        };
        let Some(connection) = opened else { return broken("nothing listens") };
        let poll = self.poll(ground).request();
        let after = if let Leave::HangsUp { after, .. } = self.leave { after } else { PATIENCE };
        let Ok(answer) = timeout(after, connection.try_get(poll.target())).await else {
            assert!(after < PATIENCE, "no answer came for {PATIENCE:?}");
            if matches!(self.leave, Leave::HangsUp { reset: false, .. }) {
                kept.http2 = Some(connection);
            }
            return broken("took it back");
        };
        let Some(answer) = answer else { return broken("the gateway left before its answer") };
        let (parts, mut body) = answer.into_parts();
        if matches!(self.leave, Leave::BreaksOff { .. }) && parts.status == 200 {
            let _ = body.frame().await;
            drop(body);
            kept.http2 = Some(connection);
            return broken("took it back within the body");
        }
        let Ok(body) = body.collect().await else { return broken("the gateway left in its answer") };
        let headers = parts.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), value.to_str().expect("a header of the gateway is text").to_owned())
        });
        let head = Head { status: parts.status.as_u16(), headers: headers.collect() };
        let reply = self.answered(ground, request, &Answer::of(head, body.to_bytes().into()));
        if self.leave == Leave::Stays {
            kept.http2 = Some(connection);
        }
        reply
    }

    /// Reads a stream until it ends, or until it is time to leave.
    async fn stream(&self, ground: &Ground, request: u64) -> Reply {
        let (mut time, count, reset) = match self.leave {
            Leave::HangsUp { after, reset } => (after, u32::MAX, reset),
            Leave::BreaksOff { after, reset } => (Duration::from_secs(2), after, reset),
            Leave::Stays | Leave::Closes => (Duration::from_secs(2), self.limit.min(10), false),
            Leave::Resets => (Duration::from_secs(2), self.limit.min(10), true),
        };
        let path = self.poll(ground).request().target().to_owned();
        let token = self.token.clone().unwrap_or_default();
        let opened = EventStream::open_unless_left(ground.gateways[self.gateway], &path, &token).await;
        let Ok(mut stream) = opened else { return self.broken(ground, request, "the gateway left, or none listens") };
        let mut newest = None;
        for _ in 0..count {
            let began = tokio::time::Instant::now();
            let how = match timeout(time, stream.next_unless_left()).await {
                Ok(Ok(Some(event))) => {
                    time = time.saturating_sub(began.elapsed());
                    newest = self.streamed(ground, request, &event).or(newest);
                    continue;
                }
                Ok(Ok(None)) => "the stream ended",
                Ok(Err(_)) => "the gateway left",
                Err(_) => break,
            };
            ground.record(self.client, &Step::Ended { request, how: how.to_owned() });
            return newest.map_or(Reply::Refused, Reply::Token);
        }
        if reset {
            stream.reset();
        } else {
            stream.close().await;
        }
        self.broken(ground, request, if reset { "reset" } else { "closed" });
        newest.map_or(Reply::Broken, Reply::Token)
    }

    /// Writes down one event of a stream and returns its token.
    fn streamed(&self, ground: &Ground, request: u64, event: &crate::StreamEvent) -> Option<String> {
        let token = event.id.clone();
        let step = match event.kind.as_str() {
            "message" => {
                let text = |name: &str| event.data[name].as_str().expect("an event has text").to_owned();
                let (topic, id) = (text("topic"), text("id"));
                let seen = Seen { topic, number: event.number("n"), id, redelivered: event.redelivered() };
                ground.came_from(self.client, self.gateway);
                Step::Events { request, events: vec![seen], token: token.clone() }
            }
            "reset" => Step::Reset { request, token: token.clone() },
            "replaced" => return None,
            other => panic!("an event of an unknown kind: {other}"),
        };
        ground.record(self.client, &step);
        Some(token)
    }

    /// Writes down a whole answer.
    fn answered(&self, ground: &Ground, request: u64, answer: &Answer) -> Reply {
        let client = self.client;
        match answer.status {
            200 => {
                let Batch { events, last_seen, reset } = answer.batch();
                if reset {
                    ground.record(client, &Step::Reset { request, token: last_seen.clone() });
                }
                if !reset || !events.is_empty() {
                    let events = events.iter().map(Seen::of).collect();
                    ground.record(client, &Step::Events { request, events, token: last_seen.clone() });
                    ground.came_from(client, self.gateway);
                }
                ground.record(client, &Step::Ended { request, how: format!("{:?}", self.leave) });
                Reply::Token(last_seen)
            }
            // A gateway that shuts down has not looked.
            204 if answer.header("connection") != Some("close") => {
                ground.record(client, &Step::Nothing { request });
                Reply::Nothing
            }
            status => {
                ground.record(client, &Step::Refused { request, status });
                Reply::Refused
            }
        }
    }

    fn broken(&self, ground: &Ground, request: u64, how: &str) -> Reply {
        ground.record(self.client, &Step::Broken { request, how: how.to_owned() });
        Reply::Broken
    }
}

async fn leave(connection: HttpConnection, reset: bool) {
    if reset {
        connection.reset();
    } else {
        connection.close().await;
    }
}
