//! Where clients come in: addresses of the network, socket files, and sockets that the process was started with.
//!
//! All listeners are bound before any is served, so that a gateway which cannot have one of them serves nothing. A
//! listener ends by being dropped; the file of its socket goes with it.

mod inherited;
mod socket_file;

use std::{fmt, io, net::SocketAddr, os::fd::AsFd, path::PathBuf, sync::Arc};

use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, UnixListener};
use tracing::info;

pub use self::inherited::InheritedSocket;
use self::socket_file::SocketFile;
use super::{connection::stream::ClientStream, guard};
use crate::{process::Reloads, tls::Tls};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// At an address of the network.
    Tcp(SocketAddr),
    /// At the file of a socket.
    Unix(PathBuf),
    /// At a socket that the process was started with.
    Inherited(InheritedSocket),
}

impl ListenAddress {
    /// Returns the address at which other machines can reach it, if they can.
    #[must_use]
    pub fn open(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address).filter(|address| !address.ip().is_loopback()),
            Self::Unix(_) => None,
            Self::Inherited(socket) => socket.open(),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited(socket) => write!(f, "{socket}"),
        }
    }
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address cannot be had; with its setting.
    #[error("cannot listen on {0} ({1}): {2}")]
    Address(ListenAddress, &'static str, io::Error),
    /// The signal that has certificates read again cannot be listened for.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
}

/// Whom a listener is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Audience {
    /// Clients, whose requests are guarded.
    Clients(guard::Listener),
    /// Operators. What is there changes nothing, so their requests are not guarded.
    Admins,
}

/// A listener that is bound.
#[derive(Debug)]
pub struct Listener {
    /// Goes before its socket: a file that is there leads to one that listens.
    _file: Option<SocketFile>,
    socket: Socket,
    /// The address that it has; port 0 is a port of the system's choice by now.
    address: ListenAddress,
    /// What its clients are shown; without it they speak in the clear.
    tls: Option<Arc<Tls>>,
    is_for_admins: bool,
    outlives_process: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    /// Has as many connections wait to be accepted as the system allows (Linux: `net.core.somaxconn`). The standard
    /// library asks for 128; when thousands of clients connect at once, the system drops the others, and they try again
    /// after 1, 3 and 7 s.
    fn lengthen_queue(&self) -> io::Result<()> {
        let descriptor = match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        };
        // For a socket that listens already, this changes the length alone.
        Ok(rustix::net::listen(descriptor, i32::MAX)?)
    }
}

impl Listener {
    /// Listens at an address. The setting is named in errors.
    pub async fn bind(address: &ListenAddress, setting: &'static str) -> Result<Self, ListenError> {
        let bound = match address {
            ListenAddress::Tcp(wanted) => TcpListener::bind(wanted).await.and_then(|listener| {
                let address = ListenAddress::Tcp(listener.local_addr()?);
                Ok(Self::at(address, Socket::Tcp(listener)))
            }),
            ListenAddress::Unix(path) => socket_file::bind(path).await.map(|(file, listener)| Self {
                _file: Some(file),
                ..Self::at(address.clone(), Socket::Unix(listener))
            }),
            ListenAddress::Inherited(inherited) => {
                inherited.listen().map(|(socket, address)| Self { outlives_process: true, ..Self::at(address, socket) })
            }
        };
        bound
            .and_then(|listener| listener.socket.lengthen_queue().map(|()| listener))
            .map_err(|error| ListenError::Address(address.clone(), setting, error))
    }

    fn at(address: ListenAddress, socket: Socket) -> Self {
        Self { _file: None, socket, address, tls: None, is_for_admins: false, outlives_process: false }
    }

    /// Returns whom it is for.
    pub(super) fn audience(&self) -> Audience {
        match &self.address {
            _ if self.is_for_admins => Audience::Admins,
            ListenAddress::Tcp(address) => Audience::Clients(guard::Listener::of(Some(*address), self.tls.is_some())),
            ListenAddress::Unix(_) | ListenAddress::Inherited(_) => Audience::Clients(guard::Listener::of(None, false)),
        }
    }

    /// Has its clients speak TLS. At a socket file they do not: what comes through one stays on this machine.
    fn secured(mut self, tls: Option<&Arc<Tls>>) -> Self {
        self.tls = tls.filter(|_| matches!(self.socket, Socket::Tcp(_))).map(Arc::clone);
        self
    }

    /// Returns what its clients are shown over TLS, if they speak it.
    pub(super) const fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// Tells whether another process has its socket, too: connections that are not accepted wait for the next gateway.
    pub(super) const fn outlives_process(&self) -> bool {
        self.outlives_process
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
    pub(super) admin: Vec<Listener>,
    pub(super) tls: Option<(Arc<Tls>, Reloads)>,
}

impl Listeners {
    /// Listens at all of these addresses, for clients (`--listen`) and for operators (`--admin-listen`), or at none.
    pub async fn bind(
        clients: &[ListenAddress],
        admins: &[ListenAddress],
        tls: Option<Tls>,
    ) -> Result<Self, ListenError> {
        let tls = tls.map(Arc::new);
        let (mut public, mut admin) = (Vec::new(), Vec::new());
        for address in admins {
            let listener = Listener::bind(address, "--admin-listen").await?;
            admin.push(Listener { is_for_admins: true, ..listener });
        }
        for address in clients {
            public.push(Listener::bind(address, "--listen").await?.secured(tls.as_ref()));
        }
        let tls = match tls {
            Some(tls) => Some((tls, Reloads::listen().map_err(ListenError::Signals)?)),
            None => None,
        };
        Ok(Self { public, admin, tls })
    }

    /// Shows to Prometheus what is counted here.
    pub(crate) fn register(&self, registry: &mut Registry) {
        if let Some((tls, _)) = &self.tls {
            tls.register(registry);
        }
    }

    /// Logs where the gateway listens, and for which broker.
    pub fn announce(&self, broker: &dyn fmt::Display) {
        if let Some((tls, _)) = &self.tls {
            tls.announce();
        }
        let admin = (!self.admin.is_empty()).then(|| listed(&self.admin));
        info!(address = listed(&self.public), admin, %broker, "listening");
    }
}

fn listed(listeners: &[Listener]) -> String {
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.address.to_string()).collect();
    addresses.join(", ")
}
