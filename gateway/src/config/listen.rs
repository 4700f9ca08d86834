//! Where to listen, as people write it.

use std::{
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
};

use crate::http::ListenAddress;

/// A socket's path has at most 107 bytes (unix(7)), and is bound under a longer name first.
const MAX_PATH: usize = 96;

const FORMS: &str =
    "it is no address and port, such as 127.0.0.1:8080, [::1]:8080 or localhost:8080, and no unix:/path";

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listen {
    /// On this address.
    Address(SocketAddr),
    /// On this port; which address is not said.
    PortAlone(u16),
    /// At the file of a socket.
    Unix(PathBuf),
}

impl Listen {
    /// Returns the address; that of loopback if none is said. Other programs would listen on all.
    pub(super) fn address(self) -> ListenAddress {
        match self {
            Self::Address(address) => ListenAddress::Tcp(address),
            Self::PortAlone(port) => ListenAddress::Tcp((Ipv4Addr::LOCALHOST, port).into()),
            Self::Unix(path) => ListenAddress::Unix(path),
        }
    }
}

/// Reads `address:port`, `name:port`, `:port`, `port` or `unix:/path`.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_file(path);
    }
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

fn socket_file(path: &str) -> Result<Listen, String> {
    if !path.starts_with('/') || path.ends_with('/') {
        return Err("a socket file has a whole path, such as unix:/run/postern/gateway.sock".to_owned());
    }
    if path.len() > MAX_PATH {
        return Err(format!("the path of a socket file has at most {MAX_PATH} bytes"));
    }
    Ok(Listen::Unix(path.into()))
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
            assert_eq!(listen(text).unwrap().address(), ListenAddress::Tcp(address.parse().unwrap()), "{text}");
        }
        let socket = listen("unix:/run/postern.sock").unwrap().address();
        assert_eq!(socket, ListenAddress::Unix("/run/postern.sock".into()));
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
            ("unix:", "unix:/run/postern/gateway.sock"),
            ("unix:gateway.sock", "unix:/run/postern/gateway.sock"),
            ("unix:/run/", "unix:/run/postern/gateway.sock"),
            (&format!("unix:/{}", "a".repeat(MAX_PATH)), "at most 96 bytes"),
            ("no-such-name.invalid:8080", "the address of no-such-name.invalid cannot be found"),
        ] {
            let error = listen(text).unwrap_err();
            assert!(error.contains(remedy), "{text}: {error}");
        }
    }
}
