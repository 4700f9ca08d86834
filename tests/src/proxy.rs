//! The proxies of `docs/src/proxies.md`, run with the blocks of that page, or with the files of `deploy/`; `spread` has one
//! before any number of gateways.

mod cache;
mod fleet;
mod spread;

pub use self::{fleet::Balance, spread::Spread};

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tokio::time::Instant;

use crate::{Folder, Log, Process, eventually, free_port, program};

/// Read when a proxy starts, so that a change of the page needs no build.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/proxies.md");

/// Where a block asks a backend.
const ASKS: &str = "/authorize";

/// Varnish compiles its configuration first.
const START: Duration = Duration::from_secs(30);

/// How long it has to end before it is killed.
const END: Duration = Duration::from_secs(10);

/// The page relies on the defaults of these parameters of Varnish.
const VARNISH_TIMEOUTS: [&str; 2] = ["pipe_timeout", "backend_idle_timeout"];

/// How many requests may wait for a thread. Varnish closes the connections of more than these, 20 by default, and an event has
/// all that wait for it come back at once. `deploy/varnish.vcl` names it.
const VARNISH_CROWD: &str = "thread_queue_limit=20000";

/// A program of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProgram {
    /// nginx.
    Nginx,
    /// `HAProxy`.
    Haproxy,
    /// Caddy.
    Caddy,
    /// Varnish.
    Varnish,
}

/// A running proxy in front of a gateway. Its log is shown when the test fails.
#[derive(Debug)]
pub struct Proxy {
    // In this order: the process ends before its folder goes.
    process: Process,
    name: &'static str,
    log: Log,
    address: SocketAddr,
    folder: Folder,
}

impl Proxy {
    /// Starts a program with the page's block, in which the ports are changed and every time is divided.
    pub async fn start(program: ProxyProgram, gateway: SocketAddr, divisor: u32) -> Self {
        let folder = Folder::new(program.name());
        let port = free_port();
        let block = faster(&with_ports(&program.block(), port, gateway.port()), divisor);
        let command = program.command(&folder, &block, port, divisor);
        Self::spawn(program.name(), command, folder, port).await
    }

    /// Starts a program with a block of its language that asks a backend: that of the page with this line left out, if
    /// one is named.
    pub async fn start_asking(
        program: ProxyProgram,
        gateway: SocketAddr,
        backend: SocketAddr,
        left_out: Option<&str>,
    ) -> Self {
        let folder = Folder::new(program.name());
        let (port, mut block) = (free_port(), program.asking_block());
        if let Some(line) = left_out {
            let lines: Vec<_> = block.lines().filter(|other| other.trim() != line).collect();
            assert!(lines.len() < block.lines().count(), "no {line:?} in:\n{block}");
            block = lines.join("\n") + "\n";
        }
        // With the colon none of them can be a part of another.
        for (from, to) in [(":8000", port), (":8080", gateway.port()), (":9000", backend.port())] {
            block = block.replace(from, &format!(":{to}"));
        }
        let command = program.command(&folder, &block, port, 1);
        Self::spawn(program.name(), command, folder, port).await
    }

    /// Returns where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the process, to read what it uses.
    pub const fn process(&self) -> &Process {
        &self.process
    }

    async fn spawn(name: &'static str, mut command: Command, folder: Folder, port: u16) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process::spawn(name, &mut command, Some(folder.path()));
        let log = Log::default();
        program::log_stderr(&mut process, &log);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        eventually(START, &format!("{name} to listen"), async || {
            let status = process.exit_status();
            assert!(status.is_none(), "{name} ended while it started ({status:?}):\n{}", log.tail(50));
            TcpStream::connect(address).map(drop)
        })
        .await;
        Self { process, name, log, address, folder }
    }
}

impl Drop for Proxy {
    /// Lets it end its children itself, as long as that takes no longer than it should; if it were killed, they could
    /// stay.
    fn drop(&mut self) {
        if self.process.exit_status().is_none() {
            self.process.terminate();
        }
        let asked = Instant::now();
        while self.process.exit_status().is_none() && asked.elapsed() < END {
            std::thread::yield_now();
        }
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "a failed test shows what its proxy said")]
            {
                eprintln!("--- log of {} ---\n{}\n---", self.name, self.log.tail(50));
            }
        }
    }
}

impl ProxyProgram {
    const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
            Self::Varnish => "varnishd",
        }
    }

    /// Returns the page's block in its language that asks no backend.
    fn block(self) -> String {
        self.only_block(|block| !block.contains(ASKS))
    }

    /// Returns the one that does.
    fn asking_block(self) -> String {
        self.only_block(|block| block.contains(ASKS))
    }

    fn only_block(self, is_meant: impl Fn(&str) -> bool) -> String {
        let language = match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddyfile",
            Self::Varnish => "vcl",
        };
        let page = std::fs::read_to_string(PAGE).unwrap_or_else(|e| panic!("cannot read {PAGE}: {e}"));
        let opening = format!("\n```{language}\n");
        let blocks = page.split(&opening).skip(1).filter_map(|rest| Some(rest.split_once("```\n")?.0));
        let blocks: Vec<_> = blocks.filter(|block| is_meant(block)).collect();
        let [block] = blocks[..] else { panic!("{} blocks of {language} in docs/src/proxies.md", blocks.len()) };
        block.to_owned()
    }

    fn command(self, folder: &Folder, block: &str, port: u16, divisor: u32) -> Command {
        // A person's PATH has no sbin on Debian.
        let sbin = Path::new("/usr/sbin").join(self.name());
        let mut command = Command::new(if sbin.is_file() { sbin.as_path() } else { Path::new(self.name()) });
        match self {
            Self::Nginx => {
                // One process: a worker would outlive a master that is killed.
                let around = "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr warn;\nevents { worker_connections 20000; }\nhttp {\n\
                              access_log off;\nclient_body_temp_path body;\nproxy_temp_path proxy;\n\
                              fastcgi_temp_path fastcgi;\nuwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\n";
                let file = folder.write("nginx.conf", &format!("{around}{block}}}\n"));
                command.args(["-e", "stderr", "-p"]).arg(folder.path()).arg("-c").arg(file);
            }
            Self::Haproxy => {
                command.arg("-db").arg("-f").arg(folder.write("haproxy.cfg", block));
            }
            Self::Caddy => {
                // Its port for administration is the same for every Caddy of the machine.
                let file = folder.write("Caddyfile", &format!("{{\n    admin off\n}}\n{block}"));
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
                for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
                    command.env(variable, folder.path());
                }
            }
            Self::Varnish => {
                // Without a jail: that of root hands the folder to a user of its own.
                command.args(["-F", "-j", "none", "-s", "malloc,16m", "-a", &format!("127.0.0.1:{port}")]);
                for parameter in VARNISH_TIMEOUTS {
                    let timeout = varnish_default_s(&command, parameter) / f64::from(divisor);
                    command.args(["-p", &format!("{parameter}={timeout}")]);
                }
                command.args(["-p", VARNISH_CROWD]);
                let file = folder.write("postern.vcl", block);
                command.arg("-n").arg(folder.path().join("work")).arg("-f").arg(file);
            }
        }
        command
    }
}

/// Returns the default of a parameter of Varnish, in seconds, from what varnishd itself says about it.
fn varnish_default_s(varnishd: &Command, parameter: &str) -> f64 {
    let output =
        Command::new(varnishd.get_program()).args(["-x", "parameter"]).output().expect("varnishd should start");
    let text = String::from_utf8_lossy(&output.stdout);
    let about = text.split_once(&format!("\n{parameter}\n")).map(|(_, about)| about);
    let default = about.and_then(|about| about.split_once("Default: ")?.1.lines().next()?.parse().ok());
    default.unwrap_or_else(|| panic!("no default of {parameter} in:\n{text}"))
}

/// Returns a block for these ports.
fn with_ports(block: &str, proxy: u16, gateway: u16) -> String {
    assert!(block.contains("8080"), "no port of the gateway in:\n{block}");
    // Both at once: a free port may itself contain the digits of the other.
    let parts: Vec<_> = block.split("8080").map(|part| part.replace("8000", &proxy.to_string())).collect();
    parts.join(&gateway.to_string())
}

/// Returns a block in which each word that is a number of seconds, such as `60s`, is divided.
fn faster(block: &str, divisor: u32) -> String {
    let divided = |piece: &str| {
        let word = piece.trim_end().trim_end_matches(';');
        match word.strip_suffix('s').and_then(|seconds| seconds.parse::<u32>().ok()) {
            Some(seconds) => {
                assert_eq!(seconds % divisor, 0, "{word} is no multiple of {divisor} seconds in:\n{block}");
                piece.replacen(word, &format!("{}s", seconds / divisor), 1)
            }
            None => piece.to_owned(),
        }
    };
    block.split_inclusive(char::is_whitespace).map(divided).collect()
}
