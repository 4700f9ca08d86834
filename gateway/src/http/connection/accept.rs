//! The listener: accepting connections, and how many there may be.

use std::{sync::Arc, time::Duration};

use broker::{Broker, Seldom};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::exchange::{serve_client, serve_surplus};
use crate::http::{app::App, guard::Listener, metrics::HttpMetrics};

/// How many connections there may be beyond the maximum, each for one request that is no poll: an operator's look at
/// health and metrics, or an event. Past that clients are hung up on.
const MAX_SURPLUS: usize = 256;

/// Serves connections, each by a task of `connections`. Ends only by being dropped, which closes the listener.
pub(crate) async fn run<B: Broker>(listener: TcpListener, app: &Arc<App<B>>, connections: &TaskTracker) {
    let guarded = Listener::of(listener.local_addr().ok(), false);
    let places = Arc::new(Semaphore::new(app.options.max_connections));
    let surplus = Arc::new(Semaphore::new(MAX_SURPLUS));
    loop {
        let stream = accept(&listener, &app.metrics).await;
        let app = Arc::clone(app);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            connections.spawn(async move {
                let remote = stream.peer_addr().ok();
                app.metrics.connections.inc();
                serve_client(stream, remote, guarded, &app).await;
                app.metrics.connections.dec();
                drop(place);
            });
        } else {
            let Ok(place) = Arc::clone(&surplus).try_acquire_owned() else {
                app.metrics.connections_refused.inc();
                continue;
            };
            connections.spawn(async move {
                serve_surplus(stream, guarded, &app).await;
                drop(place);
            });
        }
    }
}

/// Accepts the next connection. A lack of file descriptors passes; nothing else ends a listener.
async fn accept(listener: &TcpListener, metrics: &HttpMetrics) -> TcpStream {
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
