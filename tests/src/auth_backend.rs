//! A backend that a proxy asks about sessions: one of `examples/forward-auth`.

use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{Log, Process, eventually, free_port, program};

const START: Duration = Duration::from_secs(30);

/// A running backend, killed when it is dropped.
#[derive(Debug)]
pub struct AuthBackend {
    // Held for its end.
    _process: Process,
    address: SocketAddr,
}

impl AuthBackend {
    /// Runs a file of `examples/forward-auth`, in the language of its name, on a free port, and waits until it listens.
    pub async fn start(file: &str) -> Self {
        let interpreter = if Path::new(file).extension().is_some_and(|end| end == "py") { "python3" } else { "node" };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("examples").join("forward-auth").join(file);
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new(interpreter);
        command.arg(path).env("PORT", address.port().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process::spawn(interpreter, &mut command, None);
        let log = Log::default();
        program::log_stderr(&mut process, &log);
        eventually(START, &format!("{file} to listen"), async || {
            let status = process.exit_status();
            assert!(status.is_none(), "{file} ended while it started ({status:?}):\n{}", log.tail(50));
            TcpStream::connect(address).map(drop)
        })
        .await;
        Self { _process: process, address }
    }

    /// Returns where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}
