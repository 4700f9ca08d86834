//! From a request to its handler.

use std::{borrow::Cow, fmt::Display, str::FromStr, sync::Arc};

use bytes::Bytes;
use events::ClientId;
use hyper::{
    Method, StatusCode,
    body::Body,
    header::{ALLOW, HeaderValue},
};
use percent_encoding::percent_decode_str;
use tracing::{Instrument, debug, debug_span};

use super::{
    App, HttpRequest, HttpResponse, body, browser_client, feed, mailboxes, ops, page, poll, problem::Problem, publish,
    socket::Fate, sse,
};
use crate::broker::{Broker, log::EventLog};

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
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Result<Self, Problem> {
        let decoded = |segment: &'a str| {
            let wrong = |_| Problem::BadRequest("path: its percent-encoding is not UTF-8".to_owned());
            percent_decode_str(segment).decode_utf8().map_err(wrong)
        };
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        Ok(match segments.as_slice() {
            ["clients", client, "events"] => Self::Events(decoded(client)?),
            ["clients", client] => Self::Mailbox(decoded(client)?),
            ["clients", client, "topics", pattern] => Self::Binding(decoded(client)?, decoded(pattern)?),
            ["topics", topic, "events"] => Self::Topic(decoded(topic)?),
            [""] => Self::Page,
            ["client.js"] => Self::BrowserClient,
            ["live"] => Self::Live,
            ["ready"] => Self::Ready,
            ["metrics"] => Self::Metrics,
            _ => return Err(Problem::NoSuchPath),
        })
    }

    /// Returns the methods that the path answers to.
    const fn methods(&self) -> &'static str {
        match self {
            Self::Events(_) => "GET",
            Self::Mailbox(_) => "GET, DELETE",
            Self::Binding(..) => "PUT, DELETE",
            Self::Topic(_) => "GET, POST",
            Self::Page | Self::BrowserClient | Self::Live | Self::Ready | Self::Metrics => "GET, HEAD",
        }
    }
}

/// Returns whose mailbox a request polls, if that is what it does.
pub(super) fn polled_client(request: &HttpRequest) -> Option<ClientId> {
    match Route::of(request.uri().path()) {
        Ok(Route::Events(client)) if request.method() == Method::GET => client.parse().ok(),
        _ => None,
    }
}

/// Answers a request, whatever it is.
pub(super) async fn answer<B: Broker + EventLog>(
    app: &Arc<App<B>>,
    fate: &Arc<Fate>,
    request: HttpRequest,
) -> HttpResponse {
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let span = debug_span!("request", %method, path = request.uri().path());
    let mut response = async {
        let response = dispatch(app, fate, request).await.unwrap_or_else(HttpResponse::from);
        debug!(status = response.status().as_u16(), "answered");
        response
    }
    .instrument(span)
    .await;
    app.options.allowed_origins.decorate(&method, &headers, response.headers_mut());
    response
}

async fn dispatch<B: Broker + EventLog>(
    app: &Arc<App<B>>,
    fate: &Arc<Fate>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (parts, body) = request.into_parts();
    let route = Route::of(parts.uri.path())?;
    // A body that is left unread would hide it when the client hangs up.
    if !body.is_end_stream() && parts.method != Method::POST {
        return Err(Problem::UnwantedBody);
    }
    match (&parts.method, &route) {
        (&Method::GET, Route::Events(client)) if sse::is_wanted(&parts.headers) => {
            sse::hold(app, fate, valid("client", client)?, parts.uri.query(), &parts.headers).await
        }
        (&Method::GET, Route::Events(client)) => {
            poll::hold(app, fate, &valid("client", client)?, parts.uri.query(), &parts.headers).await
        }
        (&Method::GET, Route::Mailbox(client)) => mailboxes::look(app, &valid("client", client)?).await,
        (&Method::DELETE, Route::Mailbox(client)) => mailboxes::delete(app, &valid("client", client)?).await,
        (&Method::PUT, Route::Binding(client, pattern)) => {
            mailboxes::bind(app, &valid("client", client)?, valid("topic pattern", pattern)?).await
        }
        (&Method::DELETE, Route::Binding(client, pattern)) => {
            mailboxes::unbind(app, &valid("client", client)?, &valid("topic pattern", pattern)?).await
        }
        (&Method::GET, Route::Topic(pattern)) if sse::is_wanted(&parts.headers) => {
            sse::follow(app, valid("topic pattern", pattern)?, parts.uri.query(), &parts.headers)
        }
        (&Method::GET, Route::Topic(pattern)) => {
            feed::hold(app, valid("topic pattern", pattern)?, parts.uri.query(), &parts.headers).await
        }
        (&Method::POST, Route::Topic(topic)) => {
            publish::publish(app, valid("topic", topic)?, &parts.headers, body).await
        }
        (&Method::GET | &Method::HEAD, Route::Page) => Ok(page::page()),
        (&Method::GET | &Method::HEAD, Route::BrowserClient) => Ok(browser_client::module(&parts.headers)),
        (&Method::GET | &Method::HEAD, Route::Live) => Ok(ops::live()),
        (&Method::GET | &Method::HEAD, Route::Ready) => ops::ready(app),
        (&Method::GET | &Method::HEAD, Route::Metrics) => Ok(ops::metrics(app)),
        (&Method::OPTIONS, route) => Ok(options(route.methods())),
        (_, route) => Err(Problem::MethodNotAllowed(route.methods())),
    }
}

fn options(methods: &'static str) -> HttpResponse {
    let mut response = body::whole(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn valid<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::BadRequest(format!("{what}: {error}")))
}
