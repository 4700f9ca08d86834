//! Sockets that the process was started with and that already listen: systemd's socket activation, `sd_listen_fds(3)`.
//!
//! They outlive this process: clients that connect while no gateway runs wait for the next one.

use std::{
    fmt, io,
    net::{self, SocketAddr},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net as unix,
    },
    path::PathBuf,
    sync::Arc,
};

use rustix::net::{AddressFamily, SocketType, sockopt};

use super::{ListenAddress, Socket};

/// A socket that the process was started with. Cloning shares it.
#[derive(Clone)]
pub struct InheritedSocket {
    name: Option<String>,
    place: Place,
    socket: Arc<OwnedFd>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Tcp(SocketAddr),
    /// The file's path, or nothing for a socket that has none.
    Unix(PathBuf),
}

impl InheritedSocket {
    /// Takes all sockets that systemd has passed to this process. To be called once: they belong to their value.
    pub fn all() -> io::Result<Vec<Self>> {
        let passed = sd_listen_fds::get().map_err(io::Error::other)?;
        passed.into_iter().map(|(name, socket)| Self::new(name, socket.into_std())).collect()
    }

    fn new(name: Option<String>, socket: OwnedFd) -> io::Result<Self> {
        let is_listening = sockopt::socket_type(&socket)? == SocketType::STREAM && sockopt::socket_acceptconn(&socket)?;
        if !is_listening {
            return Err(io::Error::other("a socket does not listen for connections (ListenStream=, Accept=no)"));
        }
        let place = match sockopt::socket_domain(&socket)? {
            AddressFamily::INET | AddressFamily::INET6 => {
                Place::Tcp(net::TcpListener::from(socket.try_clone()?).local_addr()?)
            }
            AddressFamily::UNIX => {
                let address = unix::UnixListener::from(socket.try_clone()?).local_addr()?;
                Place::Unix(address.as_pathname().map(PathBuf::from).unwrap_or_default())
            }
            _ => return Err(io::Error::other("a socket is neither of TCP nor a socket file")),
        };
        Ok(Self { name, place, socket: Arc::new(socket) })
    }

    /// Returns the name that its unit gives it (`FileDescriptorName=`, or else that of the unit).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the address at which other machines can reach it, if they can.
    pub(super) fn open(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Tcp(address) => Some(address).filter(|address| !address.ip().is_loopback()),
            Place::Unix(_) => None,
        }
    }

    /// Has the runtime listen there; also returns where that is.
    pub(super) fn listen(&self) -> io::Result<(Socket, ListenAddress)> {
        let socket = self.socket.try_clone()?;
        Ok(match &self.place {
            Place::Tcp(address) => {
                let listener = net::TcpListener::from(socket);
                listener.set_nonblocking(true)?;
                (Socket::Tcp(listener.try_into()?), ListenAddress::Tcp(*address))
            }
            Place::Unix(path) => {
                let listener = unix::UnixListener::from(socket);
                listener.set_nonblocking(true)?;
                (Socket::Unix(listener.try_into()?), ListenAddress::Unix(path.clone()))
            }
        })
    }
}

impl fmt::Display for InheritedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(address) => write!(f, "{address}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Debug for InheritedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} (systemd:{})", self.name.as_deref().unwrap_or_default())
    }
}

impl PartialEq for InheritedSocket {
    fn eq(&self, other: &Self) -> bool {
        self.socket.as_raw_fd() == other.socket.as_raw_fd()
    }
}

impl Eq for InheritedSocket {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_listens_is_taken_with_its_address_and_no_other() {
        let tcp = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let socket = InheritedSocket::new(Some("http".to_owned()), tcp.into()).unwrap();
        assert_eq!((socket.name(), socket.open(), socket.to_string()), (Some("http"), None, address.to_string()));
        assert_eq!(socket.listen().unwrap().1, ListenAddress::Tcp(address));

        let open = InheritedSocket::new(None, net::TcpListener::bind("[::]:0").unwrap().into()).unwrap();
        assert!(open.open().is_some(), "other machines can reach it");

        let path = std::env::temp_dir().join(format!("postern-inherited-{}.sock", std::process::id()));
        let file = unix::UnixListener::bind(&path).unwrap();
        let socket = InheritedSocket::new(None, file.into()).unwrap();
        assert_eq!(socket.listen().unwrap().1, ListenAddress::Unix(path.clone()));
        drop(socket);
        std::fs::remove_file(&path).unwrap();

        let datagrams = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(InheritedSocket::new(None, datagrams.into()).is_err());
        let connected = unix::UnixStream::pair().unwrap().0;
        assert!(InheritedSocket::new(None, connected.into()).is_err());
    }
}
