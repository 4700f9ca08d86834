//! Where to listen, as people write it.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

const FORMS: &str = "it is no address and port, such as 127.0.0.1:8080, [::1]:8080 or localhost:8080";

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listen {
    /// On this address.
    Address(SocketAddr),
    /// On this port; which address is not said.
    PortAlone(u16),
}

impl Listen {
    /// Returns the address; that of loopback if none is said. Other programs would listen on all.
    pub(super) const fn address(self) -> SocketAddr {
        match self {
            Self::Address(address) => address,
            Self::PortAlone(port) => SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port),
        }
    }
}

/// Reads `address:port`, `name:port`, `:port` or `port`.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    if let Ok(address) = text.parse() {
        return Ok(Listen::Address(address));
    }
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
        return Ok(Listen::PortAlone(port));
    }
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Err(format!("an IPv6 address stands in brackets before its port: [{text}]:8080"));
    }
    let is_host = |host: &str| {
        let is_named = host.bytes().any(|byte| byte.is_ascii_alphanumeric());
        is_named && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    match text.rsplit_once(':') {
        Some((host, port)) if is_host(host) && port.parse::<u16>().is_ok() => resolve(host, text),
        None if is_host(text) && text.parse::<u64>().is_err() => Err(format!("it has no port: {text}:8080 has one")),
        _ => Err(FORMS.to_owned()),
    }
}

/// Looks up a name. Of several addresses one of IPv4 is taken: `127.0.0.1` is what most clients of `localhost` try as
/// well.
fn resolve(host: &str, text: &str) -> Result<Listen, String> {
    let found = text.to_socket_addrs().map_err(|error| format!("the address of {host} cannot be found: {error}"))?;
    let address = found.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| format!("{host} has no address"))?;
    Ok(Listen::Address(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_form_is_taken() {
        for (text, address) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:8080", "[::1]:8080"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("localhost:8080", "127.0.0.1:8080"),
            (":8080", "127.0.0.1:8080"),
            ("8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(listen(text).unwrap().address(), address.parse().unwrap(), "{text}");
        }
    }

    #[test]
    fn any_other_form_is_refused_with_the_right_one() {
        for (text, remedy) in [
            ("localhost", "localhost:8080"),
            ("0.0.0.0", "0.0.0.0:8080"),
            ("::1", "[::1]:8080"),
            ("::", "[::]:8080"),
            ("[::1]", FORMS),
            ("::1:8080x", FORMS),
            ("99999", FORMS),
            (":99999", FORMS),
            ("localhost:99999", FORMS),
            ("http://127.0.0.1:8080", FORMS),
            ("127.0.0.1:8080/", FORMS),
            ("a b:8080", FORMS),
            ("*:8080", FORMS),
            ("", FORMS),
            ("no-such-name.invalid:8080", "the address of no-such-name.invalid cannot be found"),
        ] {
            let error = listen(text).unwrap_err();
            assert!(error.contains(remedy), "{text}: {error}");
        }
    }
}
