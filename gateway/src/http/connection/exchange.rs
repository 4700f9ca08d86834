//! The way of a request: *read → admit → answer*.
//!
//! A request is read before anything waits, because it lies in the connection's read buffer; what it asks for is known
//! before it is admitted, because a poll is admitted otherwise than an operator's look at health. Handlers are
//! cancelled by being dropped.

use std::{convert::Infallible, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use broker::Broker;
use events::ClientId;
use hyper::{
    Version,
    header::{CONNECTION, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use mailboxes::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{Instrument, Span, debug, debug_span};

use super::{
    open_requests::OpenRequests,
    parked::Handler,
    persistence::{announce_close, announce_close_to_http_1_0, announce_idle_timeout},
    protocol::{Times, http1, serve_http1, serve_http2, unless_too_late},
    socket::{ConnectionStatus, ObservedSocket},
    version::{self, FirstBytes},
};
use crate::http::{
    access_log::Record,
    app::App,
    body::{self, HttpRequest, HttpResponse},
    call::{self, Call},
    cors::{CorsRequest, Page},
    credentials::Caller,
    guard,
    limits::Sender,
    listener::Audience,
    problem::Problem,
    reach,
    routes::Right,
    sse,
};

/// How long a client without a place may take for the head of its request, and for the handshake of TLS before it.
pub(super) const SURPLUS_HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// How a client came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// Its address, if there is such.
    pub(crate) remote: Option<SocketAddr>,
    /// Whom the listener is for that it came to.
    pub(crate) audience: Audience,
    /// The version of HTTP that was agreed on with TLS; without TLS none is.
    pub(crate) agreed: Option<Version>,
}

/// A request that was read.
struct ReadRequest {
    version: Version,
    call: Result<Call, Problem>,
    /// Its sender, if it needs a right.
    caller: Option<Caller>,
    sender: Sender,
    cors: CorsRequest,
    record: Record,
    span: Span,
}

impl ReadRequest {
    /// Reads a request, but for the body of an event, unless the guard refuses it.
    fn of<B: Broker>(request: HttpRequest, arrival: Arrival, app: &App<B>, status: &ConnectionStatus) -> Self {
        let version = request.version();
        let mut record = Record::of(&request, arrival.remote, &app.metrics);
        let span = debug_span!(
            "request",
            request_id = %record.id(),
            method = %request.method(),
            path = request.uri().path()
        );
        let options = &app.options;
        let checked = match arrival.audience {
            Audience::Clients(listener) => guard::check(&request, listener, &options.hosts, &options.allowed_origins),
            Audience::Admins => Ok(Page::Stranger),
        };
        let (page, refusal) = match checked {
            Ok(page) => (page, None),
            Err(refusal) => (Page::Stranger, Some(refusal)),
        };
        let cors = CorsRequest::of(&request, page);
        if let Some(refusal) = &refusal {
            app.metrics.refused_by_guard(refusal.word());
        }
        let read_token =
            || Caller::of(request.headers(), &options.access, &options.token_cookies, page.may_use_cookies());
        let caller = refusal.is_none().then(read_token);
        let mut sender = app.limits.sender(arrival.remote, request.headers());
        let is_refused = refusal.is_some();
        let (operation, right, mut call) = Call::of(request, refusal, app.options.feed_cache.is_some());
        if !is_refused {
            call = reach::check(arrival.audience, operation, options.has_public_metrics).and(call);
        }
        sender.is_for_mailbox = right == Right::Mailbox;
        record.asks_for(operation);
        Call::note(&call, &status.half_close);
        // What operators get takes no right, and what they do not get is not there.
        let needs_right = right != Right::Nothing && !matches!(arrival.audience, Audience::Admins);
        Self { version, call, caller: caller.filter(|_| needs_right), sender, cors, record, span }
    }
}

/// Serves a client to the end of its connection.
pub(crate) async fn serve_client<B: Broker>(
    mut stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    arrival: Arrival,
    app: &Arc<App<B>>,
) {
    let span = debug_span!("connection", peer = arrival.remote.map(tracing::field::display));
    let (version, first) = if let Some(version) = arrival.agreed {
        (version, FirstBytes::default())
    } else {
        // On the heap, where it goes away; so is what serves the connection. A future has room for what it was handed and
        // for what becomes of that, and of connections there are many.
        let detecting = Box::pin(version::detect(&mut stream, app.options.header_timeout));
        let Some(Ok(detected)) = unless_too_late(app, detecting).await else { return };
        detected
    };
    let status = Arc::new(ConnectionStatus::default());
    let owned = Arc::clone(app);
    let kept = Arc::clone(&status);
    // The end of a connection that carries many clients says nothing about what one of them got.
    let shared = (version == Version::HTTP_2).then(OpenRequests::default);
    let open = shared.clone();
    let service = service_fn(move |request: HttpRequest| -> Handler {
        let app = Arc::clone(&owned);
        kept.note_asked();
        let status = if open.is_some() { Arc::default() } else { Arc::clone(&kept) };
        let ReadRequest { version, call, caller, sender, cors, mut record, span } =
            ReadRequest::of(request, arrival, &app, &status);
        record.open = open.as_ref().map(OpenRequests::begin);
        // A stranger's poll would not have taken the place, and must not end it either.
        let may_poll = |call: &&Call| {
            caller.as_ref().is_none_or(|caller| matches!(caller, Caller::Known(rights) if call.check(rights).is_ok()))
        };
        let client = call.as_ref().ok().filter(may_poll).and_then(Call::polled_client).cloned();
        let abandon_guard = AbandonGuard { client, registry: app.registry.clone() };
        let answering = async move {
            abandon_guard.begin();
            status.request_came();
            let mut response = call::answer(&app, &status, call, (caller, sender), cors).await;
            status.half_close.answered();
            if record.open.is_some() {
                response = body::paced(response, status, &app.outgoing);
            } else {
                if app.leaving.is_cancelled() {
                    announce_close(&mut response);
                }
                announce_close_to_http_1_0(version, &mut response);
                announce_idle_timeout(&mut response, &app.idle_timeout_header);
            }
            Ok::<_, Infallible>(record.answering(response))
        };
        Box::pin(answering.instrument(span))
    });
    let socket = ObservedSocket::new(stream, first, Arc::clone(&status));
    let serving: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send + '_>> = match &shared {
        Some(open) => Box::pin(serve_http2(socket, service, &status, open, app)),
        None => Box::pin(serve_http1(socket, service, &status, app)),
    };
    let serving = async {
        if let Err(error) = serving.await {
            debug!(%error, "connection ended");
        }
    };
    serving.instrument(span).await;
    status.finish();
}

/// A request that hyper has read and not begun to answer. If its client has hung up already, hyper drops it before it
/// asks for an answer: then a poll must not take a place any more, but its client has gone.
struct AbandonGuard<B: Broker> {
    /// Whose poll it is, if it is one.
    client: Option<ClientId>,
    registry: Registry<B>,
}

impl<B: Broker> AbandonGuard<B> {
    /// From here on the handler notices by itself.
    fn begin(mut self) {
        self.client = None;
    }
}

impl<B: Broker> Drop for AbandonGuard<B> {
    fn drop(&mut self) {
        if let Some(client) = &self.client {
            self.registry.abandoned(client);
        }
    }
}

/// Serves one request of a client for which there is no place, unless it would keep the connection; `full` says why.
pub(super) async fn serve_surplus<B: Broker>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    arrival: Arrival,
    full: fn() -> Problem,
    app: &Arc<App<B>>,
) {
    let status = Arc::new(ConnectionStatus::default());
    let service = service_fn(|request: HttpRequest| {
        let (app, status) = (Arc::clone(app), Arc::clone(&status));
        let ReadRequest { version, call, caller, sender, cors, record, span } =
            ReadRequest::of(request, arrival, &app, &status);
        let answering = async move {
            let mut response = match call {
                Ok(call) if call.is_poll() => refused(&call, full, cors, &app),
                call => call::answer(&app, &status, call, (caller, sender), cors).await,
            };
            status.half_close.answered();
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            announce_close_to_http_1_0(version, &mut response);
            Ok::<_, Infallible>(record.answering(response))
        };
        answering.instrument(span)
    });
    let times = Times { idle: SURPLUS_HEAD_TIMEOUT, head: SURPLUS_HEAD_TIMEOUT };
    let socket = ObservedSocket::new(stream, FirstBytes::default(), Arc::clone(&status));
    let _ = http1(times, &status).serve_connection(TokioIo::new(socket), service).await;
}

/// Answers a poll that would keep a connection for which there is no place.
fn refused<B: Broker>(call: &Call, full: fn() -> Problem, cors: CorsRequest, app: &App<B>) -> HttpResponse {
    app.metrics.connections_refused.inc();
    let mut refusal = if call.is_stream() { sse::come_back_later() } else { full().into() };
    app.options.allowed_origins.decorate(cors, refusal.headers_mut());
    refusal
}
