//! Two gateways behind a proxy with its file in `deploy/`, in which only the addresses are changed.

use std::{net::SocketAddr, path::Path};

use super::{Proxy, ProxyProgram};
use crate::{Folder, free_port};

/// Read when a proxy starts, so that a change of a file needs no build.
const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// Which gateway a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// As the file has it: that of its client's hash.
    Hash,
    /// The next one, as the file says that it could be.
    RoundRobin,
}

impl Balance {
    /// Returns what a line of a file becomes.
    fn line(self, line: &str) -> &str {
        match (self, line.split('#').next().unwrap_or_default().trim()) {
            (Self::RoundRobin, "balance uri depth 2") => "balance roundrobin",
            (Self::RoundRobin, "hash-type consistent" | "hash $reader consistent;") => "",
            (Self::RoundRobin, "lb_policy header X-Postern-Reader") => "lb_policy round_robin",
            _ => line,
        }
    }
}

impl ProxyProgram {
    /// Returns its file.
    pub fn deployed(self) -> String {
        let name = match self {
            Self::Nginx => "nginx.conf",
            Self::Haproxy => "haproxy.cfg",
            Self::Caddy => "Caddyfile",
            Self::Varnish => panic!("deploy/ has no file with which Varnish keeps nothing"),
        };
        deployed(name)
    }
}

/// Returns a file of `deploy/`.
pub(super) fn deployed(name: &str) -> String {
    let path = Path::new(FILES).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

impl Proxy {
    /// Starts a program before two gateways; the file has three.
    pub async fn start_fleet(program: ProxyProgram, gateways: [SocketAddr; 2], balance: Balance) -> Self {
        let (folder, port) = (Folder::new(program.name()), free_port());
        let mut file = String::new();
        for line in program.deployed().lines().filter(|line| !line.trim().starts_with('#')) {
            if line.contains("gateway3:8080") && !line.contains("gateway1:8080") {
                continue;
            }
            let mut line =
                balance.line(line).replace(" gateway3:8080", "").replace("*:8000", &format!("127.0.0.1:{port}"));
            line = line.replace("http://:8000 {", &format!("http://:{port} {{\nbind 127.0.0.1"));
            for (number, gateway) in (1..).zip(gateways) {
                line = line.replace(&format!("gateway{number}:8080"), &gateway.to_string());
            }
            file += &line;
            file.push('\n');
        }
        let command = program.command(&folder, &file, port, 1);
        Self::spawn(program.name(), command, folder, port).await
    }
}
