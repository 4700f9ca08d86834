//! Where a request comes from that proxies have passed on: `X-Forwarded-For`, as far as it can be believed.
//!
//! Each proxy adds, at the right, where it got the request from, and what stands left of that is its client's word. So
//! the list is read from the right, through the proxies that are trusted, to the first address that is none of theirs.

use std::{net::IpAddr, str::FromStr};

use hyper::{HeaderMap, header::HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What stands for the sockets of files.
const UNIX: &str = "unix";

/// The proxies whose word counts.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<TrustedProxy>);

/// A network of proxies, or the proxies that come in through the file of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Those with these addresses.
    Network(IpNet),
    /// Those without an address.
    SocketFile,
}

/// Why a text is no [`TrustedProxy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a proxy is an address or a network, e.g. 10.0.0.7, 10.0.0.0/8 or fd00::/8, or unix for those at a socket file"
)]
pub struct TrustedProxyError;

impl FromStr for TrustedProxy {
    type Err = TrustedProxyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text == UNIX {
            return Ok(Self::SocketFile);
        }
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self::Network).map_err(|_| TrustedProxyError)
    }
}

impl TrustedProxies {
    /// Takes the list.
    #[must_use]
    pub const fn new(proxies: Vec<TrustedProxy>) -> Self {
        Self(proxies)
    }

    /// Tells whether it includes a peer; without an address it is one at a socket file.
    pub(super) fn includes(&self, address: Option<IpAddr>) -> bool {
        self.0.iter().any(|proxy| match (proxy, address) {
            (TrustedProxy::Network(network), Some(address)) => network.contains(&address),
            (TrustedProxy::SocketFile, None) => true,
            _ => false,
        })
    }
}

/// Returns where a request comes from, and whether the peer says that it passes it on without being trusted.
pub(super) fn origin(remote: Option<IpAddr>, headers: &HeaderMap, trusted: &TrustedProxies) -> (Option<IpAddr>, bool) {
    if !trusted.includes(remote) {
        return (remote, headers.contains_key(X_FORWARDED_FOR));
    }
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev().map(|line| line.to_str().unwrap_or_default());
    let mut origin = remote;
    for text in lines.flat_map(|line| line.rsplit(',')) {
        // What cannot be read was not written by a proxy that can be believed: the request comes from the one before.
        let Some(address) = address(text.trim()) else { break };
        origin = Some(address);
        if !trusted.includes(origin) {
            break;
        }
    }
    (origin, false)
}

/// Reads an address; some proxies write a port behind it.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse().map(|address: std::net::SocketAddr| address.ip());
    let in_brackets = || text.trim_matches(['[', ']']).parse();
    text.parse().or_else(|_| with_port()).or_else(|_| in_brackets()).ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(remote: Option<&str>, trusted: &[&str], lines: &[&'static str]) -> (Option<String>, bool) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, line.parse().unwrap());
        }
        let trusted = TrustedProxies::new(trusted.iter().map(|text| text.parse().unwrap()).collect());
        let (address, may_be_proxy) = origin(remote.map(|text| text.parse().unwrap()), &headers, &trusted);
        (address.map(|address| address.to_string()), may_be_proxy)
    }

    #[test]
    fn the_right_most_address_that_is_not_trusted_counts() {
        let trusted = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"];
        for (lines, address) in [
            (&[][..], "10.0.0.1"),
            (&["203.0.113.5"], "203.0.113.5"),
            // What the client says itself stands at the left.
            (&["1.1.1.1, 203.0.113.5"], "203.0.113.5"),
            (&["1.1.1.1", "203.0.113.5"], "203.0.113.5"),
            (&["1.1.1.1,203.0.113.5 , 192.0.2.7,10.9.9.9"], "203.0.113.5"),
            (&["203.0.113.5:4711"], "203.0.113.5"),
            (&["[2001:db8::1]:80"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["2001:db8::1, fd00::2"], "2001:db8::1"),
            (&["::ffff:203.0.113.5"], "203.0.113.5"),
            // All within, or not to be read: the farthest that is known.
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["203.0.113.5, unknown"], "10.0.0.1"),
            (&["203.0.113.5, ?, 10.0.0.2"], "10.0.0.2"),
            (&[""], "10.0.0.1"),
        ] {
            assert_eq!(of(Some("10.0.0.1"), &trusted, lines), (Some(address.to_owned()), false), "{lines:?}");
        }
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_believed_nothing() {
        let own = |may_be_proxy| (Some("203.0.113.9".to_owned()), may_be_proxy);
        assert_eq!(of(Some("203.0.113.9"), &[], &["1.1.1.1"]), own(true));
        assert_eq!(of(Some("203.0.113.9"), &["10.0.0.0/8", "unix"], &["1.1.1.1"]), own(true));
        assert_eq!(of(Some("203.0.113.9"), &[], &[]), own(false));
        assert_eq!(of(None, &["10.0.0.0/8"], &["1.1.1.1"]), (None, true));
        assert_eq!(of(None, &["unix"], &["1.1.1.1"]), (Some("1.1.1.1".to_owned()), false));
    }

    #[test]
    fn a_proxy_is_a_network_an_address_or_a_socket_file() {
        let network = |text: &str| Ok(TrustedProxy::Network(text.parse().unwrap()));
        assert_eq!("10.0.0.0/8".parse(), network("10.0.0.0/8"));
        assert_eq!(" 10.0.0.7".parse(), network("10.0.0.7/32"));
        assert_eq!("fd00::7".parse(), network("fd00::7/128"));
        assert_eq!("unix".parse(), Ok(TrustedProxy::SocketFile));
        for wrong in ["", "10.0.0.0/33", "10.0.0", "proxy.example", "10.0.0.0/255.0.0.0", "unix:/run/x"] {
            assert_eq!(wrong.parse::<TrustedProxy>(), Err(TrustedProxyError), "{wrong}");
        }
    }
}
