//! The life of a gateway, from an open broker and bound listeners to the last closed socket.
//!
//! The order of its end is a promise. A client that is told to come back, or whose connection ends, must find its
//! mailbox free on another gateway; so a Session releases its Lease before its poll is answered, and answers are
//! written before sockets close. The broker goes last, because releases and confirms need it.
//!
//! Listeners stay open to the end of the drain: `/live` is 200 there as long as a poll waits for its answer, so that a
//! load balancer that asks for it does not cut those polls.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use anyhow::Context;
use broker::Broker;
use feeds::{Feed, FeedMetrics, FeedOptions};
use futures_util::FutureExt;
use mailboxes::{MailboxMetrics, MailboxOptions, Registry};
use tokio::{sync::oneshot, task::JoinSet, time::timeout};
use tracing::{info, warn};

use crate::{
    http::{App, HttpOptions, Listeners, Server, key_set::KeySet},
    metrics::Metrics,
    process::{Reloads, StopSignals, systemd},
};

/// How much of the grace period the Sessions have to release and answer their polls; the rest is for those answers.
const SHARE_OF_POLLS: f64 = 0.8;

/// What the grace period is at least for each mailbox that is read: other gateways open about 1,000 a second.
const GRACE_OF_MAILBOX: Duration = Duration::from_millis(1);

/// Serves until the first signal and for the delay after it, then drains and closes the broker. Another signal ends the
/// delay; one after that ends it at once, with an error. So does the end of a part without which the gateway serves
/// nothing: a supervisor starts it again.
pub async fn run<B: Broker>(
    broker: B,
    listeners: Listeners,
    mailboxes: MailboxOptions,
    feeds: FeedOptions,
    http: HttpOptions,
    mut metrics: Metrics,
    mut signals: StopSignals,
) -> anyhow::Result<()> {
    let broker = Arc::new(broker);
    let (mailbox_metrics, feed_metrics) = (Arc::new(MailboxMetrics::default()), Arc::new(FeedMetrics::default()));
    mailbox_metrics.register(metrics.postern());
    feed_metrics.register(metrics.postern());
    listeners.register(metrics.postern());
    let registry = Registry::new(Arc::clone(&broker), mailboxes, mailbox_metrics);
    let feed = Feed::new(broker.log(), feeds, feed_metrics);
    let (delay, grace) = (http.shutdown_delay, http.shutdown_grace);
    let has_feeds = !http.feed_topics.is_empty();
    let _keeping = keep_keys(&http)?;
    let server = Server::new(App::new(Arc::clone(&broker), registry.clone(), Arc::clone(&feed), metrics, http));

    let mut following = JoinSet::new();
    let followed = Arc::clone(&feed);
    let follower_died = spawn(&mut following, async move {
        if has_feeds {
            followed.follow().await;
        }
    });
    let (answering, holder) = (Arc::clone(&broker), Arc::new(registry.clone()));
    let mut answering_others = JoinSet::new();
    let answerer_died = spawn(&mut answering_others, async move { answering.answer_others(holder).await });

    let (stop, stopped) = oneshot::channel::<()>();
    let living = async {
        let mut serving = Box::pin(server.run(listeners));
        systemd::ready();
        tokio::select! {
            _ = stopped => {}
            () = &mut serving => {}
        }
        let mailboxes = u32::try_from(registry.sessions()).unwrap_or(u32::MAX);
        let grace = grace.max(GRACE_OF_MAILBOX * mailboxes);
        info!(connections = server.connections(), mailboxes, ?grace, "shutting down");
        server.stop();
        feed.close();
        drain(&server, &registry, grace, serving).await;
        // It ends by itself: the feed is closed.
        following.join_next().await;
        answering_others.shutdown().await;
        broker.close().await;
    };
    let stopping = async {
        signals.first().await;
        systemd::stopping();
        if !delay.is_zero() {
            info!(?delay, "not ready any more; everything is still served");
            server.leave();
            let _ = timeout(delay, signals.second()).await;
        }
        let _ = stop.send(());
        signals.second().await;
    };
    tokio::select! {
        () = living => info!("stopped"),
        () = stopping => anyhow::bail!("a second signal: ended at once"),
        never = systemd::keep_watchdog_quiet() => match never {},
        part = broker.failed() => {
            // Never dropped: what is left of it may wait for the part that is gone.
            std::mem::forget(Arc::clone(&broker));
            anyhow::bail!("{part}; the gateway ends, to be started again");
        }
        () = told(follower_died) => {
            anyhow::bail!("the task that follows the log has failed; the gateway ends, to be started again")
        }
        () = told(answerer_died) => {
            anyhow::bail!("the task that answers other gateways has failed; the gateway ends, to be started again")
        }
    }
    Ok(())
}

/// Spawns a task that tells if it panics.
fn spawn(tasks: &mut JoinSet<()>, task: impl Future<Output = ()> + Send + 'static) -> oneshot::Receiver<()> {
    let (died, told) = oneshot::channel();
    tasks.spawn(async move {
        if AssertUnwindSafe(task).catch_unwind().await.is_err() {
            let _ = died.send(());
        }
    });
    told
}

/// Waits until a task tells that it has died; one that ended does not.
async fn told(died: oneshot::Receiver<()>) {
    if died.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Keeps the keys of tokens as new as their files and their URL, until the tasks are dropped.
fn keep_keys(http: &HttpOptions) -> anyhow::Result<JoinSet<()>> {
    let mut keeping = JoinSet::new();
    if !http.access.takes_tokens() {
        return Ok(keeping);
    }
    let access = Arc::clone(&http.access);
    let mut reloads = Reloads::listen().context("cannot listen for SIGHUP")?;
    keeping.spawn(async move {
        loop {
            tokio::select! {
                () = access.follow_files() => {}
                _ = reloads.next() => access.reload_files().await,
            }
        }
    });
    if let Some(url) = &http.key_set {
        let access = Arc::clone(&http.access);
        let key_set = KeySet::new(url).context("cannot read the system's list of certificate authorities")?;
        keeping.spawn(async move { access.follow_key_set(&key_set).await });
    }
    Ok(keeping)
}

/// Releases the Leases, answers their polls, and waits until the answers are written and the sockets closed; the
/// listeners last, which `serving` has.
async fn drain<B: Broker>(
    server: &Server<B>,
    registry: &Registry<B>,
    grace: Duration,
    mut serving: impl Future<Output = ()> + Unpin,
) {
    let drained = async {
        let answered = async {
            registry.shut_down(grace.mul_f64(SHARE_OF_POLLS)).await;
            server.drained().await;
        };
        tokio::select! {
            () = answered => {}
            () = &mut serving => {}
        }
        drop(serving);
        server.ended().await;
    };
    if timeout(grace, drained).await.is_err() {
        let connections = server.connections();
        warn!(connections, "the grace period is over; closing connections that still wait");
    }
}

#[cfg(test)]
mod tests;
