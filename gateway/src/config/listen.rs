//! Where to listen, as people write it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
};

use tracing::warn;

use crate::http::{InheritedSocket, ListenAddress};

/// A socket's path has at most 107 bytes (unix(7)), and is bound under a longer name first.
const MAX_PATH: usize = 96;

const FORMS: &str =
    "it is no address and port, such as 127.0.0.1:8080, [::1]:8080 or localhost:8080, no unix:/path, and no systemd";

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listen {
    /// On this address.
    Address(SocketAddr),
    /// On this port; which address is not said.
    PortAlone(u16),
    /// At the file of a socket.
    Unix(PathBuf),
    /// At the sockets of this name that systemd passes, or at those that no setting names.
    Systemd(Option<String>),
}

/// Reads `address:port`, `name:port`, `:port`, `port`, `unix:/path`, `systemd` or `systemd:name`.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    match text.strip_prefix("systemd") {
        Some("") => return Ok(Listen::Systemd(None)),
        Some(name) if name.starts_with(':') && name.len() > 1 => {
            return Ok(Listen::Systemd(Some(name[1..].to_owned())));
        }
        _ => {}
    }
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

/// Why there is no socket where one should be that systemd passes.
#[derive(Debug, thiserror::Error)]
pub enum PassedSocketError {
    /// There is none of this name.
    #[error(
        "{setting} systemd{}: systemd has passed no such socket; name it with FileDescriptorName= in its .socket unit, and \
         have the .service unit started with it (Sockets=)",
        .name.as_ref().map(|name| format!(":{name}")).unwrap_or_default()
    )]
    Missing {
        /// The flag.
        setting: &'static str,
        /// The name in it.
        name: Option<String>,
    },
    /// What was passed cannot be used.
    #[error("a socket that systemd has passed cannot be used: {0}")]
    Unusable(#[from] io::Error),
}

/// Returns the addresses of settings, each a flag with what was given; those of loopback where none is said. Other
/// programs would listen on all.
pub(super) fn addresses<const N: usize>(
    settings: [(&'static str, Vec<Listen>); N],
) -> Result<[Vec<ListenAddress>; N], PassedSocketError> {
    let given = || settings.iter().flat_map(|(_, listens)| listens);
    let is_asked = given().any(|listen| matches!(listen, Listen::Systemd(_)));
    let passed = if is_asked { InheritedSocket::all()? } else { Vec::new() };
    let mut passed = Passed { named: given().filter_map(Listen::name).map(str::to_owned).collect(), left: passed };
    let mut all = [const { Vec::new() }; N];
    for (addresses, (setting, listens)) in all.iter_mut().zip(settings) {
        for listen in listens {
            match listen {
                Listen::Address(address) => addresses.push(ListenAddress::Tcp(address)),
                Listen::PortAlone(port) => addresses.push(ListenAddress::Tcp((Ipv4Addr::LOCALHOST, port).into())),
                Listen::Unix(path) => addresses.push(ListenAddress::Unix(path)),
                Listen::Systemd(name) => addresses.extend(passed.take(setting, name)?),
            }
        }
    }
    if !passed.left.is_empty() {
        // Their clients would wait for ever.
        warn!(sockets = ?passed.left, "systemd has passed sockets at which this gateway does not listen");
    }
    Ok(all)
}

/// The sockets that systemd has passed.
struct Passed {
    /// The names in settings.
    named: Vec<String>,
    left: Vec<InheritedSocket>,
}

impl Passed {
    /// Takes those of a name, or those that no setting names.
    fn take(&mut self, setting: &'static str, name: Option<String>) -> Result<Vec<ListenAddress>, PassedSocketError> {
        let is_meant = |socket: &mut InheritedSocket| match &name {
            Some(name) => socket.name() == Some(name),
            None => !self.named.iter().any(|name| socket.name() == Some(name)),
        };
        let taken: Vec<_> = self.left.extract_if(.., is_meant).map(ListenAddress::Inherited).collect();
        if taken.is_empty() { Err(PassedSocketError::Missing { setting, name }) } else { Ok(taken) }
    }
}

impl Listen {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Systemd(name) => name.as_deref(),
            _ => None,
        }
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
            assert_eq!(address_of(text), ListenAddress::Tcp(address.parse().unwrap()), "{text}");
        }
        assert_eq!(address_of("unix:/run/postern.sock"), ListenAddress::Unix("/run/postern.sock".into()));
        assert_eq!(listen("systemd").unwrap(), Listen::Systemd(None));
        assert_eq!(listen("systemd:http").unwrap(), Listen::Systemd(Some("http".to_owned())));
    }

    fn address_of(text: &str) -> ListenAddress {
        let [mut addresses] = addresses([("--listen", vec![listen(text).unwrap()])]).unwrap();
        addresses.remove(0)
    }

    #[test]
    fn a_socket_that_is_not_passed_is_an_error() {
        for (text, remedy) in [("systemd", "--listen systemd: "), ("systemd:http", "--listen systemd:http: ")] {
            let error = addresses([("--listen", vec![listen(text).unwrap()])]).unwrap_err();
            assert!(error.to_string().starts_with(remedy), "{error}");
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
            ("systemd:", FORMS),
            ("systemd80", "systemd80:8080"),
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
