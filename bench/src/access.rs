//! The benchmark of tokens: how many polls a second a gateway answers that checks a token of each, against one that takes
//! polls without.
//!
//! Both sides are measured in turn in one run, each with an embedded broker in memory, over connections that are kept.
//! Each connection has a token of its own, of ES256. A poll that is answered at once with nothing costs the least, so
//! that the share of the token is the largest. Only the ratio within one run counts.

use std::{path::PathBuf, time::Duration};

use access::testing::Issuer;
use anyhow::{Context, ensure};
use clap::Parser;
use postern_tests::{Folder, Gateway, LeanHttp, cpu_seconds};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use crate::row::{Better, Row};

/// Measures polls with tokens against polls without.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// How many connections poll at once
    #[arg(long, value_name = "N", default_value_t = 32)]
    connections: usize,

    /// How long each side is measured in a round, in seconds
    #[arg(long, value_name = "S", default_value_t = 3)]
    seconds: u64,

    /// How often both sides are measured
    #[arg(long, value_name = "N", default_value_t = 9)]
    rounds: u32,
}

/// What one side does in a round.
#[derive(Debug, Clone, Copy)]
struct Measured {
    polls_per_second: f64,
    /// Of processor time of the gateway.
    micros_per_poll: f64,
}

/// Runs it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let issuer = Issuer::es256();
    let folder = Folder::new("postern-bench-keys");
    let keys = folder.write("keys.pem", &issuer.file);
    let (open, closed) = (gateway(None).await, gateway(Some(keys)).await);
    let token = |n: usize| {
        issuer.token_for_an_hour(&json!({"sub": format!("user-{n}"), "postern": {"read": ["jobs.#", "news.*"]}}))
    };
    let tokens: Vec<Option<String>> = (0..options.connections).map(|n| Some(token(n))).collect();
    let no_tokens = vec![None; options.connections];
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        without.push(measure(options, &open, &no_tokens).await?);
        with.push(measure(options, &closed, &tokens).await?);
    }
    let values = |all: &[Measured], value: fn(&Measured) -> f64| all.iter().map(value).collect();
    let row = |what: &str, unit: (&'static str, Better), value: fn(&Measured) -> f64| {
        Row::of(
            format!("{what}, {} connections", options.connections),
            unit,
            "without a token",
            values(&with, value),
            values(&without, value),
        )
    };
    Ok(vec![
        row("polls with a token of ES256", ("1/s", Better::Higher), |each| each.polls_per_second),
        row("processor time of such a poll", ("µs", Better::Lower), |each| each.micros_per_poll),
    ])
}

async fn gateway(keys: Option<PathBuf>) -> Gateway {
    let builder = Gateway::builder().switch("--memory");
    let gateway = match keys {
        Some(keys) => builder.flag("--token-key", keys).start().await,
        None => builder.start().await,
    };
    gateway.wait_ready().await;
    gateway
}

async fn measure(options: &Options, gateway: &Gateway, tokens: &[Option<String>]) -> anyhow::Result<Measured> {
    let cpu = || cpu_seconds(gateway.process().id()).context("the gateway's processor time cannot be read");
    let mut connections = Vec::new();
    for token in tokens {
        let http = LeanHttp::open(gateway.address()).await?;
        connections.push(match token {
            Some(token) => http.with_header("authorization", &format!("Bearer {token}")),
            None => http,
        });
    }
    let (began, used) = (Instant::now(), cpu()?);
    let until = began + Duration::from_secs(options.seconds);
    let mut polling: JoinSet<anyhow::Result<u32>> =
        connections.into_iter().map(|connection| poll_until(connection, until)).collect();
    let mut polls = 0_u32;
    while let Some(polled) = polling.join_next().await {
        polls += polled??;
    }
    let polls = f64::from(polls);
    Ok(Measured {
        polls_per_second: polls / began.elapsed().as_secs_f64(),
        micros_per_poll: (cpu()? - used) * 1e6 / polls,
    })
}

async fn poll_until(mut http: LeanHttp, until: Instant) -> anyhow::Result<u32> {
    let mut polls = 0;
    while Instant::now() < until {
        http.send("GET", "/topics/jobs.42.status/events?wait=0").await?;
        let status = http.answer().await?.status;
        ensure!(status == 204, "a poll is answered with {status}");
        polls += 1;
    }
    Ok(polls)
}
