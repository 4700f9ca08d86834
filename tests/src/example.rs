//! The page and backend of an example, as `examples/run` runs it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tokio::sync::OnceCell;

use crate::{
    Log, Process, eventually, free_port,
    program::{self, finish},
};

/// Node.js starts in 0.1 s on an idle machine; a backend first reads what the gateway has.
const START: Duration = Duration::from_secs(30);
/// npm may have to fetch what a build needs.
const BUILD: Duration = Duration::from_mins(3);
static BUILT: OnceCell<()> = OnceCell::const_new();

/// A running example, killed when it is dropped.
#[derive(Debug)]
pub struct Example {
    process: Process,
    name: String,
    gateway: SocketAddr,
    address: SocketAddr,
    settings: Vec<(String, String)>,
    log: Log,
}

impl Example {
    /// Starts the server of `examples/<name>` on a free port, with more environment, and waits until it listens.
    pub async fn start(name: &str, gateway: SocketAddr, settings: &[(&str, &str)]) -> Self {
        if folder(name).join("package.json").exists() {
            BUILT.get_or_init(build).await;
        }
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let settings: Vec<_> = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let log = Log::default();
        let process = spawn(name, gateway, address, &settings, &log);
        let mut example = Self { process, name: name.to_owned(), gateway, address, settings, log };
        example.wait_listening(0).await;
        example
    }

    /// Returns the address on which it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what it has written.
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// Kills it (SIGKILL) and starts it again, on the same port.
    pub async fn kill9_and_start_again(&mut self) {
        self.process.kill9();
        let from = self.log.len();
        self.process = spawn(&self.name, self.gateway, self.address, &self.settings, &self.log);
        self.wait_listening(from).await;
    }

    async fn wait_listening(&mut self, from: usize) {
        let Self { process, name, log, .. } = self;
        eventually(START, &format!("the example {name} to listen"), async || {
            if let Some(status) = process.exit_status() {
                panic!("the example {name} ended while it started ({status}):\n{}", log.tail(50));
            }
            let listens = log.lines().iter().skip(from).any(|line| line.starts_with("open http://"));
            if listens { Ok(()) } else { Err(log.tail(5)) }
        })
        .await;
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log.tail(50);
            #[expect(clippy::print_stderr, reason = "a failed test shows what its example said")]
            {
                eprintln!("--- log of the example {} ---\n{log}\n---", self.name);
            }
        }
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("examples").join(name)
}

/// Builds the pages that are not served as they stand, so that the tests see those of the current sources.
async fn build() {
    let mut command = Command::new(folder("build"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let finished = finish("examples/build", &mut command, BUILD).await;
    assert!(finished.status.success(), "{}{}", finished.stdout, finished.stderr);
}

fn spawn(name: &str, gateway: SocketAddr, address: SocketAddr, settings: &[(String, String)], log: &Log) -> Process {
    let mut command = Command::new("node");
    command
        .arg(folder(name).join("server.js"))
        .env("GATEWAY", format!("http://{gateway}"))
        .env("PORT", address.port().to_string())
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    program::without_settings(&mut command);
    let mut process = Process::spawn("node (Node.js 20 or newer; Debian: apt-get install nodejs)", &mut command, None);
    program::log_stderr(&mut process, log);
    log.follow(process.child().stdout.take().expect("stdout is piped"));
    process
}
