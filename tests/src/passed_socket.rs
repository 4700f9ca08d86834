//! Sockets that a program is started with, as systemd passes them: `sd_listen_fds(3)`.

use std::{
    os::fd::{AsFd, OwnedFd},
    process::{Command, Stdio},
    sync::Arc,
};

/// The child's standard streams become the descriptors that systemd would have chosen, from 3 on. `exec` keeps the
/// process id, which is that of `LISTEN_PID`.
const PASS: &str = r#"exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ exec "$@""#;

/// A socket with the name that its unit would give it.
#[derive(Debug, Clone)]
pub(crate) struct PassedSocket {
    name: String,
    socket: Arc<OwnedFd>,
}

impl PassedSocket {
    pub(crate) fn new(name: &str, socket: OwnedFd) -> Self {
        Self { name: name.to_owned(), socket: Arc::new(socket) }
    }
}

/// Returns a command that passes one or two sockets to this one.
pub(crate) fn passing(sockets: &[PassedSocket], command: &Command) -> Command {
    let stream = |socket: &PassedSocket| {
        Stdio::from(socket.socket.as_fd().try_clone_to_owned().expect("a socket can be shared"))
    };
    let mut passing = Command::new("sh");
    passing.args(["-c", PASS, "sh"]).arg(command.get_program()).args(command.get_args()).stderr(Stdio::piped());
    for (variable, value) in command.get_envs() {
        match value {
            Some(value) => passing.env(variable, value),
            None => passing.env_remove(variable),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        passing.current_dir(folder);
    }
    let [first, rest @ ..] = sockets else { panic!("no socket to pass") };
    passing.stdin(stream(first)).stdout(rest.first().map_or_else(Stdio::piped, stream));
    assert!(rest.len() < 2, "two sockets at most");
    let names: Vec<_> = sockets.iter().map(|socket| socket.name.as_str()).collect();
    passing.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    passing
}
