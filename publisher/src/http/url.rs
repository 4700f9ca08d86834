//! Where a gateway is.

use std::{fmt, net::IpAddr, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use events::Topic;
use hyper::{Uri, header::HeaderValue};
use percent_encoding::percent_decode_str;

/// A gateway's URL: `http[s]://[user:password@]host[:port][/prefix]`. Its password is never shown.
#[derive(Clone)]
pub(crate) struct GatewayUrl {
    is_tls: bool,
    /// As a resolver takes it: without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// Host and port as they were written, for the `Host` header.
    authority: HeaderValue,
    /// What stands before the gateway's own paths: empty, or `/` and more, without a `/` at its end.
    prefix: String,
    authorization: Option<HeaderValue>,
    shown: String,
}

/// Why a text is no [`GatewayUrl`]. The text itself is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a gateway's URL ({0}); it looks like http://127.0.0.1:8080")]
pub(crate) struct GatewayUrlError(&'static str);

impl GatewayUrl {
    /// Tells whether TLS is spoken there.
    pub(crate) const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Returns the host alone.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Tells whether what is sent there stays on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let address: Option<IpAddr> = self.host.parse().ok();
        self.host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
    }

    /// Returns what to connect to.
    pub(super) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Returns the value of the `Host` header.
    pub(super) fn authority(&self) -> HeaderValue {
        self.authority.clone()
    }

    /// Returns the value of the `Authorization` header, if the URL has a user.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.clone()
    }

    /// Returns the path at which batches are published.
    pub(super) fn events(&self) -> String {
        format!("{}/events", self.prefix)
    }

    /// Returns the path at which events of a topic are published.
    pub(super) fn events_of(&self, topic: &Topic) -> String {
        format!("{}/topics/{topic}/events", self.prefix)
    }
}

impl FromStr for GatewayUrl {
    type Err = GatewayUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = GatewayUrlError;
        let uri: Uri = text.parse().map_err(|_| wrong("it cannot be read"))?;
        let (scheme, default_port) = match uri.scheme_str() {
            Some("http") => ("http", 80),
            Some("https") => ("https", 443),
            _ => return Err(wrong("it does not start with http:// or https://")),
        };
        if uri.query().is_some() || text.contains('#') {
            return Err(wrong("it has more than a path"));
        }
        let whole = uri.authority().ok_or(wrong("it names no host"))?.as_str();
        let (user, authority) = whole.rsplit_once('@').map_or((None, whole), |(user, rest)| (Some(user), rest));
        let (host, port) = split(authority, default_port).ok_or(wrong("host or port is none"))?;
        let prefix = uri.path().trim_end_matches('/').to_owned();
        let name = user.map(|user| user.split(':').next().unwrap_or_default());
        let shown = match name {
            Some(name) => format!("{scheme}://{name}@{authority}{prefix}"),
            None => format!("{scheme}://{authority}{prefix}"),
        };
        Ok(Self {
            is_tls: scheme == "https",
            host: host.to_owned(),
            port,
            authority: HeaderValue::from_str(authority).map_err(|_| wrong("host or port is none"))?,
            prefix,
            authorization: user.and_then(basic),
            shown,
        })
    }
}

/// Takes host and port apart; 80 and 443 are HTTP's own ports (RFC 9110, sections 4.2.1 and 4.2.2).
fn split(authority: &str, default_port: u16) -> Option<(&str, u16)> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(digits) => digits.parse().ok().filter(|port| *port > 0)?,
        None if rest.is_empty() => default_port,
        None => return None,
    };
    (!host.is_empty()).then_some((host, port))
}

/// Returns `user:password`, which a URL holds percent-encoded, as RFC 7617 wants it.
fn basic(user: &str) -> Option<HeaderValue> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut plain: Vec<u8> = percent_decode_str(name).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(password));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GatewayUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_port_and_prefix() {
        let topic = "jobs.1".parse().unwrap();
        for (text, address, authority, path) in [
            ("http://127.0.0.1:8080", ("127.0.0.1", 8080), "127.0.0.1:8080", "/topics/jobs.1/events"),
            ("http://gateway", ("gateway", 80), "gateway", "/topics/jobs.1/events"),
            ("http://gateway/", ("gateway", 80), "gateway", "/topics/jobs.1/events"),
            ("http://h:1/a/push/", ("h", 1), "h:1", "/a/push/topics/jobs.1/events"),
            ("http://[::1]:8080/x", ("::1", 8080), "[::1]:8080", "/x/topics/jobs.1/events"),
            ("http://[fe80::1]", ("fe80::1", 80), "[fe80::1]", "/topics/jobs.1/events"),
            ("http://u:p@h:1", ("h", 1), "h:1", "/topics/jobs.1/events"),
            ("https://h/x", ("h", 443), "h", "/x/topics/jobs.1/events"),
            ("https://[::1]:8443", ("::1", 8443), "[::1]:8443", "/topics/jobs.1/events"),
        ] {
            let url: GatewayUrl = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((url.address(), url.authority().to_str().unwrap()), (address, authority), "{text}");
            assert_eq!(url.events_of(&topic), path, "{text}");
        }
    }

    #[test]
    fn what_stays_on_this_machine() {
        let is_loopback = |text: &str| text.parse::<GatewayUrl>().unwrap().is_loopback();
        for text in
            ["http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]", "http://localhost:8080", "http://LocalHost"]
        {
            assert!(is_loopback(text), "{text}");
        }
        for text in
            ["http://h", "http://10.0.0.1", "http://localhost.example", "http://127.0.0.1.example", "http://[::]"]
        {
            assert!(!is_loopback(text), "{text}");
        }
    }

    #[test]
    fn a_password_is_sent_and_never_shown() {
        let url: GatewayUrl = "http://ali:s3%2Fcr%40t@h:1/x/".parse().unwrap();
        assert_eq!(url.to_string(), "http://ali@h:1/x");
        let authorization = url.authorization().unwrap();
        assert_eq!(authorization.to_str().unwrap(), format!("Basic {}", STANDARD.encode("ali:s3/cr@t")));
        assert!(!format!("{url:?} {authorization:?}").contains("s3"));
        assert_eq!("http://h".parse::<GatewayUrl>().unwrap().authorization(), None);
    }

    #[test]
    fn what_is_no_url_is_not_repeated() {
        for (text, words) in [
            ("", "cannot be read"),
            ("127.0.0.1:8080", "http://"),
            ("gateway", "does not start with http://"),
            ("amqp://u:s3cret@h", "does not start with http://"),
            ("https://u:s3cret@h:0", "host or port"),
            ("http://u:s3cret@", ""),
            ("http://u:s3cret@h:99999", ""),
            ("http://h:0", "host or port"),
            ("http://h:", "host or port"),
            ("http://[::1", ""),
            ("http://h/?a=1", "more than a path"),
            ("http://h/#a", "more than a path"),
            ("http://u:s3 cret@h", "cannot be read"),
        ] {
            let error = text.parse::<GatewayUrl>().expect_err(text).to_string();
            assert!(error.contains(words) && !error.contains("s3"), "{text}: {error}");
        }
    }
}
