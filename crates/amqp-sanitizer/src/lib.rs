//! Connections whose incoming frames are repaired before the AMQP library reads them.
//!
//! The library gives up a whole connection, with every Lease on it, over one frame that it cannot parse. RabbitMQ
//! checks less: it stores and delivers what a publisher wrote, and delivers it again to the next reader of that queue.
//! So one message could stop every mailbox that it is in, for ever. What RabbitMQ lets through and the library does
//! not:
//!
//! * a short string that is not UTF-8 (AMQP 0-9-1, section 4.2.5.3, leaves its encoding open): each offending byte
//!   becomes `?`. Two routing keys or message ids may thereby become equal, and an id that was repaired is no token any
//!   more but a name from which the event's id is made;
//! * a header table so deeply nested that parsing it, by recursion, overflows the stack and ends the process: what is
//!   nested too deeply becomes a byte array;
//! * headers that make a frame larger than was negotiated, as can happen to messages that came by another protocol or
//!   were dead-lettered: the message loses its headers. So it does if they are of a type that the library does not
//!   know;
//! * the answer to the closing of a channel that the broker closed at the same time. Both sides may, and both get an
//!   answer (AMQP 0-9-1, section 1.5.2.5); but by then the library has forgotten the channel. A heartbeat takes the
//!   answer's place.
//!
//! Every repair keeps the length of the stream. `frames` finds the frames, `fields` mends them, both without I/O;
//! `stream` is the I/O. TLS, if any, is spoken below the repairs, by a handshake that the caller gives, and the library
//! is told a plain URL: it would put its own TLS on top of them.

mod fields;
mod frames;
mod method;
mod stream;

use std::{
    fmt,
    io::{self, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::{
    tcp::AsyncTcpStream,
    uri::{AMQPScheme, AMQPUri},
};

use self::frames::Frames;
pub use self::stream::SanitizedStream;

/// Mends what is there of a stream whose frames are of any size.
pub fn sanitize(bytes: &mut [u8]) {
    Frames::new(None).sanitize(bytes);
}

/// Tokio, but for what its TCP connections carry.
pub type SanitizingRuntime = Runtime<RuntimeParts<Tokio, SanitizingReactor>>;

/// What a TCP connection to the broker carries, in the clear or over TLS.
pub type BrokerStream = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// Begins TLS on a stream that was opened a moment ago.
pub type Handshake =
    Arc<dyn Fn(BrokerStream) -> Pin<Box<dyn Future<Output = io::Result<BrokerStream>> + Send>> + Send + Sync>;

/// Returns where to connect and by what runtime, from the URL of a broker; needs a tokio runtime. The text that is
/// returned holds the password, as the URL does. TLS is spoken if there is a handshake, whatever the scheme.
pub fn sanitizing(url: &str, handshake: Option<Handshake>) -> Result<(String, SanitizingRuntime), String> {
    let mut uri: AMQPUri = url.parse()?;
    uri.scheme = AMQPScheme::AMQP;
    let frame_max = uri.query.frame_max;
    // As a URL an address of IPv6 would be one without a host.
    uri.authority.host = uri.authority.host.replace(':', "%3A");
    let reactor = SanitizingReactor { tokio: Tokio::current(), handshake, frame_max };
    Ok((uri.to_string(), Runtime::new(RuntimeParts::new(Tokio::current(), reactor))))
}

/// Connects by tokio, and speaks TLS where the broker wants it.
#[derive(Clone)]
pub struct SanitizingReactor {
    tokio: Tokio,
    handshake: Option<Handshake>,
    /// The largest frame in bytes that the URL allows, if it says.
    frame_max: Option<u32>,
}

impl fmt::Debug for SanitizingReactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SanitizingReactor").field("tls", &self.handshake.is_some()).finish_non_exhaustive()
    }
}

impl Reactor for SanitizingReactor {
    type TcpStream = SanitizedStream<BrokerStream>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.tokio.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.tokio.sleep(duration)
    }

    #[expect(clippy::disallowed_types, reason = "the library's trait says so")]
    fn interval(&self, duration: Duration) -> impl Stream<Item = std::time::Instant> + Send + 'static {
        self.tokio.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.tokio.tcp_connect_addr(address);
        let (handshake, frame_max) = (self.handshake.clone(), self.frame_max);
        async move {
            let mut stream = AsyncTcpStream::Plain(connecting.await?);
            if let Some(handshake) = handshake {
                stream = handshake(stream).await?;
            }
            Ok(SanitizedStream::new(stream, frame_max))
        }
    }
}

#[cfg(test)]
mod tests;
