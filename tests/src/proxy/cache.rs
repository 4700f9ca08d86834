//! A shared cache before one or two gateways, with its file in `deploy/`, in which only the addresses are changed.

use std::{fmt::Write as _, fs, net::SocketAddr, path::Path, process::Command};

use super::{Proxy, ProxyProgram, fleet::deployed};
use crate::{Folder, Request, children, cpu_seconds, free_port};

/// The host under which nginx tells what it has counted; a client that names another one comes to the cache.
const COUNTS: &str = "counts.test";

/// Where nginx keeps answers, in the folder of a test.
const KEPT: &str = "kept";

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
        file.replace("/var/cache/nginx/postern", KEPT).replace("*:8000", &format!("127.0.0.1:{port}"))
    }
}

impl Proxy {
    /// Starts a program that keeps answers.
    pub async fn start_cache(program: ProxyProgram, gateways: &[SocketAddr]) -> Self {
        let (folder, port) = (Folder::new(program.name()), free_port());
        let mut file = program.cache_file(port, gateways);
        if program == ProxyProgram::Nginx {
            let counts = "location / { access_log off; stub_status; }";
            // Writing to a string cannot fail.
            let _ = writeln!(file, "server {{ listen 127.0.0.1:{port}; server_name {COUNTS}; {counts} }}");
        }
        let command = program.command(&folder, &file, port, 1);
        Self::spawn(program.name(), command, folder, port).await
    }

    /// Returns how many requests it has taken, by its own count. nginx counts this question, too.
    pub async fn requests(&self) -> u64 {
        if self.name == ProxyProgram::Nginx.name() {
            let text = Request::get("/").header("host", COUNTS).send(self.address).await.expect_status(200).text();
            // Three numbers: connections that were accepted, those that were handled, and requests.
            let numbers = text.split_once("requests").map(|(_, numbers)| numbers.split_whitespace());
            let requests = numbers.and_then(|mut numbers| numbers.nth(2)?.parse().ok());
            return requests.unwrap_or_else(|| panic!("no number of requests in {text:?}"));
        }
        // It counts a request again that it wakes.
        let [begun, woken] = ["MAIN.client_req", "MAIN.busy_wakeup"].map(|counter| self.varnish_counter(counter));
        begun.saturating_sub(woken)
    }

    fn varnish_counter(&self, counter: &str) -> u64 {
        let mut command = Command::new("varnishstat");
        command.arg("-n").arg(self.folder.path().join("work")).args(["-1", "-f", counter]);
        let output = command.output().expect("varnishstat should start");
        let text = String::from_utf8_lossy(&output.stdout);
        // Its name, the number, and what it means.
        let number = text.split_whitespace().nth(1).and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("no {counter}: {output:?}"))
    }

    /// Returns the CPU seconds that it has used, with its children.
    pub fn cpu_seconds(&self) -> f64 {
        let id = self.process.id();
        std::iter::once(id).chain(children(id)).filter_map(cpu_seconds).sum()
    }

    /// Has it forget all that it keeps.
    pub fn forget_all(&self) {
        if self.name == ProxyProgram::Nginx.name() {
            return forget_files(&self.folder.path().join(KEPT));
        }
        let mut command = Command::new("varnishadm");
        command.arg("-n").arg(self.folder.path().join("work")).args(["ban", "obj.status", "!=", "0"]);
        let output = command.output().expect("varnishadm should start");
        assert!(output.status.success(), "{output:?}");
    }
}

/// Removes what nginx keeps, which it then takes for something that it never had. What it is writing has another name.
fn forget_files(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            forget_files(&path);
        } else if name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            // nginx may have removed it itself.
            let _ = fs::remove_file(path);
        }
    }
}
