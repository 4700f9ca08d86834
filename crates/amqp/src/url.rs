//! Where a broker is.

use std::{fmt, net::Ipv6Addr, path::PathBuf, str::FromStr};

use lapin::uri::{AMQPScheme, AMQPUri};
use percent_encoding::percent_decode_str;

use super::tls::TlsFiles;

/// Seconds between heartbeats when the URL does not say. A silent holder of a mailbox blocks it for two to three.
const HEARTBEAT_SECONDS: u16 = 5;

/// Milliseconds that the network connection may take when the URL does not say.
const CONNECTION_TIMEOUT_MS: u64 = 10_000;

/// The largest frame in bytes when the URL does not say. The library keeps room for 64 of them with each connection and
/// writes zeros there: 2 MiB, where RabbitMQ's own 128 KiB would take 8 MiB. Larger events come in several frames.
const FRAME_MAX: u32 = 32 * 1024;

/// Parameters by which RabbitMQ's own clients are told about TLS and which are not known here. To ignore one could mean
/// to trust the wrong broker, or to be refused by the right one.
const UNKNOWN: [&str; 5] = ["password", "verify", "depth", "fail_if_no_peer_cert", "server_name_indication"];

/// A broker's URL: `amqp[s]://user:password@host:port/vhost?heartbeat=5`. Its password is never shown.
#[derive(Clone)]
pub struct AmqpUrl {
    uri: AMQPUri,
    text: String,
    tls: Option<TlsFiles>,
}

/// Why a text is no [`AmqpUrl`]. The text itself is not repeated: it may hold a password.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AmqpUrlError {
    /// It cannot be parsed.
    #[error(
        "not an AMQP URL ({0}); it looks like amqp://user:password@host:5672/vhost; percent-encode user, password and virtual \
         host (@ is %40, # is %23, / is %2F, ? is %3F, a space is %20)"
    )]
    Form(String),
    /// It is a list.
    #[error(
        "one URL names one host, and this one looks like a list: repeat --amqp-url for each address of the cluster, or \
         separate whole URLs by spaces in AMQP_URL or in the file; in a password a comma is %2C and @ is %40"
    )]
    List,
    /// It has a parameter by which other clients are told about TLS; with its name.
    #[error(
        "its parameter {0} is not known here, and is not ignored either: an amqps broker is always verified, under the host's \
         own name, by the authorities of this system (SSL_CERT_FILE) or by those in the file of cacertfile or --amqp-ca-file; \
         certfile and keyfile name a client certificate, whose key has no passphrase"
    )]
    Tls(&'static str),
    /// It has a parameter of TLS, which it does not ask for.
    #[error("its parameter {0} is about TLS, which amqp:// does not speak; write amqps://")]
    InTheClear(&'static str),
}

impl AmqpUrl {
    /// Returns the whole URL, password included, for the one call that connects. Its parameters of TLS are left out: see
    /// [`Self::tls`].
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.text
    }

    /// Returns host and port, as they are written in logs and metrics.
    #[must_use]
    pub fn address(&self) -> String {
        let (host, port) = (self.host(), self.uri.authority.port);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Returns the name that the broker's certificate has to be for.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.uri.authority.host
    }

    /// Returns the files of TLS, if it is spoken.
    #[must_use]
    pub const fn tls(&self) -> Option<&TlsFiles> {
        self.tls.as_ref()
    }

    pub(crate) const fn uri(&self) -> &AMQPUri {
        &self.uri
    }

    /// Adds files of TLS that the URL does not name itself.
    pub(crate) fn with_tls(self, files: &TlsFiles) -> Self {
        Self { tls: self.tls.map(|own| own.or(files)), ..self }
    }
}

impl FromStr for AmqpUrl {
    type Err = AmqpUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = |reason: &str| AmqpUrlError::Form(reason.to_owned());
        let (_, rest) = text.split_once("://").ok_or_else(|| form("it has no ://"))?;
        if is_list(rest) {
            return Err(AmqpUrlError::List);
        }
        // A fragment would be ignored: the URL of such a broker ends in the middle of its password.
        if text.contains('#') {
            return Err(form("it has a #"));
        }
        let mut uri: AMQPUri = text.parse().map_err(|reason: String| {
            // Those of its reasons that begin so repeat a part of the text.
            if reason.starts_with("Invalid") { form("the scheme, or a parameter, is wrong") } else { form(&reason) }
        })?;
        // The library takes an address of IPv6 for none, and so for "localhost".
        if let Some(host) = ipv6(rest) {
            uri.authority.host = host.to_string();
        }
        let tls = tls_files(rest, uri.scheme == AMQPScheme::AMQPS)?;
        // `amqp://host/` names the virtual host "", which no broker has; people mean the default one.
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        uri.query.frame_max.get_or_insert(FRAME_MAX);
        uri.query.connection_timeout.get_or_insert(CONNECTION_TIMEOUT_MS);
        let mut written = uri.clone();
        // As a name the library does take it.
        written.authority.host = written.authority.host.replace(':', "%3A");
        Ok(Self { text: written.to_string(), uri, tls })
    }
}

/// Tells whether what follows the scheme has a second URL or a second host in it.
fn is_list(rest: &str) -> bool {
    let authority = authority(rest);
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let second_host = user.split_once('@').is_some_and(|(_, after)| after.contains(','));
    host.contains(',') || second_host || rest.split_once(',').is_some_and(|(_, after)| after.contains("://"))
}

fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Returns the host, if it is an address of IPv6 in brackets.
fn ipv6(rest: &str) -> Option<Ipv6Addr> {
    let authority = authority(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.strip_prefix('[')?.split_once(']')?.0.parse().ok()
}

/// Reads the parameters about TLS; a parameter that asks for something else than is done is an error.
fn tls_files(rest: &str, is_spoken: bool) -> Result<Option<TlsFiles>, AmqpUrlError> {
    let mut files = TlsFiles::default();
    let (_, query) = rest.split_once('?').unwrap_or_default();
    for parameter in query.split('&').filter(|parameter| *parameter != "verify=verify_peer") {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if let Some(known) = UNKNOWN.into_iter().find(|known| *known == name) {
            return Err(AmqpUrlError::Tls(known));
        }
        let (known, file) = match name {
            "cacertfile" => ("cacertfile", &mut files.ca),
            "certfile" => ("certfile", &mut files.cert),
            "keyfile" => ("keyfile", &mut files.key),
            _ => continue,
        };
        if !is_spoken {
            return Err(AmqpUrlError::InTheClear(known));
        }
        *file = Some(PathBuf::from(percent_decode_str(value).decode_utf8_lossy().into_owned()));
    }
    Ok(is_spoken.then_some(files))
}

impl fmt::Display for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri { scheme, authority, vhost, .. } = &self.uri;
        write!(f, "{scheme}://{}@{} (vhost {vhost})", authority.userinfo.username, self.address())
    }
}

impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AmqpUrl({self})")
    }
}

#[cfg(test)]
mod tests;
