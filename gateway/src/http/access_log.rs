//! The record of each request: counted and logged once the request is over.
//!
//! A request is over when the body of its answer is dropped, or its handler, if the client hung up before: both own a
//! [`Record`]. The log has the operation and not the path: a path has the client's id, which is a secret where there is
//! no authentication. The bytes of an answer are those that were handed to the kernel; the client may have got fewer.

use std::{
    cell::LazyCell,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Method, Response, StatusCode,
    body::{Body as HttpBody, Frame, SizeHint},
};
use tokio::time::Instant;
use tracing::info;

use super::{
    body::{self, Body, HttpRequest},
    connection::open_requests::OpenRequest,
    metrics::{self, HttpMetrics, Operation},
    request_id::RequestId,
};
use crate::telemetry::ACCESS_LOG;

/// See the module.
#[derive(Debug)]
pub(super) struct Record {
    metrics: Arc<HttpMetrics>,
    method: Method,
    operation: Operation,
    id: RequestId,
    remote: Option<SocketAddr>,
    began: Instant,
    status: Option<StatusCode>,
    bytes: usize,
    is_whole: bool,
    /// It is answered with an error, or is a stream that was told to come back before it began.
    is_refused: bool,
    /// On a connection that carries many requests.
    pub(super) open: Option<OpenRequest>,
}

impl Record {
    /// Begins with the head of a request.
    pub(super) fn of(request: &HttpRequest, remote: Option<SocketAddr>, metrics: &Arc<HttpMetrics>) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            method: request.method().clone(),
            operation: Operation::Unknown,
            id: RequestId::of(request.headers()),
            remote,
            began: Instant::now(),
            status: None,
            bytes: 0,
            is_whole: false,
            is_refused: false,
            open: None,
        }
    }

    /// Returns the request's id.
    pub(super) const fn id(&self) -> &RequestId {
        &self.id
    }

    /// The request asks for this.
    pub(super) const fn asks_for(&mut self, operation: Operation) {
        self.operation = operation;
    }

    /// Adds to the answer what every answer has; its body takes the record along.
    pub(super) fn answering(mut self, mut response: Response<Body>) -> Response<Recorded> {
        if self.method == Method::HEAD {
            response = body::left_out(response);
        }
        let (mut head, body) = response.into_parts();
        self.id.echo(&mut head.headers);
        self.status = Some(head.status);
        let is_error = head.status.is_client_error() || head.status.is_server_error();
        self.is_refused = is_error || (self.operation.is_stream() && body.size_hint().exact().is_some());
        if !self.operation.is_stream() {
            self.count_held(self.began.elapsed());
        }
        // hyper does not even ask for a body that is empty.
        self.is_whole = body.is_end_stream();
        Response::from_parts(head, Recorded { body, record: self })
    }

    /// Counts how long a poll or a stream was held. One that was refused was not.
    fn count_held(&self, held: Duration) {
        if let Some(reading) = self.operation.reading().filter(|_| !self.is_refused) {
            self.metrics.held(reading, held);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // Read only if it is used: the duration of a poll that was answered is not, unless requests are logged.
        let took = LazyCell::new(|| self.began.elapsed());
        if self.status.is_none() || self.operation.is_stream() {
            self.count_held(*took);
        }
        let status = self.status.map(|status| status.as_u16());
        let counted = metrics::Request {
            route: self.operation,
            method: counted(&self.method),
            status: metrics::Status::of(status),
        };
        self.metrics.requested(&counted, || *took);
        info!(
            target: ACCESS_LOG,
            method = self.method.as_str(),
            route = self.operation.word(),
            status,
            duration_ms = (took.as_secs_f64() * 1e6).round() / 1e3,
            bytes = self.bytes,
            whole = self.is_whole,
            remote = self.remote.map(tracing::field::display),
            request_id = %self.id,
            "request"
        );
    }
}

fn counted(method: &Method) -> metrics::Method {
    match *method {
        Method::GET => metrics::Method::Get,
        Method::HEAD => metrics::Method::Head,
        Method::POST => metrics::Method::Post,
        Method::PUT => metrics::Method::Put,
        Method::DELETE => metrics::Method::Delete,
        Method::OPTIONS => metrics::Method::Options,
        _ => metrics::Method::Other,
    }
}

/// The body of an answer, with the record of its request.
pub(super) struct Recorded {
    body: Body,
    record: Record,
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { body, record } = &mut *self;
        let polled = Pin::new(&mut *body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                record.bytes += frame.data_ref().map_or(0, Bytes::len);
                record.is_whole = body.is_end_stream();
            }
            Poll::Ready(None) => record.is_whole = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
