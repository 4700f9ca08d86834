//! The listeners: accepting connections, and how many there may be.

use std::{sync::Arc, time::Duration};

use broker::{Broker, Seldom};
use futures_util::future::join_all;
use rustls::ServerConfig;
use tokio::{sync::Semaphore, time::sleep};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::{
    exchange::{Arrival, SURPLUS_HEAD_TIMEOUT, serve_client, serve_surplus},
    handshake::{self, shake_hands},
    protocol::unless_too_late,
    stream::ClientStream,
};
use crate::http::{
    app::App,
    limits::Admission,
    listener::{Audience, Listener, Listeners},
    metrics::Limit,
    problem::Problem,
};

/// How many connections there may be beyond the maximum, each for one request that is no poll: an operator's look at
/// health and metrics, or an event. Past that clients are hung up on.
const MAX_SURPLUS: usize = 256;

/// How many connections of operators there may be besides, so that a gateway which is full can be looked at.
const MAX_ADMIN_CONNECTIONS: usize = 64;

/// How many more connections there may be, whichever listener they come from.
struct Places {
    clients: Arc<Semaphore>,
    surplus: Arc<Semaphore>,
}

/// The tasks that serve connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// Of those that came before the gateway shut down.
    pub(crate) open: TaskTracker,
    /// Of those that came later. Clients that are refused come again, so there may be some at any time.
    pub(crate) late: TaskTracker,
}

impl Connections {
    /// Serves a connection that has just come.
    fn spawn<B: Broker>(&self, app: &App<B>, serving: impl Future<Output = ()> + Send + 'static) {
        let tracker = if app.shutting_down.is_cancelled() { &self.late } else { &self.open };
        tracker.spawn(serving);
    }
}

/// Serves connections, each by a task of its own, also while the gateway shuts down. Ends only by being dropped, which
/// closes the listeners.
pub(crate) async fn run<B: Broker>(mut listeners: Listeners, app: &Arc<App<B>>, connections: &Connections) {
    let places = Places {
        clients: Arc::new(Semaphore::new(app.options.max_connections)),
        surplus: Arc::new(Semaphore::new(MAX_SURPLUS)),
    };
    let accepting = join_all(listeners.public.iter().map(|listener| serve(listener, &places, app, connections)));
    let of_admins = Arc::new(Semaphore::new(MAX_ADMIN_CONNECTIONS));
    let accepting_admins =
        join_all(listeners.admin.iter().map(|listener| serve_admins(listener, &of_admins, app, connections)));
    let keeping_fresh = async {
        if let Some((tls, reloads)) = &mut listeners.tls {
            tls.keep_fresh(reloads).await;
        }
    };
    tokio::join!(accepting, accepting_admins, keeping_fresh);
}

async fn serve<B: Broker>(listener: &Listener, places: &Places, app: &Arc<App<B>>, connections: &Connections) {
    let audience = listener.audience();
    loop {
        let stream = accept(listener, app).await;
        let app = Arc::clone(app);
        let (of_peer, is_surplus) = match app.limits.connect(stream.remote()) {
            Admission::Admitted(of_peer) => (of_peer, false),
            Admission::Surplus(of_peer) => (Some(of_peer), true),
            Admission::Refused => {
                app.metrics.connections_refused.inc();
                continue;
            }
        };
        let place = if is_surplus { None } else { Arc::clone(&places.clients).try_acquire_owned().ok() };
        if let Some(place) = place {
            let tls = listener.tls().map(|tls| tls.for_client());
            connections.spawn(&Arc::clone(&app), async move {
                app.metrics.connections.inc();
                // On the heap, where it goes away: every connection would be as large.
                let begun = Box::pin(begin(stream, audience, tls, app.options.header_timeout));
                if let Some(Some((stream, arrival))) = unless_too_late(&app, begun).await {
                    serve_client(stream, arrival, &app).await;
                }
                app.metrics.connections.dec();
                drop((place, of_peer));
            });
        } else {
            let Ok(place) = Arc::clone(&places.surplus).try_acquire_owned() else {
                app.metrics.connections_refused.inc();
                continue;
            };
            let tls = listener.tls().map(|tls| tls.for_surplus());
            connections.spawn(&Arc::clone(&app), async move {
                let full = if is_surplus { too_many_of_peer } else { too_many };
                if let Some((stream, arrival)) = begin(stream, audience, tls, SURPLUS_HEAD_TIMEOUT).await {
                    serve_surplus(stream, arrival, full, &app).await;
                }
                drop((place, of_peer));
            });
        }
    }
}

/// Serves operators, whose connections count among themselves alone.
async fn serve_admins<B: Broker>(
    listener: &Listener,
    places: &Arc<Semaphore>,
    app: &Arc<App<B>>,
    connections: &Connections,
) {
    loop {
        let stream = accept(listener, app).await;
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            app.metrics.connections_refused.inc();
            continue;
        };
        let (app, audience) = (Arc::clone(app), listener.audience());
        connections.spawn(&Arc::clone(&app), async move {
            let arrival = Arrival { remote: stream.remote(), audience, agreed: None };
            serve_client(stream, arrival, &app).await;
            drop(place);
        });
    }
}

/// Begins TLS, if it is spoken here; returns nothing for a client that does not speak it, or not in time.
async fn begin(
    stream: ClientStream,
    audience: Audience,
    tls: Option<Arc<ServerConfig>>,
    patience: Duration,
) -> Option<(ClientStream, Arrival)> {
    let mut arrival = Arrival { remote: stream.remote(), audience, agreed: None };
    let (tls, stream) = match (tls, stream) {
        (Some(tls), ClientStream::Tcp(stream)) => (tls, stream),
        (_, stream) => return Some((stream, arrival)),
    };
    match shake_hands(stream, tls, patience).await {
        Ok((stream, version)) => {
            arrival.agreed = Some(version);
            Some((ClientStream::Tls(stream), arrival))
        }
        Err(error) => {
            let peer = arrival.remote.map(tracing::field::display);
            debug!(peer, error = handshake::reason(&error), "a TLS handshake failed");
            None
        }
    }
}

const fn too_many() -> Problem {
    Problem::TooManyConnections
}

const fn too_many_of_peer() -> Problem {
    Problem::Limited(Limit::Connections, None)
}

/// Accepts the next connection. A lack of file descriptors passes; nothing else ends a listener.
///
/// Once the gateway shuts down, connections of a socket that it was started with are left to the next gateway.
async fn accept<B: Broker>(listener: &Listener, app: &App<B>) -> ClientStream {
    loop {
        let accepted = tokio::select! {
            biased;
            () = app.shutting_down.cancelled(), if listener.outlives_process() => std::future::pending().await,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(stream) => return stream,
            Err(error) => {
                static FAILED: Seldom = Seldom::a_minute();
                app.metrics.accepts_failed.inc();
                if let Some(left_out) = FAILED.due() {
                    warn!(%error, listener = %listener.address(), left_out, "cannot accept a connection");
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
