//! Under systemd: sockets that outlive the gateway, and what it tells of itself. Here a test plays systemd.
//!
//! What systemd sees is the same for both brokers, so one is enough: the embedded one.

use std::{
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use postern_tests::{Authority, Folder, Gateway, GatewayBuilder, HttpConnection, Poll, Request, eventually, unique};
use tokio::{net::UnixDatagram, time::timeout};

const SOON: Duration = Duration::from_secs(20);

/// How many units of exposure `systemd-analyze security` may find, of 100: "OK" ends at 20.
const MAX_EXPOSURE: &str = "15";

/// A gateway that a test has passed a socket to, at this address.
async fn activated(flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> (TcpListener, SocketAddr, Gateway) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let builder = Gateway::builder().embedded().socket("http", socket.try_clone().unwrap());
    let gateway = flags(builder.flag("--listen", "systemd:http")).start().await;
    assert_eq!(gateway.address(), address);
    (socket, address, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_refuses_no_connection() {
    const CLIENTS: usize = 4;
    const RESTARTS: usize = 3;
    let (_socket, address, mut gateway) = activated(|builder| builder).await;
    let (is_over, published, topic) = (AtomicBool::new(false), AtomicU32::new(0), unique("jobs"));
    let publishing = async || {
        while !is_over.load(Ordering::Relaxed) {
            // A connection for each, which fails if it is refused or hung up on.
            Request::publish(&topic, "text/plain", "one").send(address).await.expect_status(202);
            published.fetch_add(1, Ordering::Relaxed);
        }
    };
    let restarting = async {
        for _ in 0..RESTARTS {
            let mut held = Poll::of(&unique("alice")).topics("nothing.comes").wait(50).hold(&gateway).await;
            let before = published.load(Ordering::Relaxed);
            eventually(SOON, "events from all clients", async || {
                let more = published.load(Ordering::Relaxed) - before;
                if more as usize > 5 * CLIENTS { Ok(()) } else { Err(more) }
            })
            .await;
            gateway.restart().await;
            let answer = held.answer().await.expect_status(204);
            assert_eq!(answer.header("connection"), Some("close"));
        }
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(restarting, publishing(), publishing(), publishing(), publishing());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_come_while_it_ends_wait_for_the_next_one() {
    let (_socket, address, mut gateway) = activated(|builder| builder).await;
    // Holds up the end.
    let mut post = HttpConnection::open(address).await;
    post.send(
        b"POST /topics/jobs/events HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n",
    )
    .await;
    assert_eq!(post.head().await.status, 100);
    gateway.terminate();
    gateway.wait_logged("shutting down", SOON).await;
    let mut waiting = Poll::of(&unique("alice")).topics("jobs").wait(0).hold(&gateway).await;
    assert!(waiting.is_silent(Duration::from_millis(500)).await, "it is left to the next gateway");
    post.send(b"one").await;
    post.answer().await.expect_status(202);
    post.close().await;
    assert_eq!(gateway.wait_exit(SOON).await.code(), Some(0));
    assert!(waiting.is_silent(Duration::from_millis(100)).await);
    gateway.start_again().await;
    waiting.answer().await.expect_status(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_told_apart_by_their_names() {
    let folder = Folder::new("sockets");
    let path = folder.path().join("clients.sock");
    let clients = UnixListener::bind(&path).unwrap();
    let operators = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = operators.local_addr().unwrap();
    let builder = Gateway::builder().embedded().socket("clients", clients).socket("operators", operators);
    let builder = builder.flag("--listen", "systemd,127.0.0.1:0").flag("--admin-listen", "systemd:operators");
    let mut gateway = builder.start().await;
    let said = gateway.wait_logged("listening", SOON).await;
    assert_eq!(said["address"], format!("unix:{}, {}", path.display(), gateway.address()));
    assert_eq!(said["admin"], admin.to_string());
    Request::get("/metrics").send(admin).await.expect_status(200);
    let mut client = HttpConnection::open_unix(&path).await;
    client.request(&Request::get("/metrics")).await.problem(404);
    let poll = Poll::of(&unique("alice")).topics("jobs").wait(0);
    poll.send_on(&mut client).await.expect_status(204);
    gateway.terminate();
    assert_eq!(gateway.wait_exit(SOON).await.code(), Some(0));
    assert!(path.exists(), "the file is systemd's");

    let open = TcpListener::bind("0.0.0.0:0").unwrap();
    for (flags, code, reason) in [
        (["--listen", "systemd:http"], Some(64), "--listen systemd:http: systemd has passed no such socket"),
        (["--listen", "systemd"], Some(64), "can be reached from other machines"),
    ] {
        let builder = Gateway::builder().embedded().socket("open", open.try_clone().unwrap());
        let finished = builder.flag(flags[0], flags[1]).run(SOON).await;
        assert_eq!(finished.status.code(), code, "{finished:?}");
        assert!(finished.stderr.contains(reason), "{finished:?}");
    }
    let finished = Gateway::builder().embedded().flag("--listen", "systemd").run(SOON).await;
    assert_eq!(finished.status.code(), Some(64), "{finished:?}");
}

/// The socket at which systemd hears of a process.
struct NotifySocket {
    folder: Folder,
    socket: UnixDatagram,
}

impl NotifySocket {
    fn new() -> Self {
        let folder = Folder::new("notify");
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        Self { folder, socket }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("notify")
    }

    async fn next(&self) -> String {
        let mut datagram = [0; 1000];
        let length = timeout(SOON, self.socket.recv(&mut datagram)).await.expect("the gateway says something").unwrap();
        String::from_utf8_lossy(&datagram[..length]).trim_end().to_owned()
    }

    /// The next that is no sign of life.
    async fn news(&self) -> String {
        loop {
            let next = self.next().await;
            if next != "WATCHDOG=1" {
                return next;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_that_it_serves_reads_its_files_lives_and_ends() {
    let (notify, authority) = (NotifySocket::new(), Authority::new());
    let pair = authority.issue("pair");
    let builder = Gateway::builder().embedded().flag("--tls-cert", &pair.cert).flag("--tls-key", &pair.key);
    let builder = builder.flag("--shutdown-delay", "1h").env("NOTIFY_SOCKET", notify.path());
    let mut gateway = builder.env("WATCHDOG_USEC", "200000").start().await;
    assert_eq!(notify.news().await, "READY=1");
    for _ in 0..2 {
        let alive = async || {
            if notify.next().await == "WATCHDOG=1" { Ok(()) } else { Err("something else") }
        };
        eventually(SOON, "a sign of life", alive).await;
    }
    gateway.hang_up();
    let reloading = notify.news().await;
    let since_boot = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|time| time.parse::<u64>().ok());
    assert!(since_boot.is_some_and(|time| time > 0), "{reloading:?}");
    assert_eq!(notify.news().await, "READY=1");
    gateway.wait_logged("the files of TLS are as they were", SOON).await;
    gateway.terminate();
    assert_eq!(notify.news().await, "STOPPING=1");
    assert_eq!(notify.next().await, "WATCHDOG=1", "also in the delay");
    gateway.terminate();
    assert_eq!(gateway.wait_exit(SOON).await.code(), Some(0));
}

/// The units of `deploy/systemd` are ones that systemd takes, and the service can do little besides serving.
#[test]
fn systemd_takes_the_units() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd");
    let folder = Folder::new("units");
    for name in ["postern.socket", "postern.service"] {
        let unit = std::fs::read_to_string(units.join(name)).unwrap();
        // The program has to be there.
        folder.write(name, &unit.replace("/usr/local/bin/gateway", "/bin/true"));
    }
    let analyze = |arguments: &[&str]| {
        let names = ["postern.socket", "postern.service"].map(|name| folder.path().join(name));
        let files = if arguments[0] == "verify" { &names[..] } else { &names[1..] };
        Command::new("systemd-analyze").args(arguments).args(files).output()
    };
    let Ok(verified) = analyze(&["verify"]) else {
        eprintln!("systemd-analyze is not installed, so the units are not checked");
        return;
    };
    assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
    let secured = analyze(&["security", "--offline=true", &format!("--threshold={MAX_EXPOSURE}")]).unwrap();
    assert!(secured.status.success(), "{}", String::from_utf8_lossy(&secured.stdout));
}
