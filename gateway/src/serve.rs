//! The life of a gateway on an open broker and a bound listener.

use std::sync::Arc;

use tokio::{net::TcpListener, sync::oneshot};
use tracing::info;

use crate::{
    broker::Broker,
    http::{self, HttpOptions},
    mailbox::{MailboxOptions, Registry},
    metrics::Metrics,
    process::StopSignals,
};

/// Serves until the first signal, then drains and closes the broker; a second signal ends it at once, with an error.
pub async fn serve_from<B: Broker>(
    broker: B,
    listener: TcpListener,
    mailboxes: MailboxOptions,
    http: HttpOptions,
    metrics: Arc<Metrics>,
    mut signals: StopSignals,
) -> anyhow::Result<()> {
    let broker = Arc::new(broker);
    let registry = Registry::new(Arc::clone(&broker), mailboxes, Arc::clone(&metrics));
    let (stop, stopped) = oneshot::channel();
    let serving = async {
        let stopped = async { drop(stopped.await) };
        http::serve(listener, Arc::clone(&broker), registry, metrics, http, stopped).await;
        broker.close().await;
    };
    let stopping = async {
        signals.next().await;
        let _ = stop.send(());
        signals.next().await;
    };
    tokio::select! {
        () = serving => info!("stopped"),
        () = stopping => anyhow::bail!("a second signal: ended at once"),
    }
    Ok(())
}
