//! Postern's own binaries.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use crate::{Log, Process};

/// How a program ended and what it wrote.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Returns a command for a binary of this workspace, without any setting of the person who runs the tests.
pub(crate) fn program(name: &str) -> Command {
    program_at(&path(name))
}

/// The same for a binary that lies elsewhere.
pub(crate) fn program_at(path: &Path) -> Command {
    // nohup(1) is one: SIGHUP would be ignored.
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP").arg(path);
    without_settings(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Keeps every setting of the person who runs the tests from a command.
pub(crate) fn without_settings(command: &mut Command) {
    for (variable, _) in std::env::vars_os() {
        let text = variable.to_string_lossy();
        if text == "AMQP_URL" || text == "RUST_LOG" || text.starts_with("POSTERN_") {
            command.env_remove(&variable);
        }
    }
}

/// Runs a command to its end; panics past the deadline.
pub(crate) async fn finish(name: &str, command: &mut Command, deadline: Duration) -> Finished {
    finish_process(Process::spawn(name, command, None), deadline).await
}

/// Waits for the end of a process whose output streams are piped.
pub(crate) async fn finish_process(mut process: Process, deadline: Duration) -> Finished {
    let (out, err) = read_streams(&mut process);
    let status = process.wait_exit(deadline).await;
    // The process is gone, so the readers are at their ends or about to be.
    let text = |reader: std::thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&reader.join().expect("a reader does not panic")).into_owned()
    };
    Finished { status, stdout: text(out), stderr: text(err) }
}

/// Starts to log the standard error of a process.
pub(crate) fn log_stderr(process: &mut Process, log: &Log) {
    log.follow(process.child().stderr.take().expect("stderr is piped"));
}

fn read_streams(process: &mut Process) -> (std::thread::JoinHandle<Vec<u8>>, std::thread::JoinHandle<Vec<u8>>) {
    fn to_end(mut stream: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What came before an error is still worth showing.
            let _ = stream.read_to_end(&mut bytes);
            bytes
        })
    }
    let child = process.child();
    let (out, err) = (child.stdout.take().expect("stdout is piped"), child.stderr.take().expect("stderr is piped"));
    (to_end(out), to_end(err))
}

/// Finds a binary of the same profile: `target/<profile>/<name>`, beside `target/<profile>/deps/it-…` or a program.
pub(crate) fn path(name: &str) -> PathBuf {
    let running = std::env::current_exe().expect("a program knows its own path");
    let profile =
        running.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).expect("a program lies in a folder");
    let path = profile.join(name);
    assert!(path.is_file(), "there is no {}: run tests/run, or `cargo build --workspace` first", path.display());
    path
}
