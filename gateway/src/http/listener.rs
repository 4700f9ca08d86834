//! Where clients come in: addresses of the network, and socket files.
//!
//! All listeners are bound before any is served, so that a gateway which cannot have one of them serves nothing. A
//! listener ends by being dropped; the file of its socket goes with it.

mod socket_file;

use std::{fmt, io, net::SocketAddr, path::PathBuf};

use tokio::net::{TcpListener, UnixListener};
use tracing::info;

use self::socket_file::SocketFile;
use super::{connection::stream::ClientStream, guard};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// At an address of the network.
    Tcp(SocketAddr),
    /// At the file of a socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Returns the address at which other machines can reach it, if they can.
    #[must_use]
    pub fn open(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address).filter(|address| !address.ip().is_loopback()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why there is no listener. The whole of it names the setting.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({setting}): {error}")]
pub struct ListenError {
    address: ListenAddress,
    setting: &'static str,
    error: io::Error,
}

/// A listener that is bound.
#[derive(Debug)]
pub struct Listener {
    /// Goes before its socket: a file that is there leads to one that listens.
    _file: Option<SocketFile>,
    socket: Socket,
    /// The address that it has; port 0 is a port of the system's choice by now.
    address: ListenAddress,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Listens at an address. The setting is named in errors.
    pub async fn bind(address: &ListenAddress, setting: &'static str) -> Result<Self, ListenError> {
        let bound = match address {
            ListenAddress::Tcp(wanted) => TcpListener::bind(wanted).await.and_then(|listener| {
                let address = ListenAddress::Tcp(listener.local_addr()?);
                Ok(Self { _file: None, socket: Socket::Tcp(listener), address })
            }),
            ListenAddress::Unix(path) => socket_file::bind(path).await.map(|(file, listener)| Self {
                _file: Some(file),
                socket: Socket::Unix(listener),
                address: address.clone(),
            }),
        };
        bound.map_err(|error| ListenError { address: address.clone(), setting, error })
    }

    /// Returns what the guard has to know of it.
    pub(super) fn guarded(&self) -> guard::Listener {
        match &self.address {
            ListenAddress::Tcp(address) => guard::Listener::of(Some(*address), false),
            ListenAddress::Unix(_) => guard::Listener::of(None, false),
        }
    }

    /// Returns its address.
    pub(super) const fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Accepts the next connection. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<ClientStream> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Small answers must not wait for each other (Nagle's algorithm). Fails only on a dead socket.
                let _ = stream.set_nodelay(true);
                Ok(ClientStream::Tcp(stream))
            }
            Socket::Unix(listener) => Ok(ClientStream::Unix(listener.accept().await?.0)),
        }
    }
}

/// Every listener of a gateway.
#[derive(Debug)]
pub struct Listeners {
    pub(super) public: Vec<Listener>,
}

impl Listeners {
    /// Listens at all of these addresses (`--listen`), or at none.
    pub async fn bind(addresses: &[ListenAddress]) -> Result<Self, ListenError> {
        let mut public = Vec::new();
        for address in addresses {
            public.push(Listener::bind(address, "--listen").await?);
        }
        Ok(Self { public })
    }

    /// Logs where the gateway listens, and for which broker.
    pub fn announce(&self, broker: &dyn fmt::Display) {
        info!(address = listed(&self.public), %broker, "listening");
    }
}

fn listed(listeners: &[Listener]) -> String {
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.address.to_string()).collect();
    addresses.join(", ")
}
