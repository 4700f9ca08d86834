//! The load client: thousands of held polls in a process of their own, each of which proves what it got.

use std::{io::Write, net::SocketAddr, process::ExitStatus, time::Duration};

use serde::Deserialize;

use crate::{Finished, Log, Process, eventually, program};

/// How the load client is to be run; its `--help` explains each flag.
#[derive(Debug)]
pub struct LoadBuilder {
    command: std::process::Command,
    publishers: u32,
}

/// A running load client, killed when it is dropped.
#[derive(Debug)]
pub struct Load {
    process: Process,
    input: Option<std::process::ChildStdin>,
    stdout: Log,
    stderr: Log,
}

/// What a load client reports.
#[derive(Debug, Clone)]
pub struct LoadReport {
    /// Events that clients had, all together.
    pub deliveries: u64,
    /// Events that a client has not had.
    pub lost: u64,
    /// Events that a client had again.
    pub repeated: u64,
    /// Events that a client had after a later one.
    pub out_of_order: u64,
    /// Requests of clients that failed; they have come again.
    pub errors: u64,
    /// How long that took, without the pauses between rounds.
    pub seconds: f64,
    /// Microseconds from the publishing of an event until every client that it concerns has had it and polls again.
    pub round_p50_us: f64,
    /// The same.
    pub round_p99_us: f64,
    /// Milliseconds from the time at which an event was to be sent until a client had it.
    pub latency_p50_ms: f64,
    /// The same.
    pub latency_p99_ms: f64,
}

#[derive(Debug, Deserialize)]
struct Report {
    steps: [Step; 1],
}

#[derive(Debug, Deserialize)]
struct Step {
    received: u64,
    lost: u64,
    repeated_flagged: u64,
    repeated_unflagged: u64,
    out_of_order: u64,
    receive_errors: u64,
    seconds: f64,
    rounds: Option<Rounds>,
    latency: Latency,
}

/// In milliseconds.
#[derive(Debug, Deserialize)]
struct Latency {
    p50: f64,
    p99: f64,
}

/// In milliseconds.
#[derive(Debug, Deserialize)]
struct Rounds {
    count: u32,
    mean: f64,
    p50: f64,
    p99: f64,
}

impl From<Step> for LoadReport {
    fn from(step: Step) -> Self {
        let Step { received, seconds, rounds, latency, .. } = step;
        let none = Rounds { count: 0, mean: 0.0, p50: 0.0, p99: 0.0 };
        let is_in_rounds = rounds.is_some();
        let Rounds { count, mean, p50, p99 } = rounds.unwrap_or(none);
        let seconds = if is_in_rounds { f64::from(count) * mean / 1e3 } else { seconds };
        Self {
            deliveries: received,
            lost: step.lost,
            repeated: step.repeated_flagged + step.repeated_unflagged,
            out_of_order: step.out_of_order,
            errors: step.receive_errors,
            seconds,
            round_p50_us: p50 * 1e3,
            round_p99_us: p99 * 1e3,
            latency_p50_ms: latency.p50,
            latency_p99_ms: latency.p99,
        }
    }
}

impl LoadBuilder {
    /// Adds a flag and its value.
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.command.arg(name).arg(value);
        self
    }

    /// Adds a flag that has no value.
    pub fn switch(mut self, name: &str) -> Self {
        self.command.arg(name);
        self
    }

    /// Has it publish the events itself, each when every client that the one before concerns has had it and waits again.
    pub fn publishing(mut self) -> Self {
        self.publishers = 1;
        self.flag("--pace", "lockstep")
    }

    /// Has one publisher in it publish at the times that `--rate` gives.
    pub fn publishing_at_times(mut self) -> Self {
        self.publishers = 1;
        self
    }

    /// Has so many publishers in it publish, each the next event when the last one is confirmed.
    pub fn publishing_as_confirmed(mut self, publishers: u32) -> Self {
        self.publishers = publishers;
        self.flag("--pace", "confirmed")
    }

    /// Starts it.
    pub fn start(mut self) -> Load {
        self.command.args(["--publishers", &self.publishers.to_string()]);
        self.command.stdin(std::process::Stdio::piped());
        let mut process = Process::spawn("the load client", &mut self.command, None);
        let input = process.child().stdin.take();
        let stderr = Log::default();
        program::log_stderr(&mut process, &stderr);
        let stdout = Log::of(process.child().stdout.take().expect("stdout is piped"));
        Load { process, input, stdout, stderr }
    }
}

impl Load {
    /// Runs the load tool with these flags to its end; panics unless it succeeds.
    pub async fn run(address: SocketAddr, flags: &[&str], deadline: Duration) -> Finished {
        let finished = Self::try_run(address, flags, deadline).await;
        assert!(finished.status.success(), "{finished:?}");
        finished
    }

    /// Runs the load tool with these flags to its end.
    pub async fn try_run(address: SocketAddr, flags: &[&str], deadline: Duration) -> Finished {
        let mut command = program::program("load");
        command.args(["--address", &address.to_string()]).args(flags);
        program::finish("the load tool", &mut command, deadline).await
    }

    /// Describes a load client of a server, whose clients read the feed of a topic. Events come from elsewhere; with
    /// [`LoadBuilder::publishing`] from itself.
    pub fn of(address: SocketAddr, topic: &str) -> LoadBuilder {
        let mut command = program::program("load");
        command.args(["--address", &address.to_string(), "--topic", topic, "--followed", "--quiet", "--json", "-"]);
        // More than once is a failure, and so is out of order; a loss is one anyway.
        command.args(["--require", "repeated=0,out-of-order=0,errors=0"]);
        LoadBuilder { command, publishers: 0 }
    }

    /// Returns the process, to see what it uses.
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until it has said a line; panics with its reason if it ends before.
    pub async fn wait_said(&mut self, line: &str, deadline: Duration) {
        let what = format!("the load client to say {line:?}");
        eventually(deadline, &what, async || {
            let lines = self.stdout.lines();
            if lines.iter().any(|said| said == line) {
                return Ok(());
            }
            let ended = self.process.exit_status();
            assert!(ended.is_none_or(|status| status.success()), "the load client failed:\n{}", self.stderr.tail(20));
            Err(lines.last().cloned())
        })
        .await;
    }

    /// Lets it begin to publish.
    pub fn go(&mut self) {
        let mut pipe = self.input.take().expect("it was let go before");
        pipe.write_all(b"go\n").expect("the load client should read its input");
    }

    /// Waits until it ends by itself and returns its report; panics with its reason if it fails.
    pub async fn finish(mut self, deadline: Duration) -> LoadReport {
        let status: ExitStatus = self.process.wait_exit(deadline).await;
        // A run in which something was lost or failed says so in its report.
        assert!(status.success(), "the load client failed:\n{}\n{}", self.stderr.tail(20), self.stdout.tail(1));
        self.read_report(deadline).await
    }

    /// Has it listen no longer, and returns its report, also if something was lost or failed.
    pub async fn stop(mut self, deadline: Duration) -> LoadReport {
        self.process.terminate();
        self.process.wait_exit(deadline).await;
        self.read_report(deadline).await
    }

    async fn read_report(&self, deadline: Duration) -> LoadReport {
        let complete = async || if self.stdout.is_complete() { Ok(()) } else { Err("more may come") };
        eventually(deadline, "the end of its output", complete).await;
        let report = self.stdout.tail(1);
        let whole: Report = serde_json::from_str(&report).unwrap_or_else(|e| panic!("no report ({e}): {report}"));
        let [step] = whole.steps;
        step.into()
    }
}
