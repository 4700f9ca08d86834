//! Every error that a client can get: RFC 9457 `application/problem+json`, with a detail that a person can act on.

mod batch;
mod broker;
mod limit;

use std::time::Duration;

use ::broker::{BrokerError, Seldom};
use access::{Denied, TokenError};
use events::{TopicPattern, http_names};
use hyper::{
    HeaderMap, StatusCode,
    header::{ACCEPT_ENCODING, ALLOW, CONNECTION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::{Map, Value, json};

pub(super) use self::batch::{At, NotConfirmedBatch};
use self::{
    broker::{no_confirm, refusal},
    limit::too_many,
};
use super::{body::HttpResponse, guard::Refusal, metrics::Limit, response};

/// `Retry-After` in seconds: spread, so that clients which were turned away together do not come back together.
const RETRY_AFTER_S: std::ops::RangeInclusive<u32> = 1..=5;

/// Why a request was not done.
#[derive(Debug)]
pub(super) enum Problem {
    /// The request itself is wrong.
    BadRequest(String),
    /// It needs a token, of which it has none; with what a request without one may not do.
    NoToken(Option<Denied>),
    /// Its token is not taken.
    BadToken(TokenError),
    /// The keys that tokens are checked by have not come.
    NoKeys,
    /// Its rights do not include what it asks for.
    Denied(Denied),
    /// The request is wrong and its body was not read, so the connection cannot go on.
    UnwantedBody,
    /// The guard refused it.
    Guarded {
        refusal: Refusal,
        /// A body came along, and was not read.
        has_body: bool,
    },
    /// With the paths that are like it.
    NoSuchPath(&'static str),
    /// The listener is for operators, and has nothing else.
    NotForAdmins,
    /// Metrics are served to operators alone.
    MetricsElsewhere,
    NoMailbox,
    /// No topic that the pattern selects is kept for Feeds; with those that are.
    NotFollowed(TopicPattern, Vec<TopicPattern>),
    MethodNotAllowed {
        /// The methods that the path has.
        allowed: String,
        /// A body came along, and was not read.
        has_body: bool,
    },
    Replaced,
    MailboxGone,
    /// With the largest body, in bytes.
    BodyTooLarge(usize),
    /// The body is compressed in a way that is not undone here.
    ContentCoding,
    /// The body is compressed for the way only.
    TransferCoding,
    /// The body is a form with parts.
    Multipart,
    /// With the time that a body may take.
    BodyTooSlow(Duration),
    Held,
    TooManyMailboxes,
    TooManyConnections,
    /// The sender has reached a limit of its own; with how long it has to wait, if that is known.
    Limited(Limit, Option<Duration>),
    NoRoomForEvent,
    NoRoomForAnswer,
    ShuttingDown,
    NotReady,
    /// The gateway should get no requests, for these parts are not ready.
    PartsNotReady(&'static str),
    Broker(BrokerError),
    /// A mailbox rejected a published event, which the others have; with its id.
    MailboxRejected(String),
    /// No confirm came for a published event; with its id.
    NotConfirmed(String, BrokerError),
    /// An event of a batch is wrong; with what is wrong.
    WrongEvent(At, String),
    /// The rights do not include the topic of an event of a batch.
    DeniedEvent(At, Denied),
    /// The body of a batch has more bytes than it may.
    BatchTooLarge(usize),
    /// The batch has more events than it may.
    BatchTooLong(usize),
    /// It has more than its sender may publish at once.
    BatchAboveBurst(u32),
    /// The body is no batch in a form that is known.
    BatchType,
    /// Events of a batch were not confirmed.
    BatchNotConfirmed(Box<NotConfirmedBatch>),
}

impl Problem {
    const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::UnwantedBody | Self::WrongEvent(..) => StatusCode::BAD_REQUEST,
            Self::NoToken(_) | Self::BadToken(_) => StatusCode::UNAUTHORIZED,
            Self::Denied(_) | Self::DeniedEvent(..) => StatusCode::FORBIDDEN,
            Self::Guarded { refusal, .. } => match refusal {
                Refusal::NoHost | Refusal::TwoHosts | Refusal::OtherHostThanUrl(_) | Refusal::WrongHost => {
                    StatusCode::BAD_REQUEST
                }
                Refusal::UnknownHost(_) => StatusCode::MISDIRECTED_REQUEST,
                Refusal::Origin(_) | Refusal::CrossSite => StatusCode::FORBIDDEN,
            },
            Self::NoSuchPath(_)
            | Self::NotForAdmins
            | Self::MetricsElsewhere
            | Self::NoMailbox
            | Self::NotFollowed(..) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Replaced => StatusCode::CONFLICT,
            Self::MailboxGone => StatusCode::GONE,
            Self::BodyTooLarge(_) | Self::BatchTooLarge(_) | Self::BatchTooLong(_) | Self::BatchAboveBurst(_) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::ContentCoding | Self::Multipart | Self::BatchType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::BodyTooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            // Its connection ends, and the next one may find another gateway.
            Self::Limited(Limit::Connections, _) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Limited(..) => StatusCode::TOO_MANY_REQUESTS,
            Self::Broker(BrokerError::TooManyBindings(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Held
            | Self::TooManyMailboxes
            | Self::TooManyConnections
            | Self::NoRoomForEvent
            | Self::NoRoomForAnswer
            | Self::ShuttingDown
            | Self::NotReady
            | Self::NoKeys
            | Self::PartsNotReady(_)
            | Self::Broker(_)
            | Self::NotConfirmed(..)
            | Self::BatchNotConfirmed(_) => StatusCode::SERVICE_UNAVAILABLE,
            // No 503: what retries that for ever would repeat the event in every mailbox that has room.
            Self::MailboxRejected(_) => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::BadRequest(detail) => detail.clone(),
            Self::NoToken(None) => "this needs a token: send Authorization: Bearer, or the cookie that holds it".to_owned(),
            Self::NoToken(Some(denied)) => {
                format!("this needs a token (Authorization: Bearer, or the cookie that holds it): {denied}")
            }
            Self::BadToken(error) => format!("token: {error}"),
            Self::NoKeys => "the keys that tokens are checked by cannot be fetched yet; try again".to_owned(),
            Self::Denied(denied) => denied.to_string(),
            Self::UnwantedBody => "this request takes no body; send parameters in the query".to_owned(),
            Self::Guarded { refusal, .. } => refusal.detail(),
            Self::NoSuchPath(alike) => format!("there is nothing here, but at {alike}; in a URL, # is written %23"),
            Self::NotForAdmins => {
                "this listener (--admin-listen) has /metrics, /ready and /live alone; everything else is at --listen"
                    .to_owned()
            }
            Self::NoMailbox => "this client has no mailbox; name topics to create one, e.g. ?topics=jobs.%23, \
                 or PUT /clients/{client}/topics/{pattern}"
                .to_owned(),
            Self::MetricsElsewhere => "metrics are served on a listener of their own (--admin-listen)".to_owned(),
            Self::NotFollowed(_, topics) if topics.is_empty() => {
                "feeds are switched off at this gateway (--feed-topics none)".to_owned()
            }
            Self::NotFollowed(pattern, topics) => {
                let topics: Vec<&str> = topics.iter().map(TopicPattern::as_str).collect();
                format!(
                    "{pattern} is not followed here, so it would never bring an event; --feed-topics is {}",
                    topics.join(",")
                )
            }
            Self::MethodNotAllowed { allowed, .. } => format!("this path answers to {allowed}"),
            Self::Replaced => {
                "a newer poll of the same client took this one's place; a client holds one poll at a time".to_owned()
            }
            Self::MailboxGone => {
                "the mailbox was deleted while this poll was held; poll again to start anew".to_owned()
            }
            Self::BodyTooLarge(most) => format!("an event has at most {most} bytes here (--max-body)"),
            Self::ContentCoding => {
                "Content-Encoding: gzip and deflate are undone here; send the body so, or as it is".to_owned()
            }
            Self::TransferCoding => {
                "Transfer-Encoding: only chunked is known here; compress with Content-Encoding: gzip".to_owned()
            }
            Self::Multipart => "Content-Type: an event is not taken out of a form with parts; send the payload itself as the body, \
                 with its own type, e.g. curl --data-binary @picture.png -H 'Content-Type: image/png'"
                .to_owned(),
            Self::BodyTooSlow(most) => format!("the body did not come within {} s", most.as_secs()),
            Self::Held => "another gateway reads this mailbox now; try again".to_owned(),
            Self::TooManyMailboxes => {
                "this gateway holds as many mailboxes as it may (--max-mailboxes); try again".to_owned()
            }
            Self::TooManyConnections => {
                "this gateway holds as many connections or requests as it may (--max-connections); try again".to_owned()
            }
            Self::Limited(limit, _) => too_many(*limit).to_owned(),
            Self::NoRoomForEvent => {
                "as many bytes of events as this gateway may hold are on their way in (--max-transit); try again".to_owned()
            }
            Self::NoRoomForAnswer => {
                "as many bytes of answers as this gateway may hold are not taken by their clients yet (--max-transit); try \
                 again"
                    .to_owned()
            }
            Self::ShuttingDown => "this gateway is shutting down; try again".to_owned(),
            Self::NotReady => {
                "the broker cannot be used now; this gateway connects again, or waits for room on its disk, by itself"
                    .to_owned()
            }
            Self::PartsNotReady(parts) => {
                format!("not ready: {parts}; this gateway connects again, or waits for room on its disk, by itself")
            }
            Self::Broker(error) => refusal(error),
            Self::MailboxRejected(id) => format!(
                "at least one mailbox did not take the event: the mailbox is full and its policy rejects new events (overflow \
                 reject-publish), or the node that keeps it is away (RabbitMQ 4); the feed and every other mailbox of this \
                 topic have the event, and get a repeat with each retry; make room in that mailbox, change its policy, or get \
                 the node back, then retry with Postern-Resent: true and the same Event-Id: {id}"
            ),
            Self::NotConfirmed(id, error) => no_confirm(id, error),
            Self::WrongEvent(at, wrong) => format!("{at}: {wrong}"),
            Self::DeniedEvent(at, denied) => format!("{at}: {denied}"),
            Self::BatchTooLarge(most) => {
                format!("a batch has at most {most} bytes here (--max-body); send the others with the next one")
            }
            Self::BatchTooLong(most) => format!("a batch has at most {most} events; send the others with the next one"),
            Self::BatchAboveBurst(most) => {
                format!("at most {most} events are taken from one client at once (--publish-burst); send smaller batches")
            }
            Self::BatchType => "Content-Type: a batch is application/json (an array), application/x-ndjson, or of CloudEvents \
                 (application/cloudevents-batch+json, application/cloudevents+json); one event of any other type goes to /topics/{topic}/events"
                .to_owned(),
            Self::BatchNotConfirmed(batch) => batch.detail(),
        }
    }

    /// Returns what programs read of it besides (RFC 9457, section 3.2).
    fn extension(&self) -> Map<String, Value> {
        match self {
            Self::WrongEvent(at, _) | Self::DeniedEvent(at, _) => at.members(),
            Self::BatchNotConfirmed(batch) => batch.members(),
            _ => Map::new(),
        }
    }
}

impl From<BrokerError> for Problem {
    fn from(error: BrokerError) -> Self {
        log_refusal(&error, None);
        Self::Broker(error)
    }
}

/// Logs what an operator should look at, at most once a second: a client can cause as many refusals as it can send
/// requests.
pub(super) fn log_refusal(error: &BrokerError, event: Option<&str>) {
    static REFUSED: Seldom = Seldom::a_second();
    let is_news = match error {
        BrokerError::QueueAway { .. } => true,
        BrokerError::TooManyBindings(_) => false,
        _ => !error.is_retryable(),
    };
    if !is_news {
        return;
    }
    if let Some(left_out) = REFUSED.due() {
        tracing::warn!(%error, event, left_out, "the broker refused");
    }
}

impl From<Problem> for HttpResponse {
    fn from(problem: Problem) -> Self {
        let status = problem.status();
        let wait = match problem {
            Problem::Limited(_, wait) => wait,
            // Another gateway is there, or this one is soon back. Whole seconds are written, and so one.
            Problem::ShuttingDown => Some(Duration::ZERO),
            // The connection is back in a moment. Whole seconds are written, and so one.
            Problem::Broker(BrokerError::Reconnecting) | Problem::NotConfirmed(_, BrokerError::Reconnecting) => {
                Some(Duration::ZERO)
            }
            _ => None,
        };
        let (kind, title) = match problem {
            // The type is older than RabbitMQ 4, where a node that is away rejects events, too.
            Problem::MailboxRejected(_) => ("urn:postern:problem:mailbox-full", "Mailbox Full or Away"),
            _ => ("about:blank", status.canonical_reason().unwrap_or_default()),
        };
        let mut body = json!({
            "type": kind,
            "title": title,
            "status": status.as_u16(),
            "detail": problem.detail(),
        });
        if let Some(members) = body.as_object_mut() {
            members.extend(problem.extension());
        }
        let mut response = response::typed("application/problem+json", body.to_string());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        match problem {
            Problem::MethodNotAllowed { allowed, has_body } => {
                if let Ok(allowed) = HeaderValue::try_from(allowed) {
                    headers.insert(ALLOW, allowed);
                }
                if has_body {
                    headers.insert(CONNECTION, HeaderValue::from_static("close"));
                }
            }
            Problem::ContentCoding => {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            // RFC 6750, section 3; without a token there is nothing wrong with one (section 3.1).
            Problem::NoToken(_) => challenge(headers, "Bearer"),
            Problem::BadToken(_) => challenge(headers, "Bearer error=\"invalid_token\""),
            Problem::Denied(_) | Problem::DeniedEvent(..) => challenge(headers, "Bearer error=\"insufficient_scope\""),
            Problem::UnwantedBody
            | Problem::Guarded { has_body: true, .. }
            | Problem::NotForAdmins
            | Problem::BodyTooLarge(_)
            | Problem::BatchTooLarge(_)
            | Problem::BodyTooSlow(_)
            | Problem::NoRoomForEvent
            | Problem::TransferCoding
            | Problem::Multipart
            | Problem::ShuttingDown => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        match wait {
            Some(wait) => {
                // Whole seconds; one that comes too early has to come again.
                headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
            }
            None if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(rand::random_range(RETRY_AFTER_S)));
            }
            None => {}
        }
        response
    }
}

fn challenge(headers: &mut HeaderMap, challenge: &'static str) {
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
}

/// The header of a token.
pub(super) const LAST_SEEN: HeaderName = HeaderName::from_static(http_names::LAST_SEEN);
