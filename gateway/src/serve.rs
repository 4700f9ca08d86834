//! The life of a gateway on an open broker and a bound listener.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};
use tracing::info;

use crate::{
    broker::Broker,
    feed::{Feed, FeedOptions},
    http::{self, HttpOptions},
    mailbox::{MailboxOptions, Registry},
    metrics::Metrics,
    process::StopSignals,
};

/// Serves until the first signal, then drains and closes the broker; a second signal ends it at once, with an error. So does
/// the end of a part without which the gateway serves nothing: a supervisor starts it again.
pub async fn serve_from<B: Broker>(
    broker: B,
    listener: TcpListener,
    mailboxes: MailboxOptions,
    feeds: FeedOptions,
    http: HttpOptions,
    metrics: Arc<Metrics>,
    mut signals: StopSignals,
) -> anyhow::Result<()> {
    metrics.may_hold(http.max_connections, mailboxes.max_mailboxes);
    let broker = Arc::new(broker);
    let registry = Registry::new(Arc::clone(&broker), mailboxes, Arc::clone(&metrics));
    let feed = Feed::new(broker.log(), feeds);
    let mut following = JoinSet::new();
    let followed = Arc::clone(&feed);
    let (ends_well, ended) = oneshot::channel();
    following.spawn(async move {
        followed.follow().await;
        let _ = ends_well.send(());
    });
    let follower_died = async {
        if ended.await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let (stop, stopped) = oneshot::channel();
    let serving = async {
        let stopped = async { drop(stopped.await) };
        http::serve(listener, Arc::clone(&broker), registry, feed, metrics, http, stopped).await;
        // It ends by itself: HTTP has closed the feed.
        following.join_next().await;
        broker.close().await;
    };
    let stopping = async {
        signals.first().await;
        let _ = stop.send(());
        signals.second().await;
    };
    tokio::select! {
        () = serving => info!("stopped"),
        () = stopping => anyhow::bail!("a second signal: ended at once"),
        part = broker.failed() => {
            // Never dropped: what is left of it may wait for the part that is gone.
            std::mem::forget(Arc::clone(&broker));
            anyhow::bail!("{part}; the gateway ends, to be started again");
        }
        () = follower_died => anyhow::bail!("the task that follows the log has failed; the gateway ends, to be started again"),
    }
    Ok(())
}
