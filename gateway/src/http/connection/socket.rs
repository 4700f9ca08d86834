//! How a connection ended, and for which answer that matters.
//!
//! hyper does not tell all of it: a reset on an idle connection looks like an orderly end. So its reads and writes go
//! through [`ObservedSocket`], which writes down what it sees in the connection's [`ConnectionStatus`]:
//!
//! * an orderly end (FIN) after a whole answer is how every client ends; it means nothing;
//! * a reset, a failed write, or an end before the answer was written out means that the answer did not arrive. A
//!   client that closes with bytes unread sends a reset too (RFC 9293, section 3.6.1).
//!
//! The socket is observed above TLS. What a FIN is to a client in the clear, a `close_notify` is to one of TLS, which
//! may read on after it (RFC 8446, section 6.1), and only above TLS it is seen. A reset and a failed write pass through
//! TLS as they are. What TLS keeps while the kernel takes nothing is flushed last, so "written out" means the same.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use mailboxes::Receipt;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep, sleep_until},
};

use super::{
    half_close::{Ending, HalfClose},
    version::FirstBytes,
};

/// How long a client may take for what is written to it: so long, and a second more for each so many bytes. A client
/// that takes a byte now and then would keep its answer for hours.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
const MIN_BYTES_PER_SECOND: u64 = 4096;

/// Returns how long a client may take for so many bytes.
pub(crate) fn time_for(bytes: u64) -> Duration {
    WRITE_PATIENCE + Duration::from_millis(bytes.saturating_mul(1000) / MIN_BYTES_PER_SECOND)
}

/// How long a client is given to close after us, or to send more: until then a reset tells that it did not read the
/// answer.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// How long a client that goes on sending is read at most. Many clients read an answer only when their whole request is
/// out.
const SENDING_WAIT: Duration = Duration::from_secs(30);

/// How many bytes of it are read at most.
const MAX_DROPPED: usize = 64 * 1024 * 1024;

/// Up to how many bytes it is cheaper to copy an answer than to write it from where it is.
const SMALL: usize = 2048;

/// What became of one connection; over HTTP/2, of one answer.
#[derive(Debug, Default)]
pub(crate) struct ConnectionStatus {
    /// A request came at all.
    asked: AtomicBool,
    /// Bytes came since the connection waits for the head of a request.
    head_begun: AtomicBool,
    /// A read or a write failed.
    broken: AtomicBool,
    /// An answer was handed to hyper and is not written out.
    unwritten: AtomicBool,
    /// The client is lagging: something is to be written that the kernel does not take.
    lagging: AtomicBool,
    /// Whether the end of what the client sends is told to hyper.
    pub(crate) half_close: HalfClose,
    /// The last answer, if a Session gave it.
    receipt: Mutex<Option<Receipt>>,
}

impl ConnectionStatus {
    /// A request came: its client has read the answer before.
    pub(crate) fn request_came(&self) {
        self.keep(None);
    }

    /// A request came on this connection, whatever becomes of it.
    pub(crate) fn note_asked(&self) {
        self.asked.store(true, Ordering::Release);
    }

    /// Tells whether a request ever came.
    pub(crate) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Tells whether something is to be written that the kernel does not take.
    pub(super) fn is_lagging(&self) -> bool {
        self.lagging.load(Ordering::Acquire)
    }

    /// The connection waits for the head of a request.
    pub(crate) fn await_head(&self) {
        self.head_begun.store(false, Ordering::Release);
    }

    /// Bytes came, of it or of what belongs to the request before.
    pub(crate) fn begin_head(&self) {
        self.head_begun.store(true, Ordering::Release);
    }

    /// Tells whether any of it came.
    pub(crate) fn has_head_begun(&self) -> bool {
        self.head_begun.load(Ordering::Acquire)
    }

    /// An answer that a Session gave is about to be written.
    pub(crate) fn answering(&self, receipt: Option<Receipt>) {
        self.unwritten.store(true, Ordering::Release);
        self.keep(receipt);
    }

    /// The answer was written out.
    pub(crate) fn written(&self) {
        self.unwritten.store(false, Ordering::Release);
    }

    /// The connection, or the answer that shares it, is over: tells the Session if the answer did not arrive.
    pub(crate) fn finish(&self) {
        let lost = self.broken.load(Ordering::Acquire) || self.unwritten.load(Ordering::Acquire);
        if let Some(receipt) = self.keep(None).filter(|_| lost) {
            receipt.undelivered();
        }
    }

    fn keep(&self, receipt: Option<Receipt>) -> Option<Receipt> {
        std::mem::replace(&mut *self.receipt.lock().unwrap_or_else(PoisonError::into_inner), receipt)
    }

    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.broken.store(true, Ordering::Release);
        }
        result
    }
}

/// Returns a small answer, which comes as head and body, in one piece: the kernel writes that quicker than two.
fn coalesced<'a>(bufs: &[io::IoSlice<'_>], room: &'a mut [u8; SMALL]) -> Option<&'a [u8]> {
    let mut filled = 0;
    for buf in bufs {
        room.get_mut(filled..filled + buf.len())?.copy_from_slice(buf);
        filled += buf.len();
    }
    Some(&room[..filled])
}

/// How a client takes what it has been lagging with.
#[derive(Debug)]
struct Backlog {
    since: Instant,
    taken: u64,
    /// Ends when the client has taken too little.
    end: Pin<Box<Sleep>>,
}

impl Backlog {
    fn begin() -> Self {
        let since = Instant::now();
        Self { since, taken: 0, end: Box::pin(sleep_until(since + time_for(0))) }
    }

    fn took(&mut self, bytes: usize) {
        self.taken += bytes as u64;
        self.end.as_mut().reset(self.since + time_for(self.taken));
    }
}

/// What a client may still send after we have closed our side.
#[derive(Debug)]
struct Closing {
    wait: Pin<Box<Sleep>>,
    until: Instant,
    bytes_left: usize,
}

impl Closing {
    fn new() -> Self {
        let until = Instant::now() + SENDING_WAIT;
        Self { wait: Box::pin(sleep(CLOSE_WAIT)), until, bytes_left: MAX_DROPPED }
    }

    /// Tells whether a client that has just sent so many bytes is read no longer.
    fn is_enough(&mut self, count: usize) -> bool {
        self.wait.as_mut().reset(self.until.min(Instant::now() + CLOSE_WAIT));
        self.bytes_left = self.bytes_left.saturating_sub(count);
        self.bytes_left == 0
    }
}

/// A client's socket that writes down its [`ConnectionStatus`].
#[derive(Debug)]
pub(crate) struct ObservedSocket<S> {
    stream: S,
    ending: Ending,
    /// The first to be read.
    first: FirstBytes,
    status: Arc<ConnectionStatus>,
    /// There while the kernel's buffer for the client is full.
    backlog: Option<Backlog>,
    /// Runs once we have closed our side.
    closing: Option<Closing>,
}

impl<S> ObservedSocket<S> {
    pub(crate) fn new(stream: S, first: FirstBytes, status: Arc<ConnectionStatus>) -> Self {
        Self { stream, ending: Ending::default(), first, status, backlog: None, closing: None }
    }

    /// Has these bytes be read before others.
    pub(super) fn read_first(&mut self, first: FirstBytes) {
        self.first = first;
    }

    fn written(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = result {
            if let (Some(backlog), Ok(bytes)) = (&mut self.backlog, &result) {
                backlog.took(*bytes);
            }
            return Poll::Ready(self.status.note(result));
        }
        ready!(self.lagging(cx));
        Poll::Ready(self.status.note(Err(io::ErrorKind::TimedOut.into())))
    }

    /// Waits until a client has taken too little for too long.
    fn lagging(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.status.lagging.store(true, Ordering::Release);
        self.backlog.get_or_insert_with(Backlog::begin).end.as_mut().poll(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ObservedSocket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let first = this.first.take(buf.remaining());
        if !first.is_empty() {
            buf.put_slice(first);
            this.status.begin_head();
            // With the rest of the head, if that is there: hyper would double its buffer to read on after a piece. An
            // end comes again.
            if let Poll::Ready(rest) = Pin::new(&mut this.stream).poll_read(cx, buf) {
                let _ = this.status.note(rest);
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut this.stream).poll_read(cx, buf));
        this.status.begin_head();
        let is_end = result.is_ok() && buf.filled().len() == before;
        if is_end && this.ending.is_kept(&this.status.half_close, cx) {
            return Poll::Pending;
        }
        Poll::Ready(this.status.note(result))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ObservedSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = match coalesced(bufs, &mut [0; SMALL]) {
            Some(bytes) => Pin::new(&mut self.stream).poll_write(cx, bytes),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        };
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes only when all it had was written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Poll::Ready(result) = Pin::new(&mut this.stream).poll_flush(cx) else {
            // TLS has the end of the answer, and the kernel has no room for it.
            ready!(this.lagging(cx));
            return Poll::Ready(this.status.note(Err(io::ErrorKind::TimedOut.into())));
        };
        if result.is_ok() {
            if this.backlog.take().is_some() {
                this.status.lagging.store(false, Ordering::Release);
            }
            this.status.written();
            this.ending.written(&this.status.half_close);
        }
        Poll::Ready(this.status.note(result))
    }

    /// Closes our side, then waits for the client to close its own: what it still sends is read and dropped, so that it
    /// does not turn our close into a reset that eats the answer.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            let Poll::Ready(result) = Pin::new(&mut self.stream).poll_shutdown(cx) else {
                // The end of TLS is bytes, for which the kernel may have no room. The answer went before them.
                return self.lagging(cx).map(Ok);
            };
            if let Err(error) = result {
                // A client that is gone already cannot be shut down to; the reads have told how it went.
                return Poll::Ready(if error.kind() == io::ErrorKind::NotConnected { Ok(()) } else { Err(error) });
            }
        }
        let this = &mut *self;
        let closing = this.closing.get_or_insert_with(Closing::new);
        let mut dropped = [0; 4096];
        loop {
            if closing.wait.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::new(&mut dropped);
            let result = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf));
            let count = buf.filled().len();
            if this.status.note(result).is_err() || count == 0 || closing.is_enough(count) {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TLS above a socket whose client reads nothing: it takes what is written, and cannot pass it on.
    struct Stuck;

    impl AsyncRead for Stuck {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Stuck {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_tls_cannot_pass_on_is_given_up_as_what_the_kernel_does_not_take() {
        use tokio::io::AsyncWriteExt;

        let status = Arc::new(ConnectionStatus::default());
        let mut socket = ObservedSocket::new(Stuck, FirstBytes::default(), Arc::clone(&status));
        status.answering(None);
        socket.write_all(b"an answer").await.unwrap();
        assert_eq!(socket.flush().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(status.broken.load(Ordering::Acquire) && status.unwritten.load(Ordering::Acquire));
        let mut idle = ObservedSocket::new(Stuck, FirstBytes::default(), Arc::default());
        idle.shutdown().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_has_time_by_what_it_takes() {
        let start = Instant::now();
        let mut backlog = Backlog::begin();
        // A byte every second is no progress; what a slow line takes is.
        for _ in 0..20 {
            sleep(Duration::from_secs(1)).await;
            backlog.took(1);
        }
        backlog.took(100 * 4096);
        backlog.end.as_mut().await;
        assert_eq!((Instant::now() - start).as_secs(), 30 + 100, "a second more for each 4 KiB");
    }
}
