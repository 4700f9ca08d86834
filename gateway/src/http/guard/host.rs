//! The host of a URL, as `Host`, `:authority` and `Origin` have it (RFC 3986, section 3.2.2).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// How long a name is at most, in bytes (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 255;

/// A name of the gateway: `push.example`, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(Host<String>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host<T> {
    /// A name, or an IPv4 address.
    Name(T),
    Ipv6(Ipv6Addr),
}

/// Why a text is no [`HostName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// It is no host.
    #[error("a host is a name or an address, e.g. push.example, without a scheme, a port or a path")]
    Form,
    /// There is a port.
    #[error("a host is named without a port, because every port of it is meant: {0}")]
    Port(String),
    /// A wildcard.
    #[error("* stands for no host and for no part of one: name each, e.g. push.example")]
    Wildcard,
    /// A name with letters that are not ASCII.
    #[error("browsers write this host in ASCII (punycode, xn--…): write it as they do")]
    NotAscii,
}

/// A host, and maybe a port, in the text of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HostAndPort<'a> {
    text: &'a str,
    host: Host<&'a str>,
    port: Option<u16>,
}

impl<'a> HostAndPort<'a> {
    /// Reads it; a user before it, or anything after it, makes it wrong.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        let (text, port) = match text.rfind(':').filter(|colon| !text[*colon..].contains(']')) {
            Some(colon) => (&text[..colon], &text[colon + 1..]),
            None => (text, ""),
        };
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = if port.is_empty() { None } else { Some(port.parse().ok().filter(|_| is_number)?) };
        let host = match text.strip_prefix('[') {
            Some(address) => Host::Ipv6(address.strip_suffix(']')?.parse().ok()?),
            None => Host::Name(is_name(text).then_some(text)?),
        };
        Some(Self { text, host, port })
    }

    /// Returns the host as it is written.
    pub(super) const fn name(&self) -> &'a str {
        self.text
    }

    /// Tells whether its host is this name, given in lower case.
    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.host, Host::Name(own) if own.eq_ignore_ascii_case(name))
    }

    /// Returns its host if that is an address.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self.host {
            Host::Name(name) => name.parse::<Ipv4Addr>().ok().map(Into::into),
            Host::Ipv6(address) => Some(address.into()),
        }
    }

    /// Tells whether its host is this one.
    pub(super) fn is_of(&self, HostName(host): &HostName) -> bool {
        match host {
            Host::Name(name) => self.is_name(name),
            Host::Ipv6(address) => self.host == Host::Ipv6(*address),
        }
    }

    /// Tells whether host and port are the same; a port that is not named is the usual one.
    pub(super) fn is_same(&self, other: &Self, usual: u16) -> bool {
        let is_same_host = match (self.host, other.host) {
            (Host::Name(name), Host::Name(other)) => name.eq_ignore_ascii_case(other),
            (host, other) => host == other,
        };
        is_same_host && self.port.unwrap_or(usual) == other.port.unwrap_or(usual)
    }
}

fn is_name(text: &str) -> bool {
    // Underscores are in no name of a machine, but in those of containers.
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_of_name)
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().to_ascii_lowercase();
        if text.contains('*') {
            return Err(HostNameError::Wildcard);
        }
        if !text.is_ascii() {
            return Err(HostNameError::NotAscii);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self(Host::Ipv6(address)));
        }
        let read = HostAndPort::of(text.as_bytes()).ok_or(HostNameError::Form)?;
        if read.text.len() < text.len() {
            return Err(HostNameError::Port(read.text.to_owned()));
        }
        Ok(Self(match read.host {
            Host::Name(name) => Host::Name(name.to_owned()),
            Host::Ipv6(address) => Host::Ipv6(address),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_its_port_are_read_as_they_are_written() {
        for (text, host, port) in [
            ("localhost", Host::Name("localhost"), None),
            ("localhost:", Host::Name("localhost"), None),
            ("Push.Example:8080", Host::Name("Push.Example"), Some(8080)),
            ("127.0.0.1:65535", Host::Name("127.0.0.1"), Some(65535)),
            ("my_service", Host::Name("my_service"), None),
            ("[::1]", Host::Ipv6(Ipv6Addr::LOCALHOST), None),
            ("[0:0:0:0:0:0:0:1]:80", Host::Ipv6(Ipv6Addr::LOCALHOST), Some(80)),
        ] {
            assert_eq!(
                HostAndPort::of(text.as_bytes()).map(|read| (read.host, read.port)),
                Some((host, port)),
                "{text}"
            );
        }
        let long = "x".repeat(MAX_NAME + 1);
        for text in [
            "",
            ":80",
            "a:b",
            "a:+1",
            "a:65536",
            "a:1:2",
            "a b",
            "user@a",
            "a/",
            "a?",
            "a#",
            "a,b",
            "[::1",
            "::1",
            "[a]",
            "[::1]x",
            "[::1]:x",
            "b\u{fc}cher",
            &long,
        ] {
            assert_eq!(HostAndPort::of(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_name_of_the_gateway_has_no_port_and_any_case() {
        let is_of = |named: &str, sent: &str| HostAndPort::of(sent.as_bytes()).unwrap().is_of(&named.parse().unwrap());
        for (named, sent) in [
            (" Push.Example", "push.example"),
            ("push.example", "PUSH.example:8443"),
            ("::1", "[::1]:80"),
            ("[FD00::1]", "[fd00:0::1]"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert!(is_of(named, sent), "{named} {sent}");
        }
        for (named, sent) in [
            ("push.example", "push.example.evil.example"),
            ("push.example", "evilpush.example"),
            ("push.example", "push.example."),
            ("::1", "localhost"),
        ] {
            assert!(!is_of(named, sent), "{named} {sent}");
        }
        let port = |text: &str| HostNameError::Port(text.to_owned());
        for (text, error) in [
            ("", HostNameError::Form),
            ("https://push.example", HostNameError::Form),
            ("push.example/", HostNameError::Form),
            ("push.example:443", port("push.example")),
            ("[::1]:443", port("[::1]")),
            ("*", HostNameError::Wildcard),
            ("*.push.example", HostNameError::Wildcard),
            ("bücher.example", HostNameError::NotAscii),
        ] {
            assert_eq!(text.parse::<HostName>(), Err(error), "{text}");
        }
    }
}
