//! The HTTP contract on hyper: HTTP/1.1 and, for proxies, HTTP/2 without TLS on the same port.
//!
//! * `listener` is where clients come in: addresses and socket files.
//! * `connection` brings requests to their answers: *read → admit → answer*. `access_log` counts each and logs it at its
//!   end, under its `request_id`.
//! * `routes` is the table of the paths; `call` reads what a request asks for and has it carried out; `query` reads
//!   parameters.
//! * `reach` says what is served at which listener.
//! * `mailbox` and `feed` hand out events, by poll or by stream; `publish` takes them; `site` is what a browser opens,
//!   `ops` what machines ask, `openapi` what programs read about all of it.
//! * `batch` is the JSON of an answer and `sse` its form as Server-Sent Events; `media` which of them is wanted;
//!   `response` what answers have in common; `problem` is the one place that knows status codes of errors.
//! * `metrics` is what is counted here; `readiness` tells whether this gateway should get requests.
//! * `limits` is what one sender may use; `held` counts the polls that are held; `transit` bounds what requests and answers take on their way; `body` paces
//!   answers that share a connection.
//! * `guard` stands before the routes, and refuses what pages of other origins have a browser send; `cors` lets some of
//!   them in, and `security_headers` keeps answers from the others.
//! * `credentials` finds out what a request may do; `key_set` fetches the keys for that.
//!
//! Handlers are cancelled by dropping them: that is how a poll learns that its client hung up. What a request changes
//! is run to its end by `effect` all the same.

mod access_log;
mod app;
mod batch;
mod body;
mod call;
pub mod check;
mod connection;
mod cors;
mod credentials;
mod effect;
mod feed;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guard;
mod held;
pub mod key_set;
mod limits;
mod listener;
mod mailbox;
mod media;
mod metrics;
mod openapi;
mod ops;
mod problem;
mod publish;
mod query;
mod reach;
mod readiness;
mod request_id;
mod response;
mod routes;
mod security_headers;
mod site;
mod split;
mod sse;
mod transit;

use std::sync::Arc;

use broker::Broker;

use self::connection::Connections;
pub use self::{
    app::{App, HttpOptions},
    cors::{AllowedOrigins, Origin, OriginError},
    credentials::TokenCookies,
    guard::{AllowedHosts, HostName, HostNameError},
    limits::{LimitOptions, PublishRate, TrustedProxies, TrustedProxy, TrustedProxyError},
    listener::{InheritedSocket, ListenAddress, ListenError, Listener, Listeners},
};

/// Serves HTTP. It ends nothing by itself: what its requests wait for has to be ended between [`Self::stop`] and
/// [`Self::drained`], and the listeners between that and [`Self::ended`].
pub struct Server<B: Broker> {
    app: Arc<App<B>>,
    connections: Connections,
}

impl<B: Broker> Server<B> {
    /// Makes a server of what its handlers need.
    #[must_use]
    pub fn new(app: App<B>) -> Self {
        Self { app: Arc::new(app), connections: Connections::default() }
    }

    /// Accepts connections and serves them; ends only by being dropped, which closes the listeners. The connections that
    /// are open go on.
    pub async fn run(&self, listeners: Listeners) {
        connection::run(listeners, &self.app, &self.connections).await;
    }

    /// Has `/ready` say that this gateway should get no more requests. Those that come are served, and each connection
    /// of HTTP/1 ends with its answer.
    pub fn leave(&self) {
        self.app.leaving.cancel();
    }

    /// Has every connection end with the requests that it carries, and those that carry none at once. From then on no
    /// poll is held: it gets a `503`.
    pub fn stop(&self) {
        self.leave();
        self.app.shutting_down.cancel();
    }

    /// Waits for the last of the connections that were open when the gateway stopped. Cancel-safe.
    pub async fn drained(&self) {
        self.connections.open.close();
        self.connections.open.wait().await;
    }

    /// Waits for those that came later, once the listeners are closed, and for what requests have changed to be done.
    /// Cancel-safe.
    pub async fn ended(&self) {
        self.connections.late.close();
        self.connections.late.wait().await;
        self.app.effects.close();
        self.app.effects.wait().await;
    }

    /// Returns how many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.open.len() + self.connections.late.len()
    }
}
