//! HTTP/1 and HTTP/2 by hyper, within our limits, and their orderly end.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use broker::Broker;
use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::{http1, http2},
    service::{HttpService, Service},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{sleep, timeout},
};

use super::{
    head_timer::HeadTimer,
    open_requests::OpenRequests,
    parked::{Handler, Held, Parking, Patience},
    socket::{ConnectionStatus, ObservedSocket},
    stream_task::StreamExecutor,
};
use crate::http::{access_log::Recorded, app::App};

/// The head of a request: request line and headers together, in bytes; 64 topics of 255 bytes fit. hyper answers more
/// with
/// 431. Over HTTP/2 each header counts as 32 bytes more (RFC 9113, section 6.5.2).
const MAX_HEAD: usize = 32 * 1024;

/// How long a connection that carries no request is kept once the gateway shuts down. The first request of a new
/// connection may be on its way, and so may be those of a client of HTTP/2 that was told that its connection ends: a
/// client that is well answers a ping by then.
const FAREWELL: Duration = Duration::from_secs(1);

/// Waits for what a client sends first, but not for long once the gateway shuts down.
pub(super) async fn unless_too_late<B: Broker, T>(app: &App<B>, waiting: impl Future<Output = T>) -> Option<T> {
    let too_late = async {
        app.shutting_down.cancelled().await;
        sleep(FAREWELL).await;
    };
    tokio::select! {
        came = waiting => Some(came),
        () = too_late => None,
    }
}

pub(super) fn serve_http1<B: Broker>(
    socket: ObservedSocket<impl AsyncRead + AsyncWrite + Unpin>,
    service: impl Service<Request<Incoming>, Response = Response<Recorded>, Error = Infallible, Future = Handler>,
    status: &Arc<ConnectionStatus>,
    app: &App<B>,
) -> impl Future<Output = hyper::Result<()>> {
    let times = Times { idle: app.options.idle_timeout, head: app.options.header_timeout };
    let connect = move |socket, service| Box::new(http1(times, status).serve_connection(TokioIo::new(socket), service));
    let held = Held::default();
    // Made outside the future, which would have room for the socket and the service besides.
    let mut connection = connect(socket, Parking { service, held: held.clone() });
    async move {
        let mut patience = Patience::with(&held, status);
        loop {
            tokio::select! {
                biased;
                ended = Pin::new(&mut *connection) => return ended,
                () = patience.over() => {}
                () = app.shutting_down.cancelled() => break,
            }
            // hyper has written all it had, and waits for the handler.
            held.park();
            let http1::Parts { io, read_buf, service, .. } = connection.into_parts();
            // Copied: the buffer would stay as long as a part of it.
            let (mut socket, early) = (io.into_inner(), read_buf.to_vec());
            drop(read_buf);
            let Some(first) = held.answered(&mut socket, early).await else { return Ok(()) };
            socket.read_first(first.into());
            connection = connect(socket, service);
        }
        if !status.was_asked() {
            // hyper would close a connection on which nothing came yet. An answer says that it ends with it.
            let first = timeout(FAREWELL, Pin::new(&mut *connection));
            // On the heap: every connection would be as large.
            if let Ok(ended) = Box::pin(first).await {
                return ended;
            }
        }
        Pin::new(&mut *connection).graceful_shutdown();
        // hyper waits for the rest of a head. Browsers keep spare connections without a request.
        if status.was_asked() { connection.await } else { Ok(()) }
    }
}

pub(super) async fn serve_http2<B: Broker, S>(
    socket: ObservedSocket<impl AsyncRead + AsyncWrite + Unpin>,
    service: S,
    status: &ConnectionStatus,
    open: &OpenRequests,
    app: &App<B>,
) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = Recorded, Error = Infallible, Future: Send + 'static>,
{
    let serving =
        http2(app.options.header_timeout, app.options.max_streams).serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(serving);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = app.shutting_down.cancelled() => {}
        () = open.idle(app.options.idle_timeout) => {}
    }
    // hyper would close a connection that has not said what it can do.
    if !status.was_asked()
        && let Ok(ended) = timeout(FAREWELL, connection.as_mut()).await
    {
        return ended;
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

/// How long a connection of HTTP/1 may be idle, and the head of a request may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) idle: Duration,
    pub(super) head: Duration,
}

pub(super) fn http1(times: Times, status: &Arc<ConnectionStatus>) -> http1::Builder {
    let mut builder = http1::Builder::new();
    let heads = HeadTimer::new(times.head, status);
    // The buffer alone takes a little more, if it was larger before.
    builder.timer(heads).header_read_timeout(times.idle).max_buf_size(MAX_HEAD).max_header_size(MAX_HEAD);
    builder
}

/// A client that answers no ping is given up after the time that one of HTTP/1 has for the head of a request.
fn http2(ping_timeout: Duration, max_streams: Option<u32>) -> http2::Builder<StreamExecutor> {
    let mut builder = http2::Builder::new(StreamExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(max_streams)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .keep_alive_interval(ping_timeout)
        .keep_alive_timeout(ping_timeout);
    builder
}
