//! A byte stream whose incoming frames are repaired.
//!
//! What comes is read straight into the reader's buffer and repaired there. Only when a frame that has to be whole is
//! cut by the end of a read is its beginning kept back, and the rest of it, not a byte more, read to it. So every byte
//! is either kept or the reader's, and a body is never copied. Nothing is lost when a read is abandoned: the state is
//! here.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::frames::Frames;

/// A stream that is sanitized as it is read.
#[derive(Debug)]
pub struct SanitizedStream<S> {
    stream: S,
    frames: Frames,
    kept: PartialFrame,
}

/// The frame that was cut by the end of a read.
#[derive(Debug, Default)]
struct PartialFrame {
    /// As long as the frame, or as its beginning by which more is known; empty when nothing is kept.
    bytes: Vec<u8>,
    /// So many of them have come.
    come: usize,
    /// So many of them may be given to the reader.
    ready: usize,
    /// So many of them have been given.
    given: usize,
}

impl PartialFrame {
    /// Keeps the beginning of a frame.
    fn start(&mut self, beginning: &[u8], needed: usize) {
        self.bytes.clear();
        self.bytes.extend_from_slice(beginning);
        self.bytes.resize(needed, 0);
        (self.come, self.ready, self.given) = (beginning.len(), 0, 0);
    }

    /// Gives what is ready; returns how much, and forgets it all once all is given.
    fn give(&mut self, buffer: &mut [u8]) -> usize {
        let size = buffer.len().min(self.ready - self.given);
        buffer[..size].copy_from_slice(&self.bytes[self.given..self.given + size]);
        self.given += size;
        if self.given == self.bytes.len() {
            self.bytes.clear();
            (self.come, self.ready, self.given) = (0, 0, 0);
        }
        size
    }
}

impl<S> SanitizedStream<S> {
    /// Repairs what comes from a broker, from its first byte on; for the size see [`Frames::new`].
    pub(super) fn new(stream: S, frame_max: Option<u32>) -> Self {
        Self { stream, frames: Frames::new(frame_max), kept: PartialFrame::default() }
    }
}

impl<S: AsyncRead + Unpin> SanitizedStream<S> {
    /// Reads into the reader's buffer; returns how many bytes it may have, or `None` if all were kept back.
    fn poll_fresh(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Option<usize>>> {
        let size = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let progress = self.frames.sanitize(&mut buffer[..size]);
        note(progress.repaired);
        if progress.needed > 0 {
            self.kept.start(&buffer[progress.ready..size], progress.needed);
        }
        Poll::Ready(Ok((progress.ready > 0 || size == 0).then_some(progress.ready)))
    }

    /// Reads more of the frame that is kept.
    fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let kept = &mut self.kept;
        let size = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut kept.bytes[kept.come..]))?;
        kept.come += size;
        if size == 0 {
            // The broker is gone in the middle of a frame: the reader sees that as it would have.
            kept.bytes.truncate(kept.come);
            kept.ready = kept.come;
        } else if kept.come == kept.bytes.len() {
            let progress = self.frames.sanitize(&mut kept.bytes);
            note(progress.repaired);
            kept.ready = progress.ready;
            kept.bytes.resize(progress.needed.max(kept.come), 0);
        }
        Poll::Ready(Ok(()))
    }
}

fn note(repaired: bool) {
    if repaired {
        debug!("a frame that the library cannot take was repaired");
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SanitizedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            if this.kept.ready > 0 {
                return Poll::Ready(Ok(this.kept.give(buffer)));
            }
            if !this.kept.bytes.is_empty() {
                ready!(this.poll_kept(cx))?;
            } else if let Some(size) = ready!(this.poll_fresh(cx, buffer))? {
                return Poll::Ready(Ok(size));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SanitizedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, pieces)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
