//! Sockets: accepting them, how many, and their orderly end.

use std::{convert::Infallible, sync::Arc, time::Duration};

use events::ClientId;
use hyper::{
    Version,
    body::Incoming,
    server::conn::{http1, http2},
    service::{HttpService, service_fn},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, debug_span, info, warn};

use super::{
    AllowedOrigins, App, HttpRequest,
    body::{self, Body},
    problem::Problem,
    routes::{self, Call},
    socket::{Fate, ObservedSocket},
    sse,
    version::{self, FirstBytes},
};
use crate::{
    broker::{Broker, log::EventLog},
    mailbox::Registry,
};

/// The head of a request: request line and headers together, in bytes; 64 topics of 255 bytes fit. hyper answers more with
/// 431.
const MAX_HEAD: usize = 32 * 1024;

/// How many requests one connection may carry at once over HTTP/2; a proxy opens another one for more.
const MOST_STREAMS: u32 = 1000;

/// How many clients at once are told that there are too many; past that they are hung up on.
const MOST_REFUSED_AT_ONCE: usize = 256;

/// How long a refused client may take to send its request and to read the refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves connections until `shutdown`, then drains them.
pub(super) async fn run<B: Broker + EventLog>(
    listener: TcpListener,
    app: Arc<App<B>>,
    shutdown: impl Future<Output = ()>,
) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(app.options.max_connections));
    let refusals = Arc::new(Semaphore::new(MOST_REFUSED_AT_ONCE));
    let accepting = async {
        loop {
            let stream = accept(&listener).await;
            if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                let app = Arc::clone(&app);
                connections.spawn(async move {
                    app.metrics.connections.inc();
                    serve_client(stream, &app).await;
                    app.metrics.connections.dec();
                    drop(place);
                });
            } else {
                app.metrics.connections_refused.inc();
                if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
                    let app = Arc::clone(&app);
                    connections.spawn(async move {
                        refuse_client(stream, &app.options.allowed_origins).await;
                        drop(place);
                    });
                }
            }
        }
    };
    tokio::select! {
        () = shutdown => {}
        () = accepting => {}
    }
    drop(listener);
    drain(&app, &connections).await;
}

async fn drain<B: Broker + EventLog>(app: &App<B>, connections: &TaskTracker) {
    let grace = app.options.shutdown_grace;
    info!(connections = connections.len(), grace = ?grace, "shutting down");
    app.shutting_down.cancel();
    app.feed.close();
    let drained = async {
        // Four fifths of the time for the polls, the rest for their answers.
        app.registry.shut_down(grace.mul_f64(0.8)).await;
        connections.close();
        connections.wait().await;
        app.effects.close();
        app.effects.wait().await;
    };
    if timeout(grace, drained).await.is_err() {
        warn!(connections = connections.len(), "the grace period is over; leaving clients behind");
    }
}

/// Accepts the next connection. A lack of file descriptors passes; nothing else ends a listener.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small answers must not wait for each other (Nagle's algorithm). Fails only on a dead socket.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_client<B: Broker + EventLog>(mut stream: TcpStream, app: &Arc<App<B>>) {
    let span = debug_span!("connection", peer = %peer(&stream));
    let spoken = version::spoken(&mut stream, app.options.header_timeout);
    let Some(Ok((version, first))) = app.shutting_down.run_until_cancelled(spoken).await else { return };
    let fate = Arc::new(Fate::default());
    let owned = Arc::clone(app);
    let kept = Arc::clone(&fate);
    let service = service_fn(move |request: HttpRequest| {
        let app = Arc::clone(&owned);
        // The end of a connection that carries many clients says nothing about what one of them got.
        let is_shared = version == Version::HTTP_2;
        kept.note_asked();
        let fate = if is_shared { Arc::default() } else { Arc::clone(&kept) };
        let span = debug_span!("request", method = %request.method(), path = request.uri().path());
        let asked = app.options.allowed_origins.asked_by(&request);
        let call = Call::of(request);
        Call::note(&call, &fate.half_close);
        let client = call.as_ref().ok().and_then(Call::polled_client).cloned();
        let unasked = Unasked { client, registry: app.registry.clone() };
        let answering = async move {
            unasked.begin();
            fate.request_came();
            let response = routes::answer(&app, &fate, call, asked).await;
            fate.half_close.answered();
            Ok::<_, Infallible>(if is_shared { body::observed(response, fate) } else { response })
        };
        answering.instrument(span)
    });
    let socket = ObservedSocket::new(stream, first, Arc::clone(&fate));
    let serving = async {
        let ended = if version == Version::HTTP_2 {
            // On the heap: of these there are few, and each connection of HTTP/1 would be as large.
            Box::pin(serve_http2(socket, service, &fate, app)).await
        } else {
            serve_http1(socket, service, &fate, app).await
        };
        if let Err(error) = ended {
            debug!(%error, "connection ended");
        }
    };
    serving.instrument(span).await;
    fate.seal();
}

async fn serve_http1<B: Broker>(
    socket: ObservedSocket,
    service: impl HttpService<Incoming, ResBody = Body, Error = Infallible>,
    fate: &Fate,
    app: &App<B>,
) -> hyper::Result<()> {
    let serving = http1(app.options.header_timeout).serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(serving);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = app.shutting_down.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // hyper waits for the rest of a head. Browsers keep spare connections without a request.
            if fate.was_asked() { connection.await } else { Ok(()) }
        }
    }
}

async fn serve_http2<B: Broker, S>(socket: ObservedSocket, service: S, fate: &Fate, app: &App<B>) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible, Future: Send + 'static>,
{
    let serving = http2(app.options.header_timeout).serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(serving);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = app.shutting_down.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // hyper waits for the answer to a ping.
            if fate.was_asked() { connection.await } else { Ok(()) }
        }
    }
}

/// A request that hyper has read and not begun to answer. If its client has hung up already, hyper drops it unasked: then
/// a poll must not take anybody's place any more, but its client has gone.
struct Unasked<B: Broker> {
    /// Whose poll it is, if it is one.
    client: Option<ClientId>,
    registry: Registry<B>,
}

impl<B: Broker> Unasked<B> {
    /// From here on the handler notices by itself.
    fn begin(mut self) {
        self.client = None;
    }
}

impl<B: Broker> Drop for Unasked<B> {
    fn drop(&mut self) {
        if let Some(client) = &self.client {
            self.registry.came_and_went(client);
        }
    }
}

/// Tells one client that there are too many.
async fn refuse_client(stream: TcpStream, allowed_origins: &AllowedOrigins) {
    let service = service_fn(|request: HttpRequest| async move {
        let is_stream = sse::is_wanted(request.headers());
        let mut response = if is_stream { sse::come_back_later() } else { Problem::TooManyConnections.into() };
        response.headers_mut().insert(hyper::header::CONNECTION, hyper::header::HeaderValue::from_static("close"));
        allowed_origins.decorate(allowed_origins.asked_by(&request), response.headers_mut());
        Ok::<_, Infallible>(response)
    });
    let socket = TokioIo::new(ObservedSocket::new(stream, FirstBytes::default(), Arc::default()));
    let _ = timeout(REFUSAL_TIMEOUT, http1(REFUSAL_TIMEOUT).serve_connection(socket, service)).await;
}

fn http1(header_timeout: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(header_timeout).max_buf_size(MAX_HEAD);
    builder
}

/// A client that answers no ping is given up after the time that one of HTTP/1 has for the head of a request.
fn http2(ping_timeout: Duration) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .keep_alive_interval(ping_timeout)
        .keep_alive_timeout(ping_timeout);
    builder
}

fn peer(stream: &TcpStream) -> String {
    stream.peer_addr().map_or_else(|_| "gone".to_owned(), |address| address.to_string())
}
