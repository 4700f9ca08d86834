//! A network between two processes that a test can cut.

use std::{io, net::SocketAddr};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// Passes TCP connections on to an address. Ends, with all of them, when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    is_cut: watch::Sender<bool>,
    relaying: JoinHandle<()>,
}

impl Relay {
    /// Listens on a free port of loopback and passes on what comes.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let is_cut = watch::Sender::new(false);
        let cut = is_cut.subscribe();
        let relaying = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a listener accepts");
                // What becomes of a connection is seen by its two ends.
                connections.spawn(pass(stream, target, cut.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, is_cut, relaying }
    }

    /// Returns where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nothing through any more, without a word: connections stay open and silent, also new ones.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Lets new connections through again. Those that saw the cut are reset, as by a router that forgot them.
    pub fn restore(&self) {
        self.is_cut.send_replace(false);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.relaying.abort();
    }
}

async fn pass(mut near: TcpStream, target: SocketAddr, mut cut: watch::Receiver<bool>) -> io::Result<()> {
    let mut watched = cut.clone();
    let mut far = None;
    let passing = async {
        near.set_nodelay(true)?;
        let far = far.insert(TcpStream::connect(target).await?);
        far.set_nodelay(true)?;
        copy_bidirectional(&mut near, far).await
    };
    tokio::select! {
        // First: nothing may slip through a network that is cut already.
        biased;
        _ = watched.wait_for(|is_cut| *is_cut) => {}
        ended = passing => return ended.map(drop),
    }
    let _ = cut.wait_for(|is_cut| !is_cut).await;
    for stream in [Some(near), far].into_iter().flatten() {
        stream.set_zero_linger()?;
    }
    Ok(())
}
