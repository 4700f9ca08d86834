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

/// What `GET /ready` is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadyFor {
    Mailboxes,
    /// With `?feeds`.
    Feeds,
}

impl ReadyFor {
    /// Reads a query. Any other parameter is left alone: checks of some balancers add one.
    pub(super) fn of(query: Option<&str>) -> Self {
        let mut parameters = query.unwrap_or_default().split('&');
        if parameters.any(|parameter| matches!(parameter, "feeds" | "feeds=")) { Self::Feeds } else { Self::Mailboxes }
    }
}

/// `GET /ready`: mailboxes, or feeds, can be served and the gateway is not leaving.
pub(super) fn ready<B: Broker>(app: &App<B>, part: ReadyFor) -> Result<HttpResponse, Problem> {
    match part {
        ReadyFor::Mailboxes => app.readiness.check()?,
        ReadyFor::Feeds => app.readiness.check_feeds()?,
    }
    Ok(response::typed("text/plain; charset=utf-8", "ready\n"))
}

/// Returns the format of metrics that a client asks for. Prometheus names OpenMetrics; any other client gets what
/// `promtool` and older scrapers read.
pub(super) fn format(headers: &HeaderMap) -> TextFormat {
    let is_open = media::is_preferred(headers, "application/openmetrics-text", "text/plain");
    if is_open { TextFormat::OpenMetrics } else { TextFormat::Classic }
}

/// `GET /metrics`: what Prometheus reads.
pub(super) fn metrics<B: Broker>(app: &App<B>, format: TextFormat) -> HttpResponse {
    let mut response = response::typed(format.media_type(), app.all_metrics.encode(format));
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    response
}
