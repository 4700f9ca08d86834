//! The real `publisher` binary.

use std::{
    io::Write,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use crate::{Finished, Log, Process, program};

/// How long a run may take that is expected to end by itself.
const RUN: Duration = Duration::from_mins(1);

/// A call of the publisher.
#[derive(Debug)]
pub struct Publisher {
    command: std::process::Command,
    input: Option<Vec<u8>>,
}

impl Publisher {
    /// Prepares a call with these arguments.
    pub fn new(arguments: &[&str]) -> Self {
        let mut command = program::program("publisher");
        command.args(arguments);
        Self { command, input: None }
    }

    /// Uses this broker (the environment variable `AMQP_URL`).
    pub fn amqp_url(self, url: &str) -> Self {
        self.env("AMQP_URL", url)
    }

    /// Publishes through the gateway at this URL (the environment variable `POSTERN_GATEWAY`).
    pub fn gateway(self, url: &str) -> Self {
        self.env("POSTERN_GATEWAY", url)
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives it this standard input, to its end.
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Runs it to its end.
    pub async fn run(mut self) -> Finished {
        if self.input.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let mut process = Process::spawn("the publisher", &mut self.command, None);
        if let (Some(input), Some(mut pipe)) = (self.input, process.child().stdin.take()) {
            // A thread, because a publisher that waits for its broker does not read. One that ends early breaks the
            // pipe.
            std::thread::spawn(move || pipe.write_all(&input));
        }
        program::finish_process(process, RUN).await
    }

    /// Starts it and leaves it running, such as `simulate`, or `pipe` which is fed line by line.
    pub fn start(mut self) -> RunningPublisher {
        self.command.stdin(Stdio::piped());
        let mut process = Process::spawn("the publisher", &mut self.command, None);
        let mut input = process.child().stdin.take();
        if let (Some(text), Some(pipe)) = (&self.input, &mut input) {
            pipe.write_all(text).expect("the publisher should read its input");
        }
        let stderr = Log::default();
        program::log_stderr(&mut process, &stderr);
        let stdout = Log::of(process.child().stdout.take().expect("stdout is piped"));
        RunningPublisher { process, input, stdout, stderr }
    }
}

/// A publisher that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct RunningPublisher {
    process: Process,
    input: Option<std::process::ChildStdin>,
    stdout: Log,
    stderr: Log,
}

impl RunningPublisher {
    /// Writes one line to its standard input.
    pub fn write_line(&mut self, line: &str) {
        let pipe = self.input.as_mut().expect("the input is closed");
        pipe.write_all(format!("{line}\n").as_bytes()).expect("the publisher should read its input");
    }

    /// Ends its standard input.
    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// Returns what it has written to standard output.
    pub const fn stdout(&self) -> &Log {
        &self.stdout
    }

    /// Returns what it has written to standard error.
    pub const fn stderr(&self) -> &Log {
        &self.stderr
    }

    /// Kills it (SIGKILL).
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Asks it to end as Ctrl-C does (SIGINT).
    pub fn interrupt(&self) {
        self.process.interrupt();
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits until it has ended; panics past the deadline.
    pub async fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        self.process.wait_exit(deadline).await
    }
}
