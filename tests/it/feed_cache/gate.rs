//! A door before a gateway: while it is shut, each request gets an error that must not be kept.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncache-control: no-store\r\nretry-after: 1\r\n\
    content-length: 0\r\nconnection: close\r\n\r\n";

pub(super) struct Gate {
    address: SocketAddr,
    is_shut: watch::Sender<bool>,
    _open: JoinSet<()>,
}

impl Gate {
    pub(super) async fn before(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_shut = watch::Sender::new(false);
        let mut open = JoinSet::new();
        let state = is_shut.subscribe();
        open.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, gateway, state.clone()));
            }
        });
        Self { address, is_shut, _open: open }
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shuts or opens it; ends the connections that are open.
    pub(super) fn shut(&self, is_shut: bool) {
        self.is_shut.send_replace(is_shut);
    }
}

async fn serve(mut client: TcpStream, gateway: SocketAddr, mut is_shut: watch::Receiver<bool>) {
    if *is_shut.borrow_and_update() {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match client.read_buf(&mut head).await {
                Ok(1..) => {}
                _ => return,
            }
        }
        let _ = client.write_all(REFUSAL).await;
        return;
    }
    let mut server = TcpStream::connect(gateway).await.unwrap();
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = is_shut.changed() => {}
    }
}
