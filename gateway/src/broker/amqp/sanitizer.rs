//! Connections whose incoming frames are repaired before the AMQP library reads them.
//!
//! The library gives up a whole connection, with every Lease on it, over one frame that it cannot parse. RabbitMQ checks
//! less: it stores and delivers what a publisher wrote, and delivers it again to the next reader of that queue. So one
//! message could stop every mailbox that it is in, for ever. What RabbitMQ lets through and the library does not:
//!
//! * a short string that is not UTF-8 (AMQP 0-9-1, section 4.2.5.3, leaves its encoding open): each offending byte
//!   becomes `?`. Two routing keys or message ids may thereby become equal, and an id that was repaired is no token any
//!   more but a name from which the event's id is made;
//! * a header table so deeply nested that parsing it, by recursion, overflows the stack and ends the process: what is
//!   nested too deeply becomes a byte array;
//! * headers that make a frame larger than was negotiated, as can happen to messages that came by another protocol or
//!   were dead-lettered: the message loses its headers. So it does if they are of a type that the library does not know;
//! * the answer to the closing of a channel that the broker closed at the same time. Both sides may, and both get an answer
//!   (AMQP 0-9-1, section 1.5.2.5); but by then the library has forgotten the channel. A heartbeat takes the answer's place.
//!
//! Every repair keeps the length of the stream. `frames` finds the frames, `fields` mends them, both without I/O;
//! `stream` is the I/O. TLS, if any, is spoken here, below the repairs, and the library is told a plain URL: it would put
//! its own TLS on top of them.

mod fields;
mod frames;
mod method;
#[cfg(test)]
mod samples;
mod stream;

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
    time::Duration,
};

use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use events::amqp::AmqpUrl;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::{
    tcp::{AsyncTcpStream, TLSConfig},
    uri::{AMQPScheme, AMQPUri},
};

use self::stream::RepairedStream;

/// Repairs what is there of a stream, for a fuzz target.
#[cfg(feature = "fuzzing")]
pub(super) fn repair(bytes: &mut [u8]) {
    frames::Frames::new(None).sanitize(bytes);
}

/// Tokio, but for what its TCP connections carry.
pub(super) type RepairingRuntime = Runtime<RuntimeParts<Tokio, RepairingReactor>>;

/// Returns where to connect and by what runtime; needs a tokio runtime. The text holds the password.
pub(super) fn repairing(url: &AmqpUrl) -> Result<(String, RepairingRuntime), String> {
    let mut uri: AMQPUri = url.secret().parse()?;
    let tls_domain = match uri.scheme {
        AMQPScheme::AMQP => None,
        AMQPScheme::AMQPS => Some(uri.authority.host.as_str().into()),
    };
    uri.scheme = AMQPScheme::AMQP;
    let reactor = RepairingReactor { tokio: Tokio::current(), tls_domain, frame_max: uri.query.frame_max };
    Ok((uri.to_string(), Runtime::new(RuntimeParts::new(Tokio::current(), reactor))))
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct RepairingReactor {
    tokio: Tokio,
    /// Whose certificate to ask for, if TLS is spoken.
    tls_domain: Option<Arc<str>>,
    /// The largest frame in bytes that the URL allows, if it says.
    frame_max: Option<u32>,
}

impl Reactor for RepairingReactor {
    type TcpStream = RepairedStream<AsyncTcpStream<<Tokio as Reactor>::TcpStream>>;
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
            Ok(RepairedStream::new(stream, frame_max))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tls_is_spoken_here_and_the_library_sees_a_plain_url_to_the_same_place() {
        for (url, plain) in [
            ("amqp://u:p@broker/v", "amqp://u:p@broker:5672/v"),
            ("amqps://u:p%2F@broker/v?frame_max=9000", "amqp://u:p%2F@broker:5671/v"),
        ] {
            let (address, _) = repairing(&url.parse().unwrap()).unwrap();
            assert_eq!(address.split('?').next(), Some(plain));
        }
    }
}
