//! What machines ask: liveness, readiness, metrics.

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use super::{App, HttpResponse, body, problem::Problem};
use crate::broker::{Broker, log::EventLog};

/// `GET /live`: the process answers.
pub(super) fn live() -> HttpResponse {
    text("text/plain; charset=utf-8", "live\n".to_owned())
}

/// `GET /ready`: the broker can be used and the gateway is not leaving.
pub(super) fn ready<B: Broker + EventLog>(app: &App<B>) -> Result<HttpResponse, Problem> {
    if app.shutting_down.is_cancelled() {
        return Err(Problem::ShuttingDown);
    }
    if !app.broker.is_ready() || !app.feed.is_ready() {
        return Err(Problem::NotReady);
    }
    Ok(text("text/plain; charset=utf-8", "ready\n".to_owned()))
}

/// `GET /metrics`: OpenMetrics 1.0, which Prometheus reads.
pub(super) fn metrics<B: Broker>(app: &App<B>) -> HttpResponse {
    app.metrics.broker_ready.set(i64::from(app.broker.is_ready()));
    app.metrics.transit_in_bytes.set(app.incoming.used());
    app.metrics.transit_out_bytes.set(app.outgoing.used());
    text("application/openmetrics-text; version=1.0.0; charset=utf-8", app.metrics.encode())
}

fn text(content_type: &'static str, body: String) -> HttpResponse {
    let mut response = body::whole(Bytes::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
