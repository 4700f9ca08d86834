//! From a request to its handler.

use std::{borrow::Cow, fmt::Display, str::FromStr, sync::Arc};

use bytes::Bytes;
use events::{ClientId, Topic, TopicPattern};
use hyper::{
    HeaderMap, Method, StatusCode, Version,
    body::{Body, Incoming},
    header::{ALLOW, HOST, HeaderValue},
    http::request::Parts,
};
use percent_encoding::percent_decode_str;
use tracing::debug;

use super::{
    app::App,
    body::{self, HttpRequest, HttpResponse},
    browser_client,
    cors::CorsRequest,
    feed::{self, EmptyStatus},
    half_close::HalfClose,
    mailboxes, ops, page, parameters, poll,
    problem::Problem,
    publish,
    socket::ConnectionStatus,
    sse,
};
use crate::{
    broker::Broker,
    feed::FeedRequest,
    mailbox::PollRequest,
    metrics::{Operation, TextFormat},
};

/// One more than any path of ours has.
const MAX_SEGMENTS: usize = 5;

/// What a path leads to, with its parameters as text.
enum Route<'a> {
    Events(Cow<'a, str>),
    Mailbox(Cow<'a, str>),
    Binding(Cow<'a, str>, Cow<'a, str>),
    Topic(Cow<'a, str>),
    Page,
    BrowserClient,
    Live,
    Ready,
    Metrics,
    /// `*`, which only OPTIONS has (RFC 9110, section 9.3.7).
    Server,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Result<Self, Problem> {
        let decoded = |segment: &'a str| {
            let wrong = |_| Problem::BadRequest("path: its percent-encoding is not UTF-8".to_owned());
            percent_decode_str(segment).decode_utf8().map_err(wrong)
        };
        if path == "*" {
            return Ok(Self::Server);
        }
        // Each path has one spelling, so that a proxy that checks paths checks the same path.
        let path = path.strip_prefix('/').ok_or_else(|| no_such_path(path))?;
        let mut segments = [""; MAX_SEGMENTS];
        let found = path.split('/').zip(&mut segments);
        let count = found.map(|(segment, place)| *place = segment).count();
        Ok(match &segments[..count] {
            ["clients", client, "events"] => Self::Events(decoded(client)?),
            ["clients", client] => Self::Mailbox(decoded(client)?),
            ["clients", client, "topics", pattern] => Self::Binding(decoded(client)?, decoded(pattern)?),
            ["topics", topic, "events"] => Self::Topic(decoded(topic)?),
            [""] => Self::Page,
            ["client.js"] => Self::BrowserClient,
            ["live"] => Self::Live,
            ["ready"] => Self::Ready,
            ["metrics"] => Self::Metrics,
            _ => return Err(no_such_path(path)),
        })
    }

    /// Returns what a request of this method asks for here.
    fn operation(&self, method: &Method, headers: &HeaderMap) -> Operation {
        match (method, self) {
            (&Method::GET, Self::Events(_)) if sse::is_accepted(headers) => Operation::MailboxStream,
            (&Method::GET, Self::Events(_)) => Operation::MailboxPoll,
            (&Method::GET, Self::Mailbox(_)) => Operation::MailboxStatus,
            (&Method::DELETE, Self::Mailbox(_)) => Operation::MailboxDelete,
            (&Method::PUT, Self::Binding(..)) => Operation::MailboxBind,
            (&Method::DELETE, Self::Binding(..)) => Operation::MailboxUnbind,
            (&Method::GET, Self::Topic(_)) if sse::is_accepted(headers) => Operation::FeedStream,
            (&Method::GET, Self::Topic(_)) => Operation::FeedPoll,
            (&Method::POST, Self::Topic(_)) => Operation::Publish,
            (&Method::GET | &Method::HEAD, Self::Page) => Operation::Page,
            (&Method::GET | &Method::HEAD, Self::BrowserClient) => Operation::BrowserClient,
            (&Method::GET | &Method::HEAD, Self::Live) => Operation::Live,
            (&Method::GET | &Method::HEAD, Self::Ready) => Operation::Ready,
            (&Method::GET | &Method::HEAD, Self::Metrics) => Operation::Metrics,
            (&Method::OPTIONS, _) => Operation::Options,
            _ => Operation::Unknown,
        }
    }

    /// Returns the methods that the path answers to, besides OPTIONS.
    const fn methods(&self) -> &'static str {
        match self {
            Self::Events(_) => "GET",
            Self::Mailbox(_) => "GET, DELETE",
            Self::Binding(..) => "PUT, DELETE",
            Self::Topic(_) => "GET, POST",
            Self::Page | Self::BrowserClient | Self::Live | Self::Ready | Self::Metrics => "GET, HEAD",
            Self::Server => "GET, HEAD, POST, PUT, DELETE",
        }
    }
}

/// Says where what is asked for may be.
fn no_such_path(path: &str) -> Problem {
    Problem::NoSuchPath(match path.trim_start_matches('/').split('/').next() {
        Some("topics") => "/topics/{topic}/events (POST publishes, GET follows a topic or pattern)",
        Some("clients") => {
            "/clients/{client}/events (GET polls), /clients/{client} and /clients/{client}/topics/{pattern}"
        }
        _ => "/clients/{client}/events (GET polls a mailbox) and /topics/{topic}/events (POST publishes, GET follows)",
    })
}

/// What a request asks for, in values of its own.
///
/// A request is read before anything waits for its answer, and is gone then: it lies in the connection's read buffer, which
/// could not be used again as long as a poll is held.
pub(super) enum Call {
    Poll(ClientId, PollRequest),
    Stream(ClientId, PollRequest),
    Follow(FeedRequest, EmptyStatus),
    FollowStream(FeedRequest),
    Publish(Topic, HeaderMap, Incoming),
    Status(ClientId),
    Delete(ClientId),
    Bind(ClientId, TopicPattern),
    Unbind(ClientId, TopicPattern),
    Page,
    /// With the tags of what the client has.
    BrowserClient(HeaderMap),
    Live,
    Ready,
    /// In this format.
    Metrics(TextFormat),
    /// With the methods that the path has.
    Options(&'static str),
}

impl Call {
    /// Reads a request. What it asks for is known also of one that is refused.
    pub(super) fn of(request: HttpRequest) -> (Operation, Result<Self, Problem>) {
        let uri = request.uri().clone();
        let route = Route::of(uri.path());
        let asks_for = |route: &Route<'_>| route.operation(request.method(), request.headers());
        let operation = route.as_ref().map_or(Operation::Unknown, asks_for);
        (operation, Self::read(request, route, operation.is_stream()))
    }

    fn read(request: HttpRequest, route: Result<Route<'_>, Problem>, is_stream: bool) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        check_host(&parts)?;
        let route = route?;
        let (has_body, allowed) = (!body.is_end_stream(), route.methods());
        let (query, headers) = (parts.uri.query(), &parts.headers);
        let call = match (&parts.method, &route) {
            (&Method::GET, Route::Events(client)) => {
                let (client, request) = (client_id(client)?, parameters::poll(query, headers, is_stream)?);
                if is_stream { Self::Stream(client, request) } else { Self::Poll(client, request) }
            }
            (&Method::GET, Route::Mailbox(client)) => Self::Status(client_id(client)?),
            (&Method::DELETE, Route::Mailbox(client)) => Self::Delete(client_id(client)?),
            (&Method::PUT, Route::Binding(client, pattern)) => {
                Self::Bind(client_id(client)?, valid("topic pattern", pattern)?)
            }
            (&Method::DELETE, Route::Binding(client, pattern)) => {
                Self::Unbind(client_id(client)?, valid("topic pattern", pattern)?)
            }
            (&Method::GET, Route::Topic(pattern)) => {
                let (request, empty_status) = feed::read(valid("topic pattern", pattern)?, query, headers, is_stream)?;
                if is_stream { Self::FollowStream(request) } else { Self::Follow(request, empty_status) }
            }
            (&Method::POST, Route::Topic(topic)) => Self::Publish(valid("topic", topic)?, parts.headers, body),
            (&Method::GET | &Method::HEAD, Route::Page) => Self::Page,
            (&Method::GET | &Method::HEAD, Route::BrowserClient) => Self::BrowserClient(parts.headers),
            (&Method::GET | &Method::HEAD, Route::Live) => Self::Live,
            (&Method::GET | &Method::HEAD, Route::Ready) => Self::Ready,
            (&Method::GET | &Method::HEAD, Route::Metrics) => Self::Metrics(ops::format(headers)),
            (&Method::OPTIONS, _) => Self::Options(allowed),
            (_, Route::Server) => return Err(no_such_path("*")),
            _ => return Err(Problem::MethodNotAllowed { allowed, has_body }),
        };
        // A body that is left unread would hide it when the client hangs up.
        if has_body && !matches!(call, Self::Publish(..)) { Err(Problem::UnwantedBody) } else { Ok(call) }
    }

    /// Tells whether its answer may be long in coming, or never end.
    pub(super) const fn is_poll(&self) -> bool {
        self.is_stream() || matches!(self, Self::Poll(..) | Self::Follow(..))
    }

    /// Tells whether its answer is a stream.
    pub(super) const fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(..) | Self::FollowStream(_))
    }

    /// Returns whose mailbox it polls, if that is what it does.
    pub(super) const fn polled_client(&self) -> Option<&ClientId> {
        match self {
            Self::Poll(client, _) | Self::Stream(client, _) => Some(client),
            _ => None,
        }
    }

    /// Says what it means if the client ends its side of the connection now.
    pub(super) fn note(call: &Result<Self, Problem>, half_close: &HalfClose) {
        match call {
            Ok(call) if call.is_poll() => half_close.tell(),
            Ok(Self::Publish(_, _, body)) if !body.is_end_stream() => half_close.await_body(),
            _ => half_close.await_answer(),
        }
    }

    async fn answer<B: Broker>(
        self,
        app: &Arc<App<B>>,
        status: &Arc<ConnectionStatus>,
    ) -> Result<HttpResponse, Problem> {
        match self {
            Self::Poll(client, request) => poll::hold(app, status, &client, request).await,
            Self::Follow(request, empty_status) => feed::hold(app, request, empty_status).await,
            Self::FollowStream(request) => {
                feed::check_followed(app, &request.pattern)?;
                Ok(sse::follow(app, request))
            }
            // Rare beside polls, of which thousands are held: their size should not be that of these.
            Self::Publish(topic, headers, body) => Box::pin(publish::publish(app, status, topic, &headers, body)).await,
            Self::Stream(client, request) => Box::pin(sse::hold(app, status, client, request)).await,
            Self::Status(client) => Box::pin(mailboxes::status(app, &client)).await,
            Self::Delete(client) => Box::pin(mailboxes::delete(app, client)).await,
            Self::Bind(client, pattern) => Box::pin(mailboxes::bind(app, client, pattern)).await,
            Self::Unbind(client, pattern) => Box::pin(mailboxes::unbind(app, client, pattern)).await,
            Self::Page => Ok(page::page()),
            Self::BrowserClient(headers) => Ok(browser_client::module(&headers)),
            Self::Live => Ok(ops::live()),
            Self::Ready => ops::ready(app),
            Self::Metrics(format) => Ok(ops::metrics(app, format)),
            Self::Options(methods) => Ok(options(methods)),
        }
    }
}

/// Answers a request, whatever it is.
pub(super) async fn answer<B: Broker>(
    app: &Arc<App<B>>,
    status: &Arc<ConnectionStatus>,
    call: Result<Call, Problem>,
    asked: CorsRequest,
) -> HttpResponse {
    let answered = match call {
        Ok(call) => call.answer(app, status).await,
        Err(problem) => Err(problem),
    };
    let mut response = answered.unwrap_or_else(HttpResponse::from);
    debug!(status = response.status().as_u16(), "answered");
    app.options.allowed_origins.decorate(asked, response.headers_mut());
    response
}

fn options(methods: &'static str) -> HttpResponse {
    let mut response = body::whole(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

/// Refuses a request in absolute form whose authority differs from its `Host` header: the authority takes precedence (RFC 9112,
/// section 3.2.2), and a proxy may have checked the header only. HTTP/2 has the authority alone.
///
/// Two `Host` headers are refused as well (RFC 9112, section 3.2).
fn check_host(parts: &Parts) -> Result<(), Problem> {
    if parts.headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(Problem::BadRequest("Host: it is given twice".to_owned()));
    }
    let Some(named) = parts.uri.authority().filter(|_| parts.version < Version::HTTP_2) else { return Ok(()) };
    let host = parts.headers.get(HOST).map(HeaderValue::as_bytes);
    if host.is_some_and(|host| host.eq_ignore_ascii_case(named.as_str().as_bytes())) {
        Ok(())
    } else {
        Err(Problem::BadRequest(format!("Host: it is not {named}, which the request's URL names; send the path alone")))
    }
}

/// Reads a client id. `.` and `..` are refused: browsers and proxies remove such segments from a path (RFC 3986, section 5.2.4).
fn client_id(text: &str) -> Result<ClientId, Problem> {
    if matches!(text, "." | "..") {
        return Err(Problem::BadRequest(format!(
            "client: {text:?} cannot be an id; browsers and proxies remove it from a path"
        )));
    }
    valid("client", text)
}

fn valid<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::BadRequest(format!("{what}: {error}{}", parameters::hint(text))))
}
