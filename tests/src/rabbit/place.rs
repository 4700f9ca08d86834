//! Where a RabbitMQ node lives, and how its programs are told so.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{Folder, Log, Process, free_port, program, unique};

/// Where Debian keeps the scripts themselves; those on its PATH want to run as another user.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";

/// Names the folder with the programs of another RabbitMQ, which every node then runs.
const PROGRAMS: &str = "POSTERN_TEST_RABBITMQ";

/// What to do when there is no RabbitMQ, or none that starts.
pub(super) const HOW_TO_GET_IT: &str = "install it (Debian: apt-get install rabbitmq-server, as tests/run does), \
                                        or set AMQP_URL for the tests that need no node of their own";

/// Nodes that know the same secret may join each other.
const COOKIE: &str = ".erlang.cookie";

/// What stays the same over a node's restarts.
#[derive(Debug)]
pub(super) struct Place {
    folder: Folder,
    /// The node's name in Erlang.
    pub(super) name: String,
    /// Where clients connect.
    pub(super) amqp_port: u16,
    pub(super) epmd_port: u16,
    distribution_port: u16,
}

impl Place {
    /// Prepares a folder, with these lines added to the node's configuration, and picks ports.
    pub(super) fn new(settings: &[&str]) -> Self {
        assert!(installed("rabbitmq-server") && installed("epmd"), "there is no RabbitMQ: {HOW_TO_GET_IT}");
        let place = Self {
            folder: Folder::new("postern-rabbitmq"),
            name: format!("{}@localhost", unique("postern")),
            amqp_port: free_port(),
            epmd_port: free_port(),
            distribution_port: free_port(),
        };
        place.furnish(settings);
        place
    }

    /// Prepares a place for another node that shares this one's port mapper and may join it.
    pub(super) fn beside(other: &Self, settings: &[&str]) -> Self {
        let place = Self {
            folder: Folder::new("postern-rabbitmq"),
            name: format!("{}@localhost", unique("postern")),
            amqp_port: free_port(),
            epmd_port: other.epmd_port,
            distribution_port: free_port(),
        };
        let cookie =
            std::fs::read(other.folder.path().join(COOKIE)).expect("a node that has started should have a cookie");
        let path = place.folder.path().join(COOKIE);
        std::fs::write(&path, cookie).expect("a cookie should be written");
        // Erlang refuses a cookie that others may read.
        std::fs::set_permissions(&path, Permissions::from_mode(0o400)).expect("a cookie should be made private");
        place.furnish(settings);
        place
    }

    fn furnish(&self, settings: &[&str]) {
        let place = self;
        place.folder.write("enabled_plugins", "[].\n");
        let base = format!(
            "listeners.tcp.local = 127.0.0.1:{}\nlog.console = true\nlog.file = false\ndisk_free_limit.absolute = 50MB\n",
            place.amqp_port
        );
        place.folder.write("rabbitmq.conf", &(base + &settings.join("\n") + "\n"));
    }

    /// Returns the command for the port mapper, which lets the command line tool find the node.
    pub(super) fn epmd(&self) -> Command {
        let mut command = Command::new(program_path("epmd"));
        command.args(["-address", "127.0.0.1", "-port", &self.epmd_port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts the server, which writes into this log.
    pub(super) fn server(&self, log: &Log) -> Process {
        let mut command = self.command("rabbitmq-server");
        let mut process = Process::spawn("rabbitmq-server", &mut command, Some(self.folder.path()));
        program::log_stderr(&mut process, log);
        log.follow(process.child().stdout.take().expect("stdout is piped"));
        process
    }

    /// Returns a command for one of RabbitMQ's scripts, told that it belongs to this node.
    pub(super) fn command(&self, script: &str) -> Command {
        let mut command = Command::new(program_path(script));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("RABBITMQ_") {
                command.env_remove(&variable);
            }
        }
        let folder = self.folder.path();
        command
            .current_dir(folder)
            // Erlang keeps the cookie at home.
            .env("HOME", folder)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", folder.join("data"))
            .env("RABBITMQ_LOG_BASE", folder.join("log"))
            .env("RABBITMQ_PID_FILE", folder.join("pid"))
            // "Allow input" makes the script exec the machine; "no input" keeps that from opening an Erlang shell.
            .env("RABBITMQ_ALLOW_INPUT", "true")
            .env("RABBITMQ_SERVER_START_ARGS", "-noinput")
            // One scheduler that does not spin: many nodes and compilers share few cores here.
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// Returns where a program is, or its bare name if the PATH has to tell.
fn program_path(program: &str) -> PathBuf {
    let folder = programs().unwrap_or_else(|| SCRIPTS.into());
    let path = folder.join(program);
    if path.is_file() { path } else { program.into() }
}

/// Tells whether a program is where [`Place::command`] looks for it. The programs of another RabbitMQ have to be in
/// its folder: a test that took the system's instead would pass and say nothing.
fn installed(program: &str) -> bool {
    if let Some(folder) = programs() {
        return folder.join(program).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain([SCRIPTS.into()]).any(|folder| folder.join(program).is_file())
}

/// Returns the folder of another RabbitMQ's programs, if one was asked for.
pub(super) fn programs() -> Option<PathBuf> {
    std::env::var_os(PROGRAMS).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}
