//! Which version of HTTP a client speaks, by its first bytes.

use std::{io, time::Duration};

use hyper::Version;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

/// What a client that knows that we speak HTTP/2 begins with (RFC 9113, section 3.4). No request of HTTP/1 does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that the connection reads before those of its socket: what was read to detect the version, for one.
#[derive(Debug, Default)]
pub(crate) struct FirstBytes {
    bytes: Vec<u8>,
    taken: usize,
}

impl FirstBytes {
    /// Takes as many as fit.
    pub(super) fn take(&mut self, most: usize) -> &[u8] {
        let from = self.taken;
        self.taken = self.bytes.len().min(from + most);
        &self.bytes[from..self.taken]
    }
}

impl From<Vec<u8>> for FirstBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, taken: 0 }
    }
}

/// Reads until the version is clear; an error if it is not within `patience`.
pub(super) async fn detect(
    stream: &mut (impl AsyncRead + Unpin),
    patience: Duration,
) -> io::Result<(Version, FirstBytes)> {
    let (mut bytes, mut count) = ([0; PREFACE.len()], 0);
    let looking = async {
        loop {
            let more = stream.read(&mut bytes[count..]).await?;
            count += more;
            if more == 0 || !PREFACE.starts_with(&bytes[..count]) {
                return io::Result::Ok(Version::HTTP_11);
            }
            if count == PREFACE.len() {
                return Ok(Version::HTTP_2);
            }
        }
    };
    let version = timeout(patience, looking).await??;
    Ok((version, FirstBytes::from(bytes[..count].to_vec())))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    async fn told(pieces: &[&[u8]]) -> (Version, Vec<u8>) {
        let (mut client, mut server) = duplex(64);
        let writing = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        };
        let ((), detect) = tokio::join!(writing, detect(&mut server, Duration::from_secs(1)));
        let (version, mut first) = detect.unwrap();
        let mut read = first.take(2).to_vec();
        read.extend(first.take(100));
        server.read_to_end(&mut read).await.unwrap();
        (version, read)
    }

    #[tokio::test]
    async fn the_bytes_that_told_are_read_again() {
        for request in ["GET / HTTP/1.1", "P", "POST / HTTP/1.1", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r", ""] {
            assert_eq!(told(&[request.as_bytes()]).await, (Version::HTTP_11, request.as_bytes().to_vec()));
        }
        let preface = [PREFACE, b"and more"].concat();
        assert_eq!(told(&[&preface]).await, (Version::HTTP_2, preface.clone()));
        assert_eq!(told(&[&preface[..1], &preface[1..20], &preface[20..]]).await, (Version::HTTP_2, preface.clone()));
        assert_eq!(told(&[b"PR", b"OPFIND"]).await, (Version::HTTP_11, b"PROPFIND".to_vec()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_beginning_that_does_not_go_on_is_given_up() {
        let (mut client, mut server) = duplex(64);
        client.write_all(b"P").await.unwrap();
        let told = detect(&mut server, Duration::from_secs(20)).await;
        assert_eq!(told.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
