//! Flags: the only file that knows their names.
//!
//! Everything is checked here, so that wrong usage ends the process (exit code 64) before anything is sent.

mod value;

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use amqp::AmqpUrls;
use clap::{CommandFactory, Parser, error::ErrorKind, value_parser};

use self::value::{
    ConnectionUse, PaceKind, PublishBy, Topics, Transport, address, duration, header, percent, rate, topics, worker,
};
use crate::{
    crowd::behaviour::{Behaviour, HangUp},
    limits,
    options::{LimitOf, Options},
    publishers::pace::Pace,
    require::Requirement,
    streams::Streams,
    target::{self, Names, Target, Wanted},
    watch,
};

const EXAMPLES: &str = "\
Examples:
  load
      1,000 clients of one feed of a Postern at 127.0.0.1:8080, ten events a second for ten seconds
  load --read mailbox --clients 1000,2000,5000 --rate 500/s --ramp 10s
      a mailbox for each client, in three steps
  load --find-limit p99=50ms,lost=0 --html report.html
      how many clients does this machine hold? The answer, and a page with plots
  load --transport sse --hang-up 10% --require p99=200ms,errors=0
      Server-Sent Events, while every tenth client hangs up and comes back; the exit code tells what came of it
  load --target nchan --address 127.0.0.1:80
  load --print-target nchan > mine.toml && load --target mine.toml --address 127.0.0.1:3000
      other servers

Exit codes:
  0    nothing was lost and every condition of --require was met
  1    something was lost, a client did not get in, a condition was not met, or there was nothing to measure
  64   wrong flags, or a wrong file
  130  ended by a second SIGINT, without a report (143: by SIGTERM); after the first one there is a report";

/// Simulates clients and publishers of a push server, and proves what each client got: what was lost, what came twice, what came
/// out of order, and how long it took from the time at which it was to be sent.
#[derive(Debug, Parser)]
#[command(name = "load", version, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    /// Which server: postern, nchan, or a file that describes one.
    #[arg(long, value_name = "NAME|FILE", default_value = "postern", help_heading = "Server")]
    target: String,
    /// Print how a built-in server is described, and end; it is an example for a file of your own.
    #[arg(long, value_name = "NAME", help_heading = "Server")]
    print_target: Option<String>,
    /// Where it listens: HOST:PORT, without TLS.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address, help_heading = "Server")]
    address: SocketAddr,
    /// One more header of each request, such as `authorization: Bearer …`; repeatable.
    #[arg(long, value_name = "HEADER", value_parser = header, help_heading = "Server")]
    header: Vec<(String, String)>,

    /// How many clients; several numbers are steps, one after the other [default: 1000].
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = value_parser!(u32).range(1..=4_000_000))]
    #[arg(help_heading = "Clients")]
    clients: Vec<u32>,
    /// Which way to read: feed or mailbox of Postern, else the name of a [read.…] of the target [default: the first].
    #[arg(long, value_name = "WAY", help_heading = "Clients")]
    read: Option<String>,
    /// How events come.
    #[arg(long, value_enum, default_value_t = Transport::LongPoll, help_heading = "Clients")]
    transport: Transport,
    /// Whether a client keeps its connection, polls over a new one each time, or speaks HTTP/2 (in the clear, with
    /// prior knowledge).
    #[arg(long, value_enum, default_value_t = ConnectionUse::KeepAlive, help_heading = "Clients")]
    connection: ConnectionUse,
    /// How many clients share a connection of HTTP/2 [default: 1].
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=65_536), help_heading = "Clients")]
    streams_per_connection: Option<u32>,
    /// How many topics there are, which the clients share evenly; own: one for each client [default: 1, or own for mailboxes].
    #[arg(long, value_name = "N|own", value_parser = topics, help_heading = "Clients")]
    // One option within the other would be a flag without a value.
    topics: Option<Topics>,
    /// The name of a topic; {} stands for its number [default: load.RUN.{}].
    #[arg(long, value_name = "NAME", help_heading = "Clients")]
    topic: Option<String>,
    /// Over how long the clients of a step come.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration, help_heading = "Clients")]
    ramp: Duration,
    /// How long a client does nothing between an answer and its next poll.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration, help_heading = "Clients")]
    think: Duration,
    /// The share of clients that hang up, in the middle of a poll or of an answer, and come back.
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = percent, help_heading = "Clients")]
    hang_up: f64,
    /// How they hang up: in an orderly way (FIN), with a reset (RST), or both by turns.
    #[arg(long, value_enum, default_value_t = HangUp::Both, help_heading = "Clients")]
    hang_up_by: HangUp,
    /// How long a client stays before it hangs up [default: 5s]; without --hang-up, all clients go away after that and come back.
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Clients")]
    stay: Option<Duration>,
    /// How long a client is away that hung up or went.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration, help_heading = "Clients")]
    away: Duration,
    /// How long to wait for clients that do not get in, after the last one that did.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, help_heading = "Clients")]
    patience: Duration,
    /// How long a poll may take before it counts as timed out, which is no error; and a confirm, at most 30s, which is one.
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = duration, help_heading = "Clients")]
    deadline: Duration,

    /// How publishers speak: http to the server, or amqp to the RabbitMQ broker before it.
    #[arg(long, value_enum, default_value_t = PublishBy::Http, help_heading = "Publishers")]
    publish: PublishBy,
    /// Where events are published by HTTP, if that is not --address: behind a cache, for example.
    #[arg(long, value_name = "ADDRESS", value_parser = address, help_heading = "Publishers")]
    publish_address: Option<SocketAddr>,
    /// The broker of --publish amqp: amqp[s]://user:password@host:port/vhost, or several addresses of it, separated by
    /// spaces, over which the publishers are spread. A command line is seen in the list of processes (ps), so give a
    /// password by the variable.
    #[arg(long, env = "AMQP_URL", value_name = "URL", hide_env_values = true, help_heading = "Publishers")]
    amqp_url: Option<String>,
    /// How many publishers, each with a connection of its own; 0: another program publishes payloads such as {"n":1}, {"n":2}.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(..=100_000))]
    #[arg(help_heading = "Publishers")]
    publishers: u32,
    /// How many events a second, over all publishers, at times that are fixed before [default: 10/s].
    #[arg(long, value_name = "RATE", value_parser = rate, conflicts_with_all = ["burst", "pace"], help_heading = "Publishers")]
    rate: Option<f64>,
    /// Draw the gaps between events (exponential), so that --rate is their average.
    #[arg(long, conflicts_with_all = ["burst", "pace"], help_heading = "Publishers")]
    random_gaps: bool,
    /// How many events at once, each time that --every has passed.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..), conflicts_with = "pace", help_heading = "Publishers")]
    burst: Option<u64>,
    /// How long there is between two bursts.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration, help_heading = "Publishers")]
    every: Duration,
    /// Without a rate: confirmed sends the next event when the last one is confirmed; lockstep when every client has had it, too,
    /// and waits again.
    #[arg(long, value_enum, help_heading = "Publishers")]
    pace: Option<PaceKind>,
    /// How long a payload is at least, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = value_parser!(u32).range(..=16 << 20))]
    #[arg(help_heading = "Publishers")]
    size: u32,
    /// For how long to publish, in each step [default: 10s, unless --events is given].
    #[arg(long = "for", value_name = "TIME", value_parser = duration, help_heading = "Publishers")]
    duration: Option<Duration>,
    /// How many events to publish, or to wait for, in each step.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..u64::from(u32::MAX)), help_heading = "Publishers")]
    events: Option<u64>,
    /// Only the first so many topics get events.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..), help_heading = "Publishers")]
    among: Option<u32>,

    /// Conditions of success, each a maximum: p50, p90, p99, p99.9, max and mean of the latency, lost, repeated, unflagged,
    /// out-of-order, errors, not-confirmed, resets.
    #[arg(long, value_name = "CONDITION,…", value_delimiter = ',', help_heading = "Result")]
    require: Vec<Requirement>,
    /// Double the number of clients until a condition fails, then halve the range.
    #[arg(
        long,
        value_name = "CONDITION,…",
        value_delimiter = ',',
        conflicts_with = "require",
        help_heading = "Result"
    )]
    find_limit: Vec<Requirement>,
    /// What --find-limit varies, from --clients or --rate on.
    #[arg(long, value_enum, default_value_t = LimitOf::Clients, requires = "find_limit", help_heading = "Result")]
    of: LimitOf,
    /// How far --find-limit goes with the clients [default: 200000, or as far as the open files of --workers go].
    #[arg(long, value_name = "N", requires = "find_limit", value_parser = value_parser!(u32).range(1..=4_000_000), help_heading = "Result")]
    max: Option<u32>,
    /// How long to wait at the end for events that are missing.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, help_heading = "Result")]
    drain: Duration,
    /// How long to listen after that for what must not come; a signal ends it.
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = duration, help_heading = "Result")]
    listen: Duration,
    /// Look at this process each second: CPU, memory, threads, files, disk, context switches; repeatable.
    #[arg(long, value_name = "PID", help_heading = "Result")]
    watch_pid: Vec<u32>,
    /// Write the report as JSON into this file; -: to standard output, in place of the text.
    #[arg(long, value_name = "FILE|-", help_heading = "Result")]
    json: Option<PathBuf>,
    /// Write the report as a page with plots into this file.
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    html: Option<PathBuf>,
    /// Say nothing while the run goes on.
    #[arg(long, short, help_heading = "Result")]
    quiet: bool,
    /// Say on standard output `waiting` when all clients wait, begin to publish when a line comes on standard input, then say
    /// `done`, and `received` when nothing is missing; without publishers say `reached N` whenever every client has had N events.
    #[arg(long, help_heading = "Result")]
    followed: bool,
    /// How many processes share the clients [default: as many as the limit of open files needs].
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=64), conflicts_with = "followed", help_heading = "Result")]
    workers: Option<u32>,
    #[arg(long, hide = true, value_parser = worker)]
    worker: Option<(u32, u32, u32)>,
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A run.
    Run(Box<Options>),
    /// A text.
    Print(&'static str),
}

/// Reads a command line.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = Cli::try_parse_from(&arguments)?;
    let wrong = |text: String| Cli::command().error(ErrorKind::ValueValidation, text);
    if let Some(name) = &cli.print_target {
        let text = target::built_in(name);
        return text
            .map(Asked::Print)
            .ok_or_else(|| wrong(format!("there is no target {name:?}; there are {}", target::names())));
    }
    let command: Vec<String> =
        arguments.iter().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let has_url = command.iter().any(|argument| argument.starts_with("--amqp-url"));
    if has_url && cli.publish != PublishBy::Amqp {
        return Err(wrong("--amqp-url is where --publish amqp goes: add that".to_owned()));
    }
    // Headers and URLs may hold secrets.
    let command = match (cli.header.is_empty(), has_url) {
        (true, false) => format!("load {}", command.join(" ")),
        (true, true) => "load … (with --amqp-url)".to_owned(),
        (false, _) => "load … (with headers)".to_owned(),
    };
    options(cli, command).map(|options| Asked::Run(Box::new(options))).map_err(wrong)
}

fn options(cli: Cli, command: String) -> Result<Options, String> {
    let is_sse = cli.transport == Transport::Sse;
    let wanted = Wanted {
        target: &cli.target,
        way: cli.read.as_deref(),
        stream: is_sse,
        address: cli.address,
        publish_address: cli.publish_address.unwrap_or(cli.address),
        headers: &cli.header,
    };
    let target = Target::find(&wanted).map_err(|error| error.to_string())?;
    if target.publish.is_none() && cli.publishers > 0 {
        return Err(format!("the target {} has no [publish]: add one, or give --publishers 0", cli.target));
    }
    let (behaviour, pace) = (behaviour(&cli)?, pace(&cli));
    let amqp = match cli.publish {
        PublishBy::Amqp => Some(broker(&target, cli.amqp_url.as_deref())?),
        PublishBy::Http => None,
    };
    if let Some(gone) = cli.watch_pid.iter().find(|pid| !watch::exists(**pid)) {
        return Err(format!("--watch-pid: there is no process {gone}"));
    }
    let share = cli.streams_per_connection.unwrap_or(1);
    let is_search = !cli.find_limit.is_empty();
    let searches_clients = is_search && cli.of == LimitOf::Clients;
    let max = cli.max.filter(|_| searches_clients);
    let clients = if cli.clients.is_empty() { vec![max.unwrap_or(1000).min(1000)] } else { cli.clients };
    if is_search && clients.len() > 1 {
        return Err("--find-limit chooses the steps itself: give --clients one number, to begin with".to_owned());
    }
    let highest = clients.iter().copied().max().unwrap_or(1);
    if let Some(max) = max.filter(|max| *max < highest) {
        return Err(format!(
            "--find-limit begins with the {highest} of --clients, which is more than the {max} of --max"
        ));
    }
    let as_far_as_goes = || limits::of_processes(cli.workers.unwrap_or(1)).saturating_mul(share).min(200_000);
    let max_clients = if searches_clients { max.unwrap_or_else(as_far_as_goes).max(highest) } else { highest };
    let topics = match cli.topics {
        Some(Topics::Count(count)) => count,
        None if !target.read.own_topics => 1,
        Some(Topics::Own) | None => max_clients,
    };
    let streams = Streams { topics, publishers: cli.publishers };
    if is_search && cli.of == LimitOf::Rate && pace.rate().is_none() {
        return Err("--of rate varies the rate: leave out --pace".to_owned());
    }
    if pace == Pace::Lockstep && cli.publishers != 1 {
        return Err("--pace lockstep has one publisher".to_owned());
    }
    let workers =
        cli.workers.unwrap_or_else(|| if cli.followed { 1 } else { limits::workers(max_clients.div_ceil(share)) });
    if workers > 1 && (pace == Pace::Lockstep || cli.publishers == 0) {
        return Err(format!(
            "{max_clients} clients need {workers} processes, but lockstep and --publishers 0 work with one only"
        ));
    }
    let (worker, workers, run) = match cli.worker {
        Some((worker, workers, run)) => (Some(worker), workers, run),
        None => (None, workers, run_number()),
    };
    let topic = cli.topic.unwrap_or_else(|| format!("load.{run}.{{}}"));
    if topics > 1 && !topic.contains("{}") {
        return Err("--topic names one topic, but there are several: put {} in the place of its number".to_owned());
    }
    let duration =
        cli.duration.or_else(|| (cli.events.is_none() && cli.publishers > 0).then_some(Duration::from_secs(10)));
    Ok(Options {
        target,
        address: cli.address,
        publish_address: wanted.publish_address,
        amqp,
        names: Names { client: format!("load-{run}-{{}}"), topic },
        streams,
        run,
        clients,
        max_clients,
        behaviour,
        pace,
        duration,
        events: cli.events,
        among: cli.among.unwrap_or(u32::MAX),
        size: cli.size as usize,
        drain: cli.drain,
        listen: cli.listen,
        patience: cli.patience,
        watched: cli.watch_pid,
        limit_of: is_search.then_some(cli.of),
        requirements: if is_search { cli.find_limit } else { cli.require },
        json: cli.json,
        html: cli.html,
        workers,
        worker,
        is_followed: cli.followed,
        is_quiet: cli.quiet || cli.worker.is_some(),
        command,
    })
}

/// Returns how clients behave.
fn behaviour(cli: &Cli) -> Result<Behaviour, String> {
    let is_http2 = cli.connection == ConnectionUse::Http2;
    if cli.streams_per_connection.is_some() && !is_http2 {
        return Err("--streams-per-connection is about HTTP/2: add --connection http2".to_owned());
    }
    Ok(Behaviour {
        ramp: cli.ramp,
        think: cli.think,
        is_connection_new: cli.connection == ConnectionUse::New,
        streams_per_connection: is_http2.then_some(cli.streams_per_connection.unwrap_or(1) as usize),
        hang_up: cli.hang_up,
        hang_up_by: cli.hang_up_by,
        stay: cli.stay,
        away: cli.away,
        deadline: cli.deadline,
    })
}

/// Returns how fast events are published.
fn pace(cli: &Cli) -> Pace {
    match (cli.burst, cli.pace) {
        (Some(burst), _) => Pace::Burst(burst, cli.every),
        (None, Some(PaceKind::Confirmed)) => Pace::Confirmed,
        (None, Some(PaceKind::Lockstep)) => Pace::Lockstep,
        (None, None) if cli.random_gaps => Pace::Random(cli.rate.unwrap_or(10.0)),
        (None, None) => Pace::Rate(cli.rate.unwrap_or(10.0)),
    }
}

/// Returns the broker that publishers send to.
fn broker(target: &Target, url: Option<&str>) -> Result<AmqpUrls, String> {
    let Some(url) = url else {
        return Err("--publish amqp needs the broker: give it by --amqp-url or AMQP_URL".to_owned());
    };
    if !target.publish.as_ref().is_some_and(|publish| publish.has_amqp) {
        let name = &target.name;
        return Err(format!(
            "the target {name} is not published to by AMQP: leave out --publish amqp, or write `amqp = true` into its \
             [publish] if it is a Postern on RabbitMQ"
        ));
    }
    url.parse().map_err(|error| format!("--amqp-url or AMQP_URL: {error}"))
}

/// Returns a number that no other run has, most likely: it tells apart what an earlier one left behind.
fn run_number() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_millis() % (1 << 31)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
