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
//! `stream` is the I/O. TLS, if any, is spoken here, below the repairs, and the library is told a plain URL: it would
//! put its own TLS on top of them.

mod fields;
mod frames;
mod method;
mod stream;

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
    time::Duration,
};

use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::{
    tcp::{AsyncTcpStream, TLSConfig},
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

/// Returns where to connect and by what runtime, from the URL of a broker; needs a tokio runtime. The text that is
/// returned holds the password, as the URL does.
pub fn sanitizing(url: &str) -> Result<(String, SanitizingRuntime), String> {
    let mut uri: AMQPUri = url.parse()?;
    let tls_domain = match uri.scheme {
        AMQPScheme::AMQP => None,
        AMQPScheme::AMQPS => Some(uri.authority.host.as_str().into()),
    };
    uri.scheme = AMQPScheme::AMQP;
    let reactor = SanitizingReactor { tokio: Tokio::current(), tls_domain, frame_max: uri.query.frame_max };
    Ok((uri.to_string(), Runtime::new(RuntimeParts::new(Tokio::current(), reactor))))
}

/// Connects by tokio, and speaks TLS where the broker wants it.
#[derive(Debug, Clone)]
pub struct SanitizingReactor {
    tokio: Tokio,
    /// Whose certificate to ask for, if TLS is spoken.
    tls_domain: Option<Arc<str>>,
    /// The largest frame in bytes that the URL allows, if it says.
    frame_max: Option<u32>,
}

impl Reactor for SanitizingReactor {
    type TcpStream = SanitizedStream<AsyncTcpStream<<Tokio as Reactor>::TcpStream>>;
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
        let (tls_domain, frame_max) = (self.tls_domain.clone(), self.frame_max);
        async move {
            let mut stream = AsyncTcpStream::Plain(connecting.await?);
            if let Some(domain) = tls_domain {
                stream = stream.into_tls(&domain, TLSConfig::default()).await?;
            }
            Ok(SanitizedStream::new(stream, frame_max))
        }
    }
}

#[cfg(test)]
mod tests;
