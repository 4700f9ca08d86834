//! A real gateway process.

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    net::SocketAddr,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use serde_json::Value;

use crate::{
    Finished, Folder, Log, Poll, Process, eventually, free_port,
    passed_socket::{PassedSocket, passing},
    program,
    request::Request,
    unique,
};

/// What every JSON Web Token begins with: `{"` in base64url. No test has any other reason to have it logged.
const BEGINNING_OF_TOKENS: &str = "eyJ";

const FEED_TOPICS: &str = "POSTERN_FEED_TOPICS";

/// How long a gateway may take with a store of a million events, on a busy machine, until it listens or is ready: a
/// debug build reads some 15,000 events a second.
pub(crate) const READY: Duration = Duration::from_mins(10);

/// How long it may take with a small one.
const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_secs(30);

/// The flags of a gateway to be started.
#[derive(Debug, Clone, Default)]
pub struct GatewayBuilder {
    flags: Vec<OsString>,
    environment: Vec<(String, OsString)>,
    /// The folder of an embedded broker.
    folder: Option<Arc<Folder>>,
    current: Option<PathBuf>,
    sockets: Vec<PassedSocket>,
    /// Instead of the binary of this build.
    binary: Option<PathBuf>,
}

impl GatewayBuilder {
    /// Uses this RabbitMQ.
    pub fn amqp_url(self, url: &str) -> Self {
        self.flag("--amqp-url", url)
    }

    /// Keeps a feed of all topics, as it does without the harness. See [`Self::start`].
    pub fn with_feed(self) -> Self {
        self.env(FEED_TOPICS, "#")
    }

    /// Uses the embedded broker, in a new folder that outlives restarts and is removed with the gateway.
    pub fn embedded(mut self) -> Self {
        let folder = Folder::new("postern-data");
        // A gateway would make it so, and warns of one that others may look into.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("the folder is the test's own");
        self = self.flag("--data-dir", folder.path());
        self.folder = Some(Arc::new(folder));
        self
    }

    /// Runs another build of the gateway, to compare it with this one.
    pub fn binary(mut self, path: &Path) -> Self {
        self.binary = Some(path.to_owned());
        self
    }

    /// Runs it in this folder, where it looks for everything that its flags do not name in full.
    pub fn current_dir(mut self, folder: &Folder) -> Self {
        self.current = Some(folder.path().to_owned());
        self
    }

    /// Adds a flag and its value. Without `--listen` the gateway gets a free port of loopback.
    pub fn flag(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.flags.extend([name.into(), value.into()]);
        self
    }

    /// Adds a flag that has no value.
    pub fn switch(mut self, name: &str) -> Self {
        self.flags.push(name.into());
        self
    }

    /// Passes a socket that listens, as systemd does, at each start. At most two.
    pub fn socket(mut self, name: &str, socket: impl Into<OwnedFd>) -> Self {
        self.sockets.push(PassedSocket::new(name, socket.into()));
        self
    }

    /// Sets an environment variable. None of the tester's own `AMQP_URL`, `RUST_LOG` and `POSTERN_…` gets through.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Starts the gateway and waits until it listens; panics with its log if it does not.
    ///
    /// Unless told otherwise it keeps no feed to speak of on RabbitMQ: on a broker that tests share, every gateway
    /// would read what all of them published.
    pub async fn start(mut self) -> Gateway {
        if !self.flags.iter().any(|flag| flag == "--listen") {
            self = self.flag("--listen", format!("127.0.0.1:{}", free_port()));
        }
        let log = Log::default();
        let mut process = self.spawn(&log);
        let address = listening(&mut process, &log, 0).await;
        // A port 0 is a port of its own choice now, which it keeps over restarts.
        if let Some(listen) = self.flags.iter().position(|flag| flag == "--listen")
            && self.flags[listen + 1].to_string_lossy().ends_with(":0")
        {
            self.flags[listen + 1] = address.to_string().into();
        }
        Gateway { process, builder: self, log, address }
    }

    /// Starts the gateway, which may also end by itself; then tells how.
    pub async fn try_start(self) -> Result<Gateway, Finished> {
        let log = Log::default();
        let mut process = self.spawn(&log);
        let address = eventually(START, "the gateway to listen or to end", async || match process.exit_status() {
            Some(status) => Ok(Err(status)),
            None => address(&log, 0).map(Ok),
        })
        .await;
        match address {
            Ok(address) => Ok(Gateway { builder: self, process, log, address }),
            Err(status) => {
                // Its last words may still be on their way through the pipe.
                let ended = async || if log.is_complete() { Ok(()) } else { Err("more may come") };
                eventually(START, "the end of the log", ended).await;
                Err(Finished { status, stdout: String::new(), stderr: log.tail(usize::MAX) })
            }
        }
    }

    /// Runs a gateway that is expected to end by itself, such as one with wrong flags.
    pub async fn run(self, deadline: Duration) -> Finished {
        program::finish("the gateway", &mut self.command(), deadline).await
    }

    fn command(&self) -> std::process::Command {
        let mut command = match &self.binary {
            Some(path) => program::program_at(path),
            None => program::program("gateway"),
        };
        let names_broker = self.flags.iter().any(|flag| flag == "--amqp-url")
            || self.environment.iter().any(|(name, value)| name == "AMQP_URL" && !value.is_empty());
        if names_broker {
            command.env(FEED_TOPICS, "no.feed");
        }
        command.args(&self.flags).envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.current {
            command.current_dir(folder);
        }
        if self.sockets.is_empty() { command } else { passing(&self.sockets, &command) }
    }

    fn spawn(&self, log: &Log) -> Process {
        let folder = self.folder.as_ref().map(|folder| folder.path());
        let mut process = Process::spawn("the gateway", &mut self.command(), folder);
        program::log_stderr(&mut process, log);
        process
    }
}

/// A running gateway, killed when it is dropped. Its log is shown when the test fails.
#[derive(Debug)]
pub struct Gateway {
    // In this order: the process ends before its folder goes.
    process: Process,
    builder: GatewayBuilder,
    log: Log,
    address: SocketAddr,
}

impl Gateway {
    /// Describes a gateway to be started.
    pub fn builder() -> GatewayBuilder {
        GatewayBuilder::default()
    }

    /// Returns the address on which it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the process, to freeze it or to read its memory.
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Returns what it has logged, over all its restarts.
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// Kills it (SIGKILL) and returns when it is gone.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Asks it to drain and end (SIGTERM).
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// Tells it that its terminal has closed (SIGHUP).
    pub fn hang_up(&self) {
        self.process.hang_up();
    }

    /// Waits until it has ended; panics past the deadline.
    pub async fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        self.process.wait_exit(deadline).await
    }

    /// Starts an ended gateway again, with the same flags and on the same port.
    pub async fn start_again(&mut self) {
        assert!(self.process.exit_status().is_some(), "the gateway still runs: terminate it or kill it first");
        let from = self.log.len();
        self.process = self.builder.spawn(&self.log);
        self.address = listening(&mut self.process, &self.log, from).await;
    }

    /// Ends it in order and starts it again.
    pub async fn restart(&mut self) {
        self.terminate();
        self.wait_exit(STOP).await;
        self.start_again().await;
    }

    /// Waits until mailboxes and feeds can be read.
    pub async fn wait_ready(&self) {
        self.wait_answer("/ready?feeds", 200, START).await;
    }

    /// Waits until mailboxes can be read. Feeds stay out of reach if RabbitMQ was killed within three minutes of the
    /// making of its first stream: it writes only then to its disk that it has any.
    pub async fn wait_mailboxes(&self) {
        self.wait_answer("/ready", 200, START).await;
    }

    /// Waits until a GET of a path is answered with this status.
    pub async fn wait_answer(&self, path: &str, status: u16, deadline: Duration) {
        eventually(deadline, &format!("GET {path} to answer {status}"), async || {
            let answer = Request::get(path).send(self.address).await;
            if answer.status == status { Ok(()) } else { Err(answer) }
        })
        .await;
    }

    /// Makes a mailbox, publishes to it, and reads it; returns the client.
    pub async fn carries_an_event(&self) -> String {
        let (client, topic) = (unique("alice"), unique("jobs"));
        let poll = Poll::of(&client).topics(&topic);
        poll.clone().wait(0).send(self).await.expect_status(204);
        let publish = Request::publish(&topic, "application/json", r#"{"n":1}"#);
        publish.send(self.address).await.expect_status(202);
        assert_eq!(poll.wait(20).send(self).await.batch().numbers("n"), [1]);
        client
    }

    /// Waits for a log line with this message and returns its fields.
    pub async fn wait_logged(&self, message: &str, deadline: Duration) -> Value {
        let what = format!("the log line {message:?}");
        eventually(deadline, &what, async || self.log.fields(0, message).ok_or("not logged")).await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log.tail(200);
            #[expect(clippy::print_stderr, reason = "a failed test shows what its gateway said")]
            {
                eprintln!("--- log of the gateway at {} ---\n{log}\n---", self.address);
            }
            return;
        }
        let told = self.log.lines().into_iter().find(|line| line.contains(BEGINNING_OF_TOKENS));
        assert!(told.is_none(), "the gateway has logged a token: {told:?}");
    }
}

/// Waits for the line in which a gateway says where it listens: `{"message":"listening","address":"…, …"}`.
async fn listening(process: &mut Process, log: &Log, from: usize) -> SocketAddr {
    eventually(READY, "the gateway to listen", async || {
        if let Some(status) = process.exit_status() {
            panic!("the gateway ended while it started ({status}):\n{}", log.tail(50));
        }
        address(log, from)
    })
    .await
}

fn address(log: &Log, from: usize) -> Result<SocketAddr, String> {
    let fields = log.fields(from, "listening").ok_or_else(|| log.tail(5))?;
    // Of several listeners the first one that is no socket file.
    let mut addresses = fields.get("address").and_then(Value::as_str).unwrap_or_default().split(", ");
    addresses.find_map(|address| address.parse().ok()).ok_or_else(|| format!("no address in {fields}"))
}
