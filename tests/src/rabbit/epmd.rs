//! Erlang's port mapper (epmd): how the command line tool finds a node.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::place::Place;
use crate::{Process, eventually};

/// It listens within milliseconds, unless a machine is slow to read it from its disk.
const START: Duration = Duration::from_mins(1);

/// A port mapper, ended when it is dropped.
#[derive(Debug)]
pub(super) struct Epmd(#[expect(dead_code, reason = "kept to be dropped")] Process);

impl Epmd {
    /// Starts one and waits until it listens: a node that starts earlier starts one of its own, which outlives the test.
    pub(super) async fn start(place: &Place) -> Self {
        let mut process = Process::spawn("epmd (of Erlang)", &mut place.epmd(), None);
        eventually(START, "epmd to listen", async || {
            if let Some(status) = process.exit_status() {
                panic!("epmd ended while it started ({status}): is port {} in use?", place.epmd_port);
            }
            names(place.epmd_port).await.map_err(|e| e.to_string())
        })
        .await;
        Self(process)
    }
}

/// Returns the port mapper's list of nodes, as lines of text (Erlang Distribution Protocol, `NAMES_REQ`).
pub(super) async fn names(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(&[0, 1, b'n']).await?;
    // The port again, in four bytes.
    stream.read_u32().await?;
    let mut names = String::new();
    stream.read_to_string(&mut names).await?;
    Ok(names)
}
