//! Which version of HTTP a client speaks, by its first bytes.

use std::{io, time::Duration};

use hyper::Version;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

/// What a client that knows that we speak HTTP/2 begins with (RFC 9113, section 3.4). No request of HTTP/1 does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long to wait for the rest of a preface that came in pieces, each time.
const PIECE_WAIT: Duration = Duration::from_millis(10);

/// Waits for the first bytes and leaves them where they are; an error if there are none within `patience`.
pub(super) async fn spoken(stream: &TcpStream, patience: Duration) -> io::Result<Version> {
    let looking = async {
        let mut first = [0; PREFACE.len()];
        loop {
            let count = stream.peek(&mut first).await?;
            if count == 0 || !PREFACE.starts_with(&first[..count]) {
                return Ok(Version::HTTP_11);
            }
            if count == PREFACE.len() {
                return Ok(Version::HTTP_2);
            }
            sleep(PIECE_WAIT).await;
        }
    };
    timeout(patience, looking).await?
}
