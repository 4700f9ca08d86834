//! A shared cache before one or two gateways, with its file in `deploy/`, in which only the addresses are changed.

use std::{net::SocketAddr, process::Command};

use super::{Proxy, ProxyProgram, fleet::deployed};
use crate::{Folder, free_port};

impl ProxyProgram {
    /// Returns its file, with these addresses.
    fn cache_file(self, port: u16, gateways: &[SocketAddr]) -> String {
        let mut file = deployed(match self {
            Self::Nginx => "nginx-cache.conf",
            Self::Varnish => "varnish.vcl",
            Self::Haproxy | Self::Caddy => panic!("deploy/ has no file with which {self:?} keeps answers"),
        });
        if gateways.len() == 1 {
            file = file.split_inclusive('\n').filter(|line| !line.contains("gateway2")).collect();
        }
        for (number, gateway) in (1..).zip(gateways) {
            let host = format!("\"gateway{number}\"; .port = \"8080\"");
            file = file.replace(&host, &format!("\"{}\"; .port = \"{}\"", gateway.ip(), gateway.port()));
            file = file.replace(&format!("gateway{number}:8080"), &gateway.to_string());
        }
        // In the folder of the test.
        file.replace("/var/cache/nginx/postern", "kept").replace("*:8000", &format!("127.0.0.1:{port}"))
    }
}

impl Proxy {
    /// Starts a program that keeps answers.
    pub async fn start_cache(program: ProxyProgram, gateways: &[SocketAddr]) -> Self {
        let (folder, port) = (Folder::new(program.name()), free_port());
        let file = program.cache_file(port, gateways);
        let command = program.command(&folder, &file, port, 1);
        Self::spawn(program.name(), command, folder, port).await
    }

    /// Has Varnish forget all that it keeps.
    pub fn forget_all(&self) {
        let mut command = Command::new("varnishadm");
        command.arg("-n").arg(self.folder.path().join("work")).args(["ban", "obj.status", "!=", "0"]);
        let output = command.output().expect("varnishadm should start");
        assert!(output.status.success(), "{output:?}");
    }
}
