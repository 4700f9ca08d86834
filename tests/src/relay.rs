//! A network between two processes that a test can cut.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// One side of a relayed connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that connected.
    Near,
    /// The one to which the relay passes it on.
    Far,
}

/// Passes TCP connections on to an address. Ends, with all of them, when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    is_cut: watch::Sender<bool>,
    ended: Ended,
    relaying: JoinHandle<()>,
}

impl Relay {
    /// Listens on a free port of loopback and passes on what comes.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let is_cut = watch::Sender::new(false);
        let cut = is_cut.subscribe();
        let ended = Ended::default();
        let record = ended.clone();
        let relaying = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a listener accepts");
                // What becomes of a connection is seen by its two ends.
                connections.spawn(pass(stream, target, cut.clone(), record.begin()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, is_cut, ended, relaying }
    }

    /// Returns where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns, for each connection in the order in which they came, the side that ended it first; `None` while it is
    /// open.
    pub fn ended_by(&self) -> Vec<Option<Side>> {
        self.ended.lock().clone()
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

/// Who ended which connection.
#[derive(Debug, Clone, Default)]
struct Ended(Arc<Mutex<Vec<Option<Side>>>>);

impl Ended {
    fn lock(&self) -> MutexGuard<'_, Vec<Option<Side>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection and returns how to tell the side that ended it.
    fn begin(&self) -> impl Fn(Side) + Send + 'static {
        let mut connections = self.lock();
        let place = connections.len();
        connections.push(None);
        let ended = self.clone();
        move |side| {
            ended.lock()[place].get_or_insert(side);
        }
    }
}

async fn pass(
    mut near: TcpStream,
    target: SocketAddr,
    mut cut: watch::Receiver<bool>,
    ended_by: impl Fn(Side),
) -> io::Result<()> {
    let mut watched = cut.clone();
    let mut far = None;
    let passing = async {
        near.set_nodelay(true)?;
        let far = far.insert(TcpStream::connect(target).await?);
        far.set_nodelay(true)?;
        let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.split(), far.split());
        let outwards = async {
            let copied = copy(&mut from_near, &mut to_far).await;
            ended_by(Side::Near);
            copied.and(to_far.shutdown().await)
        };
        let inwards = async {
            let copied = copy(&mut from_far, &mut to_near).await;
            ended_by(Side::Far);
            copied.and(to_near.shutdown().await)
        };
        tokio::try_join!(outwards, inwards)
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
