//! The load client: thousands of held polls in a process of their own, each of which proves what it got.

use std::{io::Write, net::SocketAddr, process::ExitStatus, time::Duration};

use serde::Deserialize;

use crate::{Log, Process, eventually, program};

/// How the load client is to be run; its `--help` explains each flag.
#[derive(Debug)]
pub struct LoadBuilder {
    command: std::process::Command,
}

/// A running load client, killed when it is dropped.
#[derive(Debug)]
pub struct Load {
    process: Process,
    input: Option<std::process::ChildStdin>,
    stdout: Log,
    stderr: Log,
}

/// What a load client reports when every client has had everything, once and in order.
#[derive(Debug, Clone, Deserialize)]
pub struct LoadReport {
    /// Events that clients had, all together.
    pub deliveries: u64,
    /// How long that took, without the pauses between rounds.
    pub seconds: f64,
    /// Microseconds from the publishing of an event until every client that it concerns has had it and polls again.
    pub round_p50_us: f64,
    /// The same.
    pub round_p99_us: f64,
}

impl LoadBuilder {
    /// Adds a flag and its value.
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.command.arg(name).arg(value);
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Load {
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
    /// Describes a load client of a server, whose clients watch a path.
    pub fn of(address: SocketAddr, watch: &str) -> LoadBuilder {
        let mut command = program::program("load");
        command.args(["--address", &address.to_string(), "--watch", watch]);
        LoadBuilder { command }
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
        assert!(status.success(), "the load client failed:\n{}", self.stderr.tail(20));
        let complete = async || if self.stdout.is_complete() { Ok(()) } else { Err("more may come") };
        eventually(deadline, "the end of its output", complete).await;
        let report = self.stdout.tail(1);
        serde_json::from_str(&report).unwrap_or_else(|e| panic!("no report ({e}): {report}"))
    }
}
