//! The gateway: configuration, logs, listeners, broker; serve; drain.

use std::{io::Write, process::ExitCode, sync::Arc};

use anyhow::Context;
use broker_embedded::{EmbeddedBroker, StoreMetrics};
use broker_rabbitmq::AmqpBroker;
use gateway::{
    config::{BrokerSettings, Config, EXIT_USAGE, Settings},
    http::{self, Listeners},
    lifecycle,
    metrics::Metrics,
    process::{self, StopSignals},
    telemetry, tls,
};

/// Holding and answering polls is mostly small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = match Config::read() {
        Ok(config) => config,
        Err(exit_code) => return exit_code,
    };
    if let Err(error) = telemetry::start(&config.log, config.log_format) {
        return usage(&error);
    }
    process::log_panics();
    tls::install_provider();
    let runtime = process::runtime(config.threads).context("cannot start the runtime");
    let run = async {
        match &config.check {
            Some(url) => http::check::check(url).await.map_err(Into::into),
            None => serve(config.settings()?).await,
        }
    };
    let result = runtime.and_then(|runtime| {
        let result = runtime.block_on(run);
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<gateway::config::ConfigError>() => usage(&error),
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let signals = StopSignals::listen(settings.hangup()).context("cannot listen for signals")?;
    process::raise_open_files(settings.http.max_connections);
    let (mut metrics, store) = (Metrics::default(), Arc::new(StoreMetrics::default()));
    store.register(metrics.postern());
    let listeners = Listeners::bind(&settings.listen, &settings.admin_listen, settings.tls).await?;
    match &settings.broker {
        BrokerSettings::Amqp(options) => {
            let broker = AmqpBroker::start(options, metrics.postern()).context("cannot use the broker")?;
            listeners.announce(&options.urls);
            lifecycle::run(broker, listeners, settings.mailboxes, settings.feeds, settings.http, metrics, signals).await
        }
        BrokerSettings::Embedded(options) => {
            process::keep_files_private();
            let broker =
                process::exit_on_panic(|| EmbeddedBroker::start(options, store)).context("cannot use the store")?;
            listeners.announce(options);
            lifecycle::run(broker, listeners, settings.mailboxes, settings.feeds, settings.http, metrics, signals).await
        }
    }
}

/// Says what is wrong with the configuration, in words and not in JSON: the person who started the process reads it.
fn usage(error: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "gateway: {error}");
    ExitCode::from(EXIT_USAGE)
}
