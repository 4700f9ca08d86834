//! An origin as a browser writes it in the `Origin` header (RFC 6454, section 6.2): the text that is compared is that
//! one.

use std::{net::Ipv6Addr, str::FromStr};

/// An origin that may use the gateway: `https://app.example`, or `*` for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// Why a text is no [`Origin`]: no browser would ever send it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// No scheme, or what follows is no host.
    #[error("an origin is scheme://host or scheme://host:port, e.g. https://app.example, or *")]
    Form,
    /// There is more than scheme, host and port; with what there should be.
    #[error("an origin ends after its host and port, without a user, a path or a slash: {0}")]
    More(String),
    /// A wildcard within a host.
    #[error(
        "* stands for any origin and not for a part of one: name each origin, e.g. https://app.example, or give * alone"
    )]
    Wildcard,
    /// A host with letters that are not ASCII.
    #[error("browsers write this host in ASCII (punycode, xn--…): write it as they do")]
    NotAscii,
    /// The origin of pages that have none.
    #[error(
        "null is the origin of every file and every sandboxed page, so it names none of them: give * for any origin"
    )]
    Null,
}

impl Origin {
    /// Tells whether it stands for any origin.
    pub(super) fn is_any(&self) -> bool {
        self.0 == "*"
    }

    /// Tells whether a header names it.
    pub(super) fn is_named_by(&self, header: &[u8]) -> bool {
        self.0.as_bytes() == header
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().to_ascii_lowercase();
        if text == "*" {
            return Ok(Self(text));
        }
        if text == "null" {
            return Err(OriginError::Null);
        }
        let (scheme, rest) = text.split_once("://").ok_or(OriginError::Form)?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        if !is_scheme {
            return Err(OriginError::Form);
        }
        // Browsers send null for files.
        if scheme == "file" {
            return Err(OriginError::Null);
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let origin = format!("{scheme}://{}", host_and_port(scheme, host)?);
        if host.len() == rest.len() { Ok(Self(origin)) } else { Err(OriginError::More(origin)) }
    }
}

/// Returns host and port as a browser writes them: without the port that the scheme has anyway.
fn host_and_port(scheme: &str, text: &str) -> Result<String, OriginError> {
    if text.contains('*') {
        return Err(OriginError::Wildcard);
    }
    if !text.is_ascii() {
        return Err(OriginError::NotAscii);
    }
    let (host, port) = match text.rfind(':').filter(|colon| !text[*colon..].contains(']')) {
        Some(colon) => {
            let port: u16 = text[colon + 1..].parse().map_err(|_| OriginError::Form)?;
            (&text[..colon], Some(port))
        }
        None => (text, None),
    };
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => format!("[{}]", address.parse::<Ipv6Addr>().map_err(|_| OriginError::Form)?),
        None if is_name(host) => host.to_owned(),
        None => return Err(OriginError::Form),
    };
    let usual = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    Ok(match port.filter(|_| port != usual) {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_kept_as_a_browser_writes_it() {
        for (text, kept) in [
            ("https://app.example", "https://app.example"),
            (" https://App.Example ", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("http://app.example:443", "http://app.example:443"),
            ("http://localhost:08080", "http://localhost:8080"),
            ("http://[0:0::1]:3000", "http://[::1]:3000"),
            ("http://[::1]", "http://[::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("*", "*"),
        ] {
            assert_eq!(text.parse(), Ok(Origin(kept.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_refused_with_what_one_sends() {
        let more = |text: &str| OriginError::More(text.to_owned());
        for (text, error) in [
            ("app.example", OriginError::Form),
            ("https://", OriginError::Form),
            ("https://a b", OriginError::Form),
            ("https://a:", OriginError::Form),
            ("https://a:99999", OriginError::Form),
            ("https://[::1", OriginError::Form),
            ("https://[::1]x", OriginError::Form),
            ("://a", OriginError::Form),
            ("", OriginError::Form),
            ("https://app.example/", more("https://app.example")),
            ("https://app.example:443/path?query#part", more("https://app.example")),
            ("https://user@app.example", more("https://app.example")),
            ("https://*.example.com", OriginError::Wildcard),
            ("https://*", OriginError::Wildcard),
            ("https://bücher.example", OriginError::NotAscii),
            ("null", OriginError::Null),
            ("file:///page.html", OriginError::Null),
        ] {
            assert_eq!(text.parse::<Origin>(), Err(error), "{text}");
        }
    }
}
