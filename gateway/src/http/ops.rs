//! What machines ask: liveness, readiness, metrics.

use broker::Broker;
use hyper::{
    HeaderMap,
    header::{HeaderValue, VARY},
};

use super::{app::App, body::HttpResponse, media, problem::Problem, response};
use crate::metrics::TextFormat;

/// `GET /live`: the process answers.
pub(super) fn live() -> HttpResponse {
    response::typed("text/plain; charset=utf-8", "live\n")
}

/// `GET /ready`: the broker can be used and the gateway is not leaving.
pub(super) fn ready<B: Broker>(app: &App<B>) -> Result<HttpResponse, Problem> {
    app.readiness.check()?;
    Ok(response::typed("text/plain; charset=utf-8", "ready\n"))
}

/// Returns the format of metrics that a client asks for. Prometheus names OpenMetrics; any other client gets what
/// `promtool` and older scrapers read.
pub(super) fn format(headers: &HeaderMap) -> TextFormat {
    let is_open = media::is_named(headers, "application/openmetrics-text");
    if is_open { TextFormat::OpenMetrics } else { TextFormat::Classic }
}

/// `GET /metrics`: what Prometheus reads.
pub(super) fn metrics<B: Broker>(app: &App<B>, format: TextFormat) -> HttpResponse {
    let mut response = response::typed(format.media_type(), app.all_metrics.encode(format));
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    response
}
