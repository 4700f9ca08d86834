//! A proxy before several gateways, which asks them whether they are ready.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use super::{Proxy, ProxyProgram};
use crate::{Folder, Request, eventually, free_port};

/// Answered with 200 while all gateways are in use.
const ALL_UP: &str = "/all-gateways-are-up";

/// How long a gateway that is ready may take to be in use.
const NOTICE: Duration = Duration::from_secs(30);

/// Which gateway gets a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// The next one.
    RoundRobin,
    /// One client's requests go to the same one, as long as it is up.
    ByClient,
}

impl Proxy {
    /// Starts nginx or `HAProxy` before these gateways; returns when it uses all of them.
    ///
    /// `HAProxy` asks them whether they are ready. A request that a gateway did not take, because it ends, goes to another
    /// one.
    pub async fn of_fleet(program: ProxyProgram, gateways: &[SocketAddr], spread: Spread) -> Self {
        let (folder, port) = (Folder::new(program.name()), free_port());
        let block = match program {
            ProxyProgram::Haproxy => haproxy(port, gateways, spread),
            ProxyProgram::Nginx => nginx(port, gateways, spread),
            ProxyProgram::Caddy | ProxyProgram::Varnish => panic!("{program:?} is not set up for a fleet"),
        };
        let command = program.command(&folder, &block, port, 1);
        let proxy = Self::spawn(program.name(), command, folder, port).await;
        proxy.wait_all_up().await;
        proxy
    }

    /// Waits until requests go to all gateways.
    pub async fn wait_all_up(&self) {
        eventually(NOTICE, "all gateways to be in use", async || {
            let answer = Request::get(ALL_UP).send(self.address()).await;
            if answer.status == 200 { Ok(()) } else { Err(answer.status) }
        })
        .await;
    }
}

fn haproxy(port: u16, gateways: &[SocketAddr], spread: Spread) -> String {
    let balance = match spread {
        Spread::RoundRobin => "balance roundrobin",
        Spread::ByClient => "balance uri depth 2\n    hash-type consistent",
    };
    let mut block = format!(
        "defaults
    mode http
    option forwardfor
    option abortonclose
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response 503
    timeout connect 5s
    timeout client 60s
    timeout server 70s

frontend web
    bind 127.0.0.1:{port}
    monitor-uri {ALL_UP}
    monitor fail if {{ nbsrv(postern) lt {count} }}
    http-request set-header X-Request-Id %[uuid]
    default_backend postern

backend postern
    {balance}
    option httpchk GET /ready
    http-request disable-l7-retry unless METH_GET
    default-server check inter 200ms fall 2 rise 1
",
        count = gateways.len()
    );
    for (number, gateway) in gateways.iter().enumerate() {
        let _ = writeln!(block, "    server gateway{number} {gateway}");
    }
    block
}

fn nginx(port: u16, gateways: &[SocketAddr], spread: Spread) -> String {
    let hash = match spread {
        Spread::RoundRobin => "",
        Spread::ByClient => "    hash $reader consistent;\n",
    };
    let mut block = format!(
        "map $uri $reader {{
    ~^/clients/(?<id>[^/]+) $id;
    default $request_id;
}}
upstream postern {{
{hash}"
    );
    for gateway in gateways {
        let _ = writeln!(block, "    server {gateway};");
    }
    let _ = write!(
        block,
        "    keepalive 512;
}}
server {{
    listen 127.0.0.1:{port} backlog=4096;
    keepalive_requests 1000000;
    location / {{
        proxy_pass http://postern;
        proxy_set_header Host $http_host;
        proxy_http_version 1.1;
        proxy_set_header Connection \"\";
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Request-Id $request_id;
        proxy_read_timeout 70s;
        proxy_buffering off;
    }}
    location = {ALL_UP} {{
        return 200;
    }}
}}
"
    );
    block
}
