//! What a request asks for, in values of its own.

use std::{fmt::Display, str::FromStr, sync::Arc};

use access::{Denied, Principal, Rights};
use broker::Broker;
use events::{ClientId, Topic, TopicPattern};
use hyper::{
    HeaderMap, StatusCode,
    body::{Body, Incoming},
    header::{ALLOW, CONNECTION, HeaderValue},
};
use mailboxes::PollRequest;
use tracing::debug;

use super::{
    app::App,
    body::{HttpRequest, HttpResponse},
    connection::{half_close::HalfClose, socket::ConnectionStatus},
    cors::CorsRequest,
    credentials::{Caller, not_included},
    feed::{self, FeedPoll, Manner},
    guard::Refusal,
    limits::Sender,
    mailbox,
    metrics::Operation,
    openapi,
    ops::{self, ReadyFor},
    problem::Problem,
    publish, query, response,
    routes::{self, Found, Right, Route},
    site, sse,
};
use crate::metrics::TextFormat;

/// What a request asks for.
///
/// A request is read before anything waits for its answer, and is gone then: it lies in the connection's read buffer,
/// which could not be used again as long as a poll is held. What is large is on the heap: on its way a call is moved from
/// one future to the next, and a held poll has room for it in each.
pub(super) enum Call {
    Poll(ClientId, Box<PollRequest>),
    Stream(ClientId, Box<PollRequest>),
    Follow(Box<FeedPoll>),
    FollowStream(Box<FeedPoll>),
    Publish(Topic, Box<HeaderMap>, Incoming),
    PublishBatch(Box<HeaderMap>, Incoming),
    Status(ClientId),
    Delete(ClientId),
    Bind(ClientId, TopicPattern),
    Unbind(ClientId, TopicPattern),
    Page,
    /// With the tags of what the client has.
    BrowserClient(Box<HeaderMap>),
    OpenApi,
    Live,
    Ready(ReadyFor),
    /// In this format.
    Metrics(TextFormat),
    /// The methods of this path.
    Options(&'static Route),
}

impl Call {
    /// Reads a request, unless the guard refused it. What it asks for is known also of one that is refused; it needs no
    /// right. `may_be_kept`: shared caches may keep answers to polls of feeds.
    pub(super) fn of(
        request: HttpRequest,
        refusal: Option<Refusal>,
        may_be_kept: bool,
    ) -> (Operation, Right, Result<Self, Problem>) {
        let uri = request.uri().clone();
        let found = Found::of(uri.path());
        let (operation, right) = found.as_ref().map_or((Operation::Unknown, Right::Nothing), |found| {
            let operation = found.route.operation(request.method(), request.headers());
            (operation, found.route.right(operation))
        });
        match refusal {
            Some(refusal) => {
                let has_body = !request.body().is_end_stream();
                (operation, Right::Nothing, Err(Problem::Guarded { refusal, has_body }))
            }
            None => (operation, right, Self::read(request, found, operation, may_be_kept)),
        }
    }

    fn read(
        request: HttpRequest,
        found: Result<Found<'_>, Problem>,
        operation: Operation,
        may_be_kept: bool,
    ) -> Result<Self, Problem> {
        let follow =
            |topics: &str, query, headers, manner| feed::read(valid("topics", topics)?, query, headers, manner);
        let (parts, body) = request.into_parts();
        let Found { route, parameters: [first, second] } = found?;
        let has_body = !body.is_end_stream();
        let (query, headers) = (parts.uri.query(), &parts.headers);
        let call = match operation {
            Operation::MailboxPoll => Self::Poll(client_id(&first)?, mailbox::read(query, headers, false)?),
            Operation::MailboxStream => Self::Stream(client_id(&first)?, mailbox::read(query, headers, true)?),
            Operation::MailboxStatus => Self::Status(client_id(&first)?),
            Operation::MailboxDelete => Self::Delete(client_id(&first)?),
            Operation::MailboxBind => Self::Bind(client_id(&first)?, pattern(&second)?),
            Operation::MailboxUnbind => Self::Unbind(client_id(&first)?, pattern(&second)?),
            Operation::FeedPoll => Self::Follow(follow(&first, query, headers, Manner::Poll { may_be_kept })?),
            Operation::FeedStream => Self::FollowStream(follow(&first, query, headers, Manner::Stream)?),
            Operation::Publish => return Ok(Self::Publish(valid("topic", &first)?, Box::new(parts.headers), body)),
            Operation::PublishBatch => return Ok(Self::PublishBatch(Box::new(parts.headers), body)),
            Operation::Page => Self::Page,
            Operation::BrowserClient => Self::BrowserClient(Box::new(parts.headers)),
            Operation::OpenApi => Self::OpenApi,
            Operation::Live => Self::Live,
            Operation::Ready => Self::Ready(ReadyFor::of(query)),
            Operation::Metrics => Self::Metrics(ops::format(headers)),
            Operation::Options => Self::Options(route),
            Operation::Unknown if route.operations.is_empty() => return Err(routes::no_such_path(route.path)),
            Operation::Unknown => return Err(Problem::MethodNotAllowed { allowed: route.allowed(), has_body }),
        };
        // A body that is left unread would hide it when the client hangs up.
        if has_body { Err(Problem::UnwantedBody) } else { Ok(call) }
    }

    /// Tells whether its answer may be long in coming, or never end.
    pub(super) const fn is_poll(&self) -> bool {
        self.is_stream() || matches!(self, Self::Poll(..) | Self::Follow(_))
    }

    /// Tells whether its answer is a stream.
    pub(super) const fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(..) | Self::FollowStream(_))
    }

    /// Tells whether it has a body that is to be read.
    fn has_body(&self) -> bool {
        matches!(self, Self::Publish(_, _, body) | Self::PublishBatch(_, body) if !body.is_end_stream())
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
            Ok(call) if call.has_body() => half_close.await_body(),
            _ => half_close.await_answer(),
        }
    }

    /// Checks whether rights include what it asks for, whether that exists or not.
    pub(super) fn check(&self, rights: &Rights) -> Result<(), Denied> {
        match self {
            Self::Poll(client, request) | Self::Stream(client, request) => {
                rights.use_mailbox(client)?;
                request.topics.iter().try_for_each(|pattern| rights.read(pattern))
            }
            Self::Bind(client, pattern) => rights.use_mailbox(client).and_then(|()| rights.read(pattern)),
            Self::Status(client) | Self::Delete(client) | Self::Unbind(client, _) => rights.use_mailbox(client),
            Self::Follow(poll) | Self::FollowStream(poll) => {
                poll.request.selection.patterns().iter().try_for_each(|pattern| rights.read(pattern))
            }
            Self::Publish(topic, ..) => rights.publish(topic),
            // A body for which there cannot be a right is not read.
            Self::PublishBatch(..) if !rights.may_publish() => Err(Denied::PublishAny),
            // Its topics are not known yet.
            Self::PublishBatch(..)
            | Self::Page
            | Self::BrowserClient(_)
            | Self::OpenApi
            | Self::Live
            | Self::Ready(_)
            | Self::Metrics(_)
            | Self::Options(_) => Ok(()),
        }
    }

    /// Has a poll end with its rights, and show only what they include.
    fn limit_to(&mut self, rights: &Rights) {
        let deadline = match self {
            Self::Poll(_, request) | Self::Stream(_, request) => {
                request.may_see = rights.may_see();
                &mut request.deadline
            }
            Self::Follow(poll) | Self::FollowStream(poll) => &mut poll.request.deadline,
            _ => return,
        };
        *deadline = rights.expires.map_or(*deadline, |expires| expires.min(*deadline));
    }

    /// Takes what it uses from what its sender may use, but for the place of a poll.
    async fn use_up<B: Broker>(&self, app: &App<B>, principal: &Principal, rights: &Rights) -> Result<(), Problem> {
        match self {
            Self::Publish(..) => app.limits.publish(principal, rights.publish_rate, 1),
            // How many events it has is not known yet.
            Self::PublishBatch(..) => app.limits.may_publish(principal, rights.publish_rate),
            // The broker is seldom asked, and a poll that waits would be as large.
            Self::Bind(client, _) => Box::pin(mailbox::count_new(app, client, principal)).await,
            Self::Poll(client, request) | Self::Stream(client, request) if !request.topics.is_empty() => {
                Box::pin(mailbox::count_new(app, client, principal)).await
            }
            _ => Ok(()),
        }
    }

    async fn carry_out<B: Broker>(
        self,
        app: &Arc<App<B>>,
        status: &Arc<ConnectionStatus>,
        Admitted { rights, principal }: Admitted,
    ) -> Result<HttpResponse, Problem> {
        match self {
            Self::Poll(client, request) => mailbox::poll(app, status, &client, request, principal).await,
            Self::Follow(poll) => feed::poll(app, poll, principal).await,
            Self::FollowStream(poll) => feed::stream(app, poll, rights.expires, principal.as_ref()),
            // Rare beside polls, of which thousands are held: their size should not be that of these.
            Self::Publish(topic, headers, body) => Box::pin(publish::publish(app, status, topic, &headers, body)).await,
            Self::PublishBatch(headers, body) => {
                let publisher = publish::Publisher { rights, principal };
                Box::pin(publish::publish_batch(app, status, publisher, &headers, body)).await
            }
            Self::Stream(client, request) => {
                Box::pin(mailbox::stream(app, status, client, request, rights.expires, principal)).await
            }
            Self::Status(client) => Box::pin(mailbox::status(app, &client)).await,
            Self::Delete(client) => Box::pin(mailbox::delete(app, client)).await,
            Self::Bind(client, pattern) => Box::pin(mailbox::bind(app, client, pattern)).await,
            Self::Unbind(client, pattern) => Box::pin(mailbox::unbind(app, client, pattern)).await,
            Self::Page => Ok(site::page()),
            Self::BrowserClient(headers) => Ok(site::client_js(&headers)),
            Self::OpenApi => Ok(openapi::document()),
            Self::Live => Ok(ops::live()),
            Self::Ready(part) => ops::ready(app, part),
            Self::Metrics(format) => Ok(ops::metrics(app, format)),
            Self::Options(route) => Ok(options(route)),
        }
    }
}

/// What is known of a request that may go on.
#[derive(Default)]
struct Admitted {
    /// What it may do; nothing if it needs no right.
    rights: Arc<Rights>,
    /// Whom it is counted for.
    principal: Option<Principal>,
}

/// Answers a request, whatever it is. A caller is there if it needs a right.
pub(super) async fn answer<B: Broker>(
    app: &Arc<App<B>>,
    status: &Arc<ConnectionStatus>,
    call: Result<Call, Problem>,
    (caller, sender): (Option<Caller>, Sender),
    cors: CorsRequest,
) -> HttpResponse {
    let has_unread_body = call.as_ref().is_ok_and(Call::has_body);
    let is_stream = call.as_ref().is_ok_and(Call::is_stream);
    // Who would guess the ids of mailboxes, if the request does that.
    let guesser = caller.as_ref().filter(|_| sender.is_for_mailbox);
    let guesser = guesser.and_then(|caller| sender.principal(caller.subject()));
    // None is held any more: a poll that came a moment before was answered by the end of its Session.
    let call = match call {
        Ok(call) if call.is_poll() && app.shutting_down.is_cancelled() => Err(Problem::ShuttingDown),
        call => call,
    };
    let mut response = match admitted(app, call, caller, sender, guesser.as_ref()).await {
        Ok((call, admitted)) => {
            call.carry_out(app, status, admitted).await.unwrap_or_else(|problem| refusal(problem, is_stream, sender))
        }
        Err(problem) => {
            let mut refusal = refusal(problem, is_stream, sender);
            if has_unread_body {
                refusal.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            refusal
        }
    };
    if let Some(guesser) = guesser
        && matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
    {
        app.limits.failed(&guesser);
    }
    debug!(status = response.status().as_u16(), "answered");
    app.options.allowed_origins.decorate(cors, response.headers_mut());
    response
}

/// An `EventSource` would give up for good on an error, so a stream that has to wait is told so.
fn refusal(problem: Problem, is_stream: bool, sender: Sender) -> HttpResponse {
    if matches!(problem, Problem::Limited(..)) {
        sender.warn_of_proxy();
    }
    match problem {
        Problem::Limited(_, wait) if is_stream => wait.map_or_else(sse::come_back_later, sse::come_back_after),
        Problem::ShuttingDown if is_stream => sse::come_back_later(),
        problem => problem.into(),
    }
}

/// Has a request go on only with the rights that it needs, and within what its sender may use. A request that is wrong
/// and has no rights gets to know the latter alone.
async fn admitted<B: Broker>(
    app: &App<B>,
    call: Result<Call, Problem>,
    caller: Option<Caller>,
    sender: Sender,
    guesser: Option<&Principal>,
) -> Result<(Call, Admitted), Problem> {
    let Some(caller) = caller else { return Ok((call?, Admitted::default())) };
    if let Some(guesser) = guesser.filter(|_| !caller.may_renew()) {
        app.limits.may_fail(guesser)?;
    }
    let access = &app.options.access;
    let rights = caller.rights(access).await?;
    let mut call = call?;
    call.check(&rights).map_err(|denied| not_included(access, &rights, denied))?;
    call.limit_to(&rights);
    let principal = sender.principal(rights.subject.as_ref());
    if let Some(principal) = &principal {
        call.use_up(app, principal, &rights).await?;
    }
    Ok((call, Admitted { rights, principal }))
}

fn options(route: &Route) -> HttpResponse {
    let mut response = response::empty(StatusCode::NO_CONTENT);
    if let Ok(allowed) = HeaderValue::try_from(route.allowed()) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

/// Reads a client id. `.` and `..` are refused: browsers and proxies remove such segments from a path (RFC 3986,
/// section 5.2.4).
fn client_id(text: &str) -> Result<ClientId, Problem> {
    if matches!(text, "." | "..") {
        return Err(Problem::BadRequest(format!(
            "client: {text:?} cannot be an id; browsers and proxies remove it from a path"
        )));
    }
    valid("client", text)
}

fn pattern(text: &str) -> Result<TopicPattern, Problem> {
    valid("topic pattern", text)
}

fn valid<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::BadRequest(format!("{what}: {error}{}", query::hint(text))))
}
