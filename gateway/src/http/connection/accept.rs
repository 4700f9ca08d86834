//! The listeners: accepting connections, and how many there may be.

use std::{sync::Arc, time::Duration};

use broker::{Broker, Seldom};
use futures_util::future::join_all;
use tokio::{sync::Semaphore, time::sleep};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::{
    exchange::{Arrival, serve_client, serve_surplus},
    stream::ClientStream,
};
use crate::http::{
    app::App,
    listener::{Listener, Listeners},
    metrics::HttpMetrics,
};

/// How many connections there may be beyond the maximum, each for one request that is no poll: an operator's look at
/// health and metrics, or an event. Past that clients are hung up on.
const MAX_SURPLUS: usize = 256;

/// How many more connections there may be, whichever listener they come from.
struct Places {
    clients: Arc<Semaphore>,
    surplus: Arc<Semaphore>,
}

/// Serves connections, each by a task of `connections`. Ends only by being dropped, which closes the listeners.
pub(crate) async fn run<B: Broker>(listeners: Listeners, app: &Arc<App<B>>, connections: &TaskTracker) {
    let places = Places {
        clients: Arc::new(Semaphore::new(app.options.max_connections)),
        surplus: Arc::new(Semaphore::new(MAX_SURPLUS)),
    };
    join_all(listeners.public.iter().map(|listener| serve(listener, &places, app, connections))).await;
}

async fn serve<B: Broker>(listener: &Listener, places: &Places, app: &Arc<App<B>>, connections: &TaskTracker) {
    let guarded = listener.guarded();
    loop {
        let stream = accept(listener, &app.metrics).await;
        let app = Arc::clone(app);
        if let Ok(place) = Arc::clone(&places.clients).try_acquire_owned() {
            connections.spawn(async move {
                let arrival = Arrival { remote: stream.remote(), guarded };
                app.metrics.connections.inc();
                serve_client(stream, arrival, &app).await;
                app.metrics.connections.dec();
                drop(place);
            });
        } else {
            let Ok(place) = Arc::clone(&places.surplus).try_acquire_owned() else {
                app.metrics.connections_refused.inc();
                continue;
            };
            connections.spawn(async move {
                let arrival = Arrival { remote: stream.remote(), guarded };
                serve_surplus(stream, arrival, &app).await;
                drop(place);
            });
        }
    }
}

/// Accepts the next connection. A lack of file descriptors passes; nothing else ends a listener.
async fn accept(listener: &Listener, metrics: &HttpMetrics) -> ClientStream {
    loop {
        match listener.accept().await {
            Ok(stream) => return stream,
            Err(error) => {
                static FAILED: Seldom = Seldom::a_minute();
                metrics.accepts_failed.inc();
                if let Some(left_out) = FAILED.due() {
                    warn!(%error, listener = %listener.address(), left_out, "cannot accept a connection");
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
