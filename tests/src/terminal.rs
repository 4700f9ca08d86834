//! A terminal into which a reader types the commands of a page.

use std::{
    fs::{Permissions, set_permissions},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use crate::{
    Finished, Folder, Process, free_port,
    program::{finish, finish_process, path, without_settings},
    readme::DEADLINE,
};

/// The address that the pages name.
const ADDRESS: &str = "127.0.0.1:8080";

/// Stands in for cargo, which would build for minutes: runs the program that the tests have built.
const CARGO: &str = r#"#!/bin/sh
[ "$1 $2 $3" = "run --release -p" ] || { echo "this stands in for cargo run --release -p, and not for: cargo $*" >&2; exit 97; }
program=$4
shift 4
[ "${1-}" != -- ] || shift
exec "$PROGRAMS/$program" "$@"
"#;

/// See the module. Its commands have a folder of their own, and a port of their own where the pages name 8080.
#[derive(Debug)]
pub struct Terminal {
    folder: Folder,
    address: SocketAddr,
}

impl Terminal {
    /// Opens one.
    pub fn open() -> Self {
        let folder = Folder::new("terminal");
        let cargo = folder.write("cargo", CARGO);
        set_permissions(&cargo, Permissions::from_mode(0o755)).expect("a file of ours");
        Self { folder, address: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())) }
    }

    /// Returns where its gateway listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts a command, which goes on until it is dropped.
    pub fn start(&self, command: &str) -> Process {
        Process::spawn(command, &mut self.typed(command, Stdio::null()), None)
    }

    /// Starts a command that ends; see [`Self::finish`].
    pub fn begin(&self, command: &str) -> Process {
        Process::spawn(command, &mut self.typed(command, Stdio::piped()), None)
    }

    /// Waits for the end of a command that was begun; panics unless it succeeds.
    pub async fn finish(&self, begun: Process) -> Finished {
        Self::succeeded(finish_process(begun, DEADLINE).await)
    }

    /// Runs a command to its end; panics unless it succeeds.
    pub async fn run(&self, command: &str) -> Finished {
        Self::succeeded(finish(command, &mut self.typed(command, Stdio::piped()), DEADLINE).await)
    }

    fn succeeded(finished: Finished) -> Finished {
        assert!(finished.status.success(), "{finished:?}");
        finished
    }

    fn typed(&self, command: &str, out: Stdio) -> Command {
        let programs = path("gateway").parent().expect("a program lies in a folder").to_owned();
        let searched = std::env::var_os("PATH").unwrap_or_default();
        let searched = [self.folder.path().as_os_str(), programs.as_os_str(), &searched].join(":".as_ref());
        // A shell with one command becomes that command, which then is the process that is ended.
        let mut shell = Command::new("bash");
        shell.arg("-c").arg(command.replace(ADDRESS, &self.address.to_string())).current_dir(self.folder.path());
        without_settings(&mut shell);
        shell.env("PATH", searched).env("PROGRAMS", programs);
        shell
            .env("POSTERN_LISTEN", self.address.to_string())
            .env("POSTERN_GATEWAY", format!("http://{}", self.address));
        shell.stdin(Stdio::null()).stdout(out).stderr(Stdio::piped());
        shell
    }
}
