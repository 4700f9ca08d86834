//! Looking at a mailbox, binding it, dropping it.

use std::sync::Arc;

use access::Principal;
use broker::{Broker, handover::Holder};
use events::{ClientId, TopicPattern};
use hyper::StatusCode;
use serde_json::json;

use crate::http::{app::App, body::HttpResponse, effect, problem::Problem, response};

/// Counts a mailbox for its sender if a request that names topics makes it.
///
/// The broker is asked whether the mailbox is there only if no Session is: a client that polls again and again costs
/// nothing more.
pub(crate) async fn count_new<B: Broker>(
    app: &App<B>,
    client: &ClientId,
    principal: &Principal,
) -> Result<(), Problem> {
    if !app.limits.counts_mailboxes() || app.registry.unconfirmed(client).is_some() {
        return Ok(());
    }
    match app.broker.mailbox(client).await {
        Ok(None) => app.limits.make_mailbox(principal),
        // What is wrong with the broker is said by what comes next.
        Ok(Some(_)) | Err(_) => Ok(()),
    }
}

/// `GET /clients/{client}`.
pub(crate) async fn status<B: Broker>(app: &App<B>, client: &ClientId) -> Result<HttpResponse, Problem> {
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
    Ok(response::json(StatusCode::OK, body.to_string()))
}

/// `PUT /clients/{client}/topics/{pattern}`.
pub(crate) async fn bind<B: Broker>(
    app: &Arc<App<B>>,
    client: ClientId,
    topic: TopicPattern,
) -> Result<HttpResponse, Problem> {
    let binding = Arc::clone(app);
    let bind = async move {
        binding.broker.bind(&client, &[topic]).await?;
        Ok(response::empty(StatusCode::NO_CONTENT))
    };
    effect::run(&app.effects, bind).await
}

/// `DELETE /clients/{client}/topics/{pattern}`.
pub(crate) async fn unbind<B: Broker>(
    app: &Arc<App<B>>,
    client: ClientId,
    topic: TopicPattern,
) -> Result<HttpResponse, Problem> {
    let unbinding = Arc::clone(app);
    let unbind = async move {
        unbinding.broker.unbind(&client, &topic).await?;
        let is_read_here = match unbinding.registry.unbound(&client, &topic) {
            Some(noting) => noting.await,
            None => false,
        };
        if !is_read_here {
            unbinding.broker.tell_unbound(&client, &topic).await?;
        }
        Ok(response::empty(StatusCode::NO_CONTENT))
    };
    effect::run(&app.effects, unbind).await
}

/// `DELETE /clients/{client}`; a poll that is held on the mailbox ends with 410.
pub(crate) async fn delete<B: Broker>(app: &Arc<App<B>>, client: ClientId) -> Result<HttpResponse, Problem> {
    let deleting = Arc::clone(app);
    let delete = async move {
        let session = deleting.registry.session_closed(&client);
        deleting.broker.delete(&client).await?;
        session.await;
        Ok(response::empty(StatusCode::NO_CONTENT))
    };
    effect::run(&app.effects, delete).await
}
