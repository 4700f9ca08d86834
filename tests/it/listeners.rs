//! Several places to listen at, and socket files among them.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use postern_tests::{Broker, Folder, Gateway, HttpConnection, Poll, Request, eventually, free_port, unique};
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};

const SOON: Duration = Duration::from_secs(20);

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// Returns a folder, and a place in it for a socket.
fn place() -> (Folder, PathBuf) {
    let folder = Folder::new("listeners");
    let path = folder.path().join("gateway.sock");
    (folder, path)
}

fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// What a gateway says that is expected to end by itself.
async fn refused(listen: &str) -> String {
    let finished = Gateway::builder().embedded().flag("--listen", listen).run(SOON).await;
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(!finished.stderr.contains("listening"), "{finished:?}");
    finished.stderr
}

#[tokio::test(flavor = "multi_thread")]
async fn one_gateway_is_served_at_all_of_them_and_names_each() {
    let (_folder, path) = place();
    let ports = [free_port(), free_port()];
    let listen = format!("127.0.0.1:{}, {}", ports[0], unix(&path));
    let mut gateway =
        Broker::Embedded.gateway().await.env("POSTERN_LISTEN", "127.0.0.1:1").flag("--listen", listen.clone());
    gateway = gateway.flag("--listen", format!("[::1]:{}", ports[1]));
    let mut gateway = gateway.start().await;
    let said = gateway.wait_logged("listening", SOON).await;
    assert_eq!(said["address"], format!("{listen}, [::1]:{}", ports[1]));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);

    // What is published through one is read through another.
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic).wait(30);
    let mut held = HttpConnection::open_unix(&path).await;
    held.send(&poll.request().bytes()).await;
    assert!(held.is_silent(Duration::from_millis(100)).await);
    let publish = Request::publish(&topic, "application/json", "{\"n\":1}");
    publish.send(format!("[::1]:{}", ports[1]).parse().unwrap()).await.expect_status(202);
    assert_eq!(held.answer().await.batch().numbers("n"), [1]);
    held.close().await;
    Request::get("/live").send(gateway.address()).await.expect_status(200);

    gateway.terminate();
    assert_eq!(gateway.wait_exit(SOON).await.code(), Some(0));
    assert!(!path.exists(), "the file goes with its gateway");
}

/// More than the 128 that a listener has by default.
const CROWD: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_may_connect_before_it_is_accepted() {
    let (_folder, path) = place();
    let gateway = Broker::Embedded.gateway().await.flag("--listen", format!("127.0.0.1:0,{}", unix(&path)));
    let gateway = gateway.start().await;
    gateway.process().freeze();
    let connecting = async {
        let mut connections = Vec::new();
        for _ in 0..CROWD {
            connections.push(TcpStream::connect(gateway.address()).await.map(drop));
            connections.push(UnixStream::connect(&path).await.map(drop));
        }
        connections
    };
    let connected = timeout(SOON, connecting).await.expect("the system should take all of them at once");
    gateway.process().thaw();
    let refused: Vec<_> = connected.into_iter().filter_map(Result::err).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connections_of_all_of_them_count_together() {
    let (_folder, path) = place();
    let gateway = Broker::Embedded.gateway().await.flag("--max-connections", "1");
    let gateway = gateway.flag("--listen", format!("127.0.0.1:{},{}", free_port(), unix(&path))).start().await;
    let mut only = HttpConnection::open_unix(&path).await;
    only.request(&Request::get("/live")).await.expect_status(200);
    let poll = Poll::of(&unique("alice")).topics("a").wait(0);
    assert!(poll.send(&gateway).await.problem(503).contains("--max-connections"));
    only.close().await;
    let served = async || match poll.send(&gateway).await {
        answer if answer.status == 204 => Ok(()),
        answer => Err(answer),
    };
    eventually(SOON, "the place to be free", served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_a_killed_gateway_is_replaced_and_that_of_a_live_one_is_not() {
    let (_folder, path) = place();
    let listen = format!("{},127.0.0.1:{}", unix(&path), free_port());
    let mut gateway = Broker::Embedded.gateway().await.flag("--listen", listen).start().await;
    let said = refused(&unix(&path)).await;
    assert!(said.contains("another process listens there") && said.contains("--listen"), "{said}");
    HttpConnection::open_unix(&path).await.request(&Request::get("/live")).await.expect_status(200);

    gateway.kill9();
    assert!(is_socket(&path), "a process that is killed leaves its file");
    gateway.start_again().await;
    HttpConnection::open_unix(&path).await.request(&Request::get("/live")).await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_cannot_have_one_of_them_serves_none() {
    let (folder, path) = place();
    let file = folder.write("file", "of value");
    let said = refused(&format!("{},{}", unix(&path), unix(&file))).await;
    assert!(said.contains("is no socket") && said.contains(&unix(&file)), "{said}");
    assert_eq!(fs::read_to_string(file).unwrap(), "of value");
    assert!(!path.exists());
    let said = refused("unix:/no/such/folder/gateway.sock").await;
    assert!(said.contains("No such file or directory"), "{said}");
}
