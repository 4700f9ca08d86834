//! From an accepted socket to one from which requests can be read: the handshake of TLS.

use std::{io, sync::Arc, time::Duration};

use hyper::Version;
use rustls::{InvalidMessage, ServerConfig};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::tls::is_http2;

/// Shakes hands with a client, within so long. The client chooses the version of HTTP by ALPN; one that names none
/// speaks HTTP/1.1.
pub(super) async fn shake_hands(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    patience: Duration,
) -> io::Result<(Box<TlsStream<TcpStream>>, Version)> {
    // On the heap: each connection that is held would be as large.
    let accepting = Box::pin(TlsAcceptor::from(config).accept(stream));
    let stream = timeout(patience, accepting).await??;
    let version = if is_http2(stream.get_ref().1.alpn_protocol()) { Version::HTTP_2 } else { Version::HTTP_11 };
    Ok((Box::new(stream), version))
}

/// Says why there was no handshake.
pub(super) fn reason(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "what the client sent is no TLS; https:// is spoken here".to_owned()
        }
        _ => error.to_string(),
    }
}
