//! A private nginx with the nchan module: its own configuration, folder and port.

use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::ensure;
use postern_tests::{Folder, Process, children, eventually, free_port};

/// Where Debian puts it (package `libnginx-mod-nchan`).
const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

const START: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(crate) struct Nchan {
    process: Process,
    port: u16,
    _folder: Folder,
}

impl Nchan {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(workers: u32) -> anyhow::Result<Self> {
        ensure!(
            Path::new(MODULE).is_file(),
            "there is no {MODULE}: run `tests/install-needs nchan`, or leave it out with --without-nchan"
        );
        let (folder, port) = (Folder::new("nchan"), free_port());
        let configuration = folder.write("nginx.conf", &configuration(workers, port));
        let mut command = Command::new("nginx");
        command.arg("-c").arg(configuration).arg("-p").arg(folder.path()).stdin(Stdio::null());
        let process = Process::spawn("nginx", &mut command, Some(folder.path()));
        let nchan = Self { process, port, _folder: folder };
        let address = nchan.address();
        eventually(START, "nginx to listen", async || TcpStream::connect(address).map(drop)).await;
        Ok(nchan)
    }

    /// Returns where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, self.port))
    }

    /// Returns the processes that serve clients: the children of that which was started.
    pub(crate) fn workers(&self) -> Vec<u32> {
        children(self.process.id())
    }
}

impl Drop for Nchan {
    /// Lets it end its workers itself, which takes a moment; if it were killed, they would stay.
    fn drop(&mut self) {
        if self.process.exit_status().is_none() {
            self.process.terminate();
        }
        while self.process.exit_status().is_none() {
            std::thread::yield_now();
        }
    }
}

/// As plain as it can be: no log, no time limit in the way of a held poll, everything within the folder.
fn configuration(workers: u32, port: u16) -> String {
    format!(
        "load_module {MODULE};
daemon off;
worker_processes {workers};
worker_rlimit_nofile 20000;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 19900; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location /publish {{
      nchan_publisher; nchan_channel_id $arg_id; nchan_message_buffer_length 1000; nchan_message_timeout 1h;
    }}
    location /watch {{
      nchan_subscriber longpoll eventsource; nchan_channel_id $arg_id; nchan_subscriber_first_message newest;
    }}
  }}
}}
"
    )
}
