//! Who is limited.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// Whom limits are counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The `sub` of a token.
    Subject(Arc<str>),
    /// Where the request comes from; for requests without a token.
    Peer(PeerPrefix),
}

/// An address as far as it tells peers apart: an IPv4 address, or the first 64 bits of an IPv6 address, all of which one
/// customer of a network gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerPrefix(IpAddr);

impl PeerPrefix {
    /// Returns that of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [first, second, third, fourth, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(first, second, third, fourth, 0, 0, 0, 0))
            }
            IpAddr::V4(address) => IpAddr::V4(address),
        })
    }
}

impl From<IpAddr> for Principal {
    fn from(address: IpAddr) -> Self {
        Self::Peer(PeerPrefix::of(address))
    }
}

impl From<Ipv4Addr> for Principal {
    fn from(address: Ipv4Addr) -> Self {
        IpAddr::V4(address).into()
    }
}
