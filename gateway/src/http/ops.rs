//! What machines ask: liveness, readiness, metrics.

use hyper::{
    HeaderMap,
    header::{HeaderValue, VARY},
};

use super::{app::App, body::HttpResponse, media, problem::Problem, response};
use crate::{broker::Broker, metrics::TextFormat};

/// `GET /live`: the process answers.
pub(super) fn live() -> HttpResponse {
    response::typed("text/plain; charset=utf-8", "live\n")
}

/// `GET /ready`: the broker can be used and the gateway is not leaving.
pub(super) fn ready<B: Broker>(app: &App<B>) -> Result<HttpResponse, Problem> {
    check_ready(app)?;
    Ok(response::typed("text/plain; charset=utf-8", "ready\n"))
}

fn check_ready<B: Broker>(app: &App<B>) -> Result<(), Problem> {
    if app.shutting_down.is_cancelled() {
        return Err(Problem::ShuttingDown);
    }
    if !app.broker.is_ready() || !app.feed.is_ready() {
        return Err(Problem::NotReady);
    }
    Ok(())
}

/// Returns the format of metrics that a client asks for. Prometheus names OpenMetrics; any other client gets what `promtool`
/// and older scrapers read.
pub(super) fn format(headers: &HeaderMap) -> TextFormat {
    let is_open = media::is_named(headers, "application/openmetrics-text");
    if is_open { TextFormat::OpenMetrics } else { TextFormat::Classic }
}

/// `GET /metrics`: what Prometheus reads.
pub(super) fn metrics<B: Broker>(app: &App<B>, format: TextFormat) -> HttpResponse {
    app.metrics.ready.set(i64::from(check_ready(app).is_ok()));
    app.metrics.broker_ready.set(i64::from(app.broker.is_ready()));
    app.metrics.transit_in_bytes.set(app.incoming.used());
    app.metrics.transit_out_bytes.set(app.outgoing.used());
    app.metrics.feed_searches.set(app.feed.searches());
    let mut response = response::typed(format.media_type(), app.metrics.encode(format));
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    response
}
