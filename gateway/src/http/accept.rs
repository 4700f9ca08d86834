//! Sockets: accepting them, how many, and their orderly end.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use events::ClientId;
use hyper::{
    Version,
    body::{Body, Incoming},
    header::{CONNECTION, HeaderName, HeaderValue},
    server::conn::{http1, http2},
    service::{HttpService, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, debug_span, warn};

use super::{
    access::{Record, Recorded},
    app::App,
    body::{self, HttpRequest, HttpResponse},
    head_timer::HeadTimer,
    open_requests::OpenRequests,
    problem::Problem,
    routes::{self, Call},
    socket::{ConnectionStatus, ObservedSocket},
    sse,
    stream_task::StreamExecutor,
    version::{self, FirstBytes},
};
use crate::{broker::Broker, mailbox::Registry, metrics::Metrics, seldom::Seldom};

/// The head of a request: request line and headers together, in bytes; 64 topics of 255 bytes fit. hyper answers more with
/// 431. Over HTTP/2 each header counts as 32 bytes more (RFC 9113, section 6.5.2).
const MAX_HEAD: usize = 32 * 1024;

/// The header that announces how long a connection is kept.
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// How many requests one connection may carry at once over HTTP/2; a proxy opens another one for more.
const MAX_STREAMS: u32 = 1000;

/// How long a connection of HTTP/2 that carries no request is kept once its client was told that it ends. A client that is well
/// answers a ping by then.
const FAREWELL: Duration = Duration::from_secs(1);

/// How many connections there may be beyond the maximum, each for one request that is no poll: an operator's look at health and
/// metrics, or an event. Past that clients are hung up on.
const MAX_SURPLUS: usize = 256;

/// How long such a client may take for the head of its request.
const SURPLUS_HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves connections, each by a task of `connections`. Ends only by being dropped, which closes the listener.
pub(super) async fn run<B: Broker>(listener: TcpListener, app: &Arc<App<B>>, connections: &TaskTracker) {
    let places = Arc::new(Semaphore::new(app.options.max_connections));
    let surplus = Arc::new(Semaphore::new(MAX_SURPLUS));
    loop {
        let stream = accept(&listener, &app.metrics).await;
        let app = Arc::clone(app);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            connections.spawn(async move {
                let remote = stream.peer_addr().ok();
                app.metrics.connections.inc();
                serve_client(stream, remote, &app).await;
                app.metrics.connections.dec();
                drop(place);
            });
        } else {
            let Ok(place) = Arc::clone(&surplus).try_acquire_owned() else {
                app.metrics.connections_refused.inc();
                continue;
            };
            connections.spawn(async move {
                serve_surplus(stream, &app).await;
                drop(place);
            });
        }
    }
}

/// Accepts the next connection. A lack of file descriptors passes; nothing else ends a listener.
async fn accept(listener: &TcpListener, metrics: &Metrics) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small answers must not wait for each other (Nagle's algorithm). Fails only on a dead socket.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                static FAILED: Seldom = Seldom::a_minute();
                metrics.accepts_failed.inc();
                if let Some(left_out) = FAILED.due() {
                    warn!(%error, left_out, "cannot accept a connection");
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves a client to the end of its connection.
pub(super) async fn serve_client<B: Broker>(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    remote: Option<SocketAddr>,
    app: &Arc<App<B>>,
) {
    let span = debug_span!("connection", peer = remote.map(tracing::field::display));
    let detecting = version::detect(&mut stream, app.options.header_timeout);
    let Some(Ok((version, first))) = app.shutting_down.run_until_cancelled(detecting).await else { return };
    let status = Arc::new(ConnectionStatus::default());
    let owned = Arc::clone(app);
    let kept = Arc::clone(&status);
    // The end of a connection that carries many clients says nothing about what one of them got.
    let shared = (version == Version::HTTP_2).then(OpenRequests::default);
    let open = shared.clone();
    let service = service_fn(move |request: HttpRequest| {
        let app = Arc::clone(&owned);
        kept.note_asked();
        let status = if open.is_some() { Arc::default() } else { Arc::clone(&kept) };
        let version = request.version();
        let mut record = Record::of(&request, remote, &app.metrics);
        record.open = open.as_ref().map(OpenRequests::begin);
        let span = debug_span!(
            "request",
            request_id = %record.id(),
            method = %request.method(),
            path = request.uri().path()
        );
        let asked = app.options.allowed_origins.asked_by(&request);
        let (operation, call) = Call::of(request);
        record.asks_for(operation);
        Call::note(&call, &status.half_close);
        let client = call.as_ref().ok().and_then(Call::polled_client).cloned();
        let abandon_guard = AbandonGuard { client, registry: app.registry.clone() };
        let answering = async move {
            abandon_guard.begin();
            status.request_came();
            let mut response = routes::answer(&app, &status, call, asked).await;
            status.half_close.answered();
            if record.open.is_some() {
                response = body::paced(response, status, &app.outgoing);
            } else {
                announce_close_to_http_1_0(version, &mut response);
                announce_idle_timeout(&mut response, app.options.idle_timeout);
            }
            Ok::<_, Infallible>(record.answering(response))
        };
        answering.instrument(span)
    });
    let socket = ObservedSocket::new(stream, first, Arc::clone(&status));
    let serving = async {
        let ended = if let Some(open) = &shared {
            // On the heap: of these there are few, and each connection of HTTP/1 would be as large.
            Box::pin(serve_http2(socket, service, &status, open, app)).await
        } else {
            serve_http1(socket, service, &status, app).await
        };
        if let Err(error) = ended {
            debug!(%error, "connection ended");
        }
    };
    serving.instrument(span).await;
    status.finish();
}

/// Says to a client of HTTP/1.0 that its connection ends with the answer: if it is to, and if the answer's length is not known, as such
/// a client knows no chunks (RFC 9112, section 6.3). hyper says that the connection is kept to one that has asked for that, unless
/// the answer is of HTTP/1.0, too.
fn announce_close_to_http_1_0(version: Version, response: &mut HttpResponse) {
    if version != Version::HTTP_10 {
        return;
    }
    if response.body().size_hint().exact().is_none() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if response.headers().contains_key(CONNECTION) {
        *response.version_mut() = Version::HTTP_10;
    }
}

/// Tells a client how long its connection is kept, so that it does not use it in the moment that it ends (RFC 2068, section
/// 19.7.1.1).
fn announce_idle_timeout(response: &mut HttpResponse, idle_timeout: Duration) {
    if !response.headers().contains_key(CONNECTION)
        && let Ok(announced) = HeaderValue::from_str(&format!("timeout={}", idle_timeout.as_secs()))
    {
        response.headers_mut().insert(KEEP_ALIVE, announced);
    }
}

async fn serve_http1<B: Broker>(
    socket: ObservedSocket<impl AsyncRead + AsyncWrite + Unpin>,
    service: impl HttpService<Incoming, ResBody = Recorded, Error = Infallible>,
    status: &Arc<ConnectionStatus>,
    app: &App<B>,
) -> hyper::Result<()> {
    let times = Times { idle: app.options.idle_timeout, head: app.options.header_timeout };
    let serving = http1(times, status).serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(serving);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = app.shutting_down.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // hyper waits for the rest of a head. Browsers keep spare connections without a request.
            if status.was_asked() { connection.await } else { Ok(()) }
        }
    }
}

async fn serve_http2<B: Broker, S>(
    socket: ObservedSocket<impl AsyncRead + AsyncWrite + Unpin>,
    service: S,
    status: &ConnectionStatus,
    open: &OpenRequests,
    app: &App<B>,
) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = Recorded, Error = Infallible, Future: Send + 'static>,
{
    let serving = http2(app.options.header_timeout).serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(serving);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = app.shutting_down.cancelled() => {}
        () = open.idle(app.options.idle_timeout) => {}
    }
    connection.as_mut().graceful_shutdown();
    if !status.was_asked() {
        return Ok(());
    }
    // hyper waits for the answer to a ping: until then requests may be on their way. There may be none.
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = open.idle(FAREWELL) => Ok(()),
    }
}

/// A request that hyper has read and not begun to answer. If its client has hung up already, hyper drops it before it asks for an answer: then
/// a poll must not take a place any more, but its client has gone.
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

/// Serves one request of a client for which there is no place, unless it would keep the connection.
async fn serve_surplus<B: Broker>(stream: TcpStream, app: &Arc<App<B>>) {
    let remote = stream.peer_addr().ok();
    let status = Arc::new(ConnectionStatus::default());
    let service = service_fn(|request: HttpRequest| {
        let (app, status) = (Arc::clone(app), Arc::clone(&status));
        async move {
            let version = request.version();
            let mut record = Record::of(&request, remote, &app.metrics);
            let asked = app.options.allowed_origins.asked_by(&request);
            let (operation, call) = Call::of(request);
            record.asks_for(operation);
            Call::note(&call, &status.half_close);
            let mut response = match call {
                Ok(call) if call.is_poll() => {
                    app.metrics.connections_refused.inc();
                    let mut refusal =
                        if call.is_stream() { sse::come_back_later() } else { Problem::TooManyConnections.into() };
                    app.options.allowed_origins.decorate(asked, refusal.headers_mut());
                    refusal
                }
                call => routes::answer(&app, &status, call, asked).await,
            };
            status.half_close.answered();
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            announce_close_to_http_1_0(version, &mut response);
            Ok::<_, Infallible>(record.answering(response))
        }
    });
    let times = Times { idle: SURPLUS_HEAD_TIMEOUT, head: SURPLUS_HEAD_TIMEOUT };
    let socket = ObservedSocket::new(stream, FirstBytes::default(), Arc::clone(&status));
    let _ = http1(times, &status).serve_connection(TokioIo::new(socket), service).await;
}

/// How long a connection of HTTP/1 may be idle, and the head of a request may take.
#[derive(Debug, Clone, Copy)]
struct Times {
    idle: Duration,
    head: Duration,
}

fn http1(times: Times, status: &Arc<ConnectionStatus>) -> http1::Builder {
    let mut builder = http1::Builder::new();
    let heads = HeadTimer { head: times.head, status: Arc::clone(status) };
    // The buffer alone takes a little more, if it was larger before.
    builder.timer(heads).header_read_timeout(times.idle).max_buf_size(MAX_HEAD).max_header_size(MAX_HEAD);
    builder
}

/// A client that answers no ping is given up after the time that one of HTTP/1 has for the head of a request.
fn http2(ping_timeout: Duration) -> http2::Builder<StreamExecutor> {
    let mut builder = http2::Builder::new(StreamExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .keep_alive_interval(ping_timeout)
        .keep_alive_timeout(ping_timeout);
    builder
}
