//! Looking at a mailbox, binding it, dropping it.

use std::sync::Arc;

use bytes::Bytes;
use events::{ClientId, TopicPattern};
use hyper::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use serde_json::json;

use super::{
    app::App,
    body::{self, HttpResponse},
    effect,
    problem::Problem,
};
use crate::broker::Broker;

/// `GET /clients/{client}`.
pub(super) async fn status<B: Broker>(app: &App<B>, client: &ClientId) -> Result<HttpResponse, Problem> {
    let status = app.broker.mailbox(client).await?.ok_or(Problem::NoMailbox)?;
    let unconfirmed = match app.registry.unconfirmed(client) {
        // Another gateway knows.
        None if status.leased => None,
        here => Some(here.unwrap_or(0)),
    };
    let body = json!({
        "client": client.as_str(),
        "queued": status.queued,
        "unconfirmed": unconfirmed,
        "connected": status.leased,
    });
    Ok(json_response(StatusCode::OK, &body))
}

/// `PUT /clients/{client}/topics/{pattern}`.
pub(super) async fn bind<B: Broker>(
    app: &Arc<App<B>>,
    client: ClientId,
    topic: TopicPattern,
) -> Result<HttpResponse, Problem> {
    let binding = Arc::clone(app);
    let bind = async move {
        binding.broker.bind(&client, &[topic]).await?;
        Ok(no_content())
    };
    effect::run(&app.effects, bind).await
}

/// `DELETE /clients/{client}/topics/{pattern}`.
pub(super) async fn unbind<B: Broker>(
    app: &Arc<App<B>>,
    client: ClientId,
    topic: TopicPattern,
) -> Result<HttpResponse, Problem> {
    let unbinding = Arc::clone(app);
    let unbind = async move {
        unbinding.broker.unbind(&client, &topic).await?;
        unbinding.registry.unbound(&client, &topic);
        Ok(no_content())
    };
    effect::run(&app.effects, unbind).await
}

/// `DELETE /clients/{client}`; a poll that is held on the mailbox ends with 410.
pub(super) async fn delete<B: Broker>(app: &Arc<App<B>>, client: ClientId) -> Result<HttpResponse, Problem> {
    let deleting = Arc::clone(app);
    let delete = async move {
        let session = deleting.registry.session_closed(&client);
        deleting.broker.delete(&client).await?;
        session.await;
        Ok(no_content())
    };
    effect::run(&app.effects, delete).await
}

/// Returns a JSON answer that no cache may keep.
pub(super) fn json_response(status: StatusCode, body: &serde_json::Value) -> HttpResponse {
    let mut response = body::whole(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn no_content() -> HttpResponse {
    let mut response = body::whole(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
