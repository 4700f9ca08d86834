//! Where the broker is.

use std::{fmt, str::FromStr};

use lapin::uri::AMQPUri;

/// Seconds between heartbeats when the URL does not say. A silent holder of a mailbox blocks it for two to three.
const HEARTBEAT_SECONDS: u16 = 5;

/// Milliseconds that the network connection may take when the URL does not say.
const CONNECTION_TIMEOUT_MS: u64 = 10_000;

/// Parameters by which RabbitMQ's own clients are told about TLS. None of them is known here, and to ignore one could
/// mean to trust the wrong broker, or to be refused by the right one.
const TLS_PARAMETERS: [&str; 8] = [
    "cacertfile",
    "certfile",
    "keyfile",
    "password",
    "verify",
    "depth",
    "fail_if_no_peer_cert",
    "server_name_indication",
];

/// A broker's URL: `amqp[s]://user:password@host:port/vhost?heartbeat=5`. Its password is never shown.
#[derive(Clone)]
pub struct AmqpUrl {
    text: String,
    shown: String,
}

/// Why a text is no [`AmqpUrl`]. The text itself is not repeated: it may hold a password.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AmqpUrlError {
    /// It cannot be parsed.
    #[error(
        "not an AMQP URL ({0}); it looks like amqp://user:password@host:5672/vhost; percent-encode user, password and virtual \
         host (@ is %40, # is %23, / is %2F, ? is %3F)"
    )]
    Form(String),
    /// It has a parameter by which other clients are told about TLS; with its name.
    #[error(
        "its parameter {0} is not known here, and is not ignored either: an amqps broker is always verified, by the certificates \
         of this system or those of the file that SSL_CERT_FILE names; a client certificate cannot be given"
    )]
    Tls(&'static str),
}

impl AmqpUrl {
    /// Returns the whole URL, password included, for the one call that connects.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.text
    }
}

impl FromStr for AmqpUrl {
    type Err = AmqpUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.contains("://") {
            return Err(AmqpUrlError::Form("it has no ://".to_owned()));
        }
        // A fragment would be ignored: the URL of such a broker ends in the middle of its password.
        if text.contains('#') {
            return Err(AmqpUrlError::Form("it has a #".to_owned()));
        }
        let mut uri: AMQPUri = text.parse().map_err(AmqpUrlError::Form)?;
        if let Some(parameter) = tls_parameter(text) {
            return Err(AmqpUrlError::Tls(parameter));
        }
        // `amqp://host/` names the virtual host "", which no broker has; people mean the default one.
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        uri.query.connection_timeout.get_or_insert(CONNECTION_TIMEOUT_MS);
        let authority = &uri.authority;
        let shown = format!(
            "{}://{}@{}:{} (vhost {})",
            uri.scheme, authority.userinfo.username, authority.host, authority.port, uri.vhost
        );
        Ok(Self { text: uri.to_string(), shown })
    }
}

/// Returns the first parameter about TLS that asks for something else than is done.
fn tls_parameter(url: &str) -> Option<&'static str> {
    let (_, query) = url.split_once('?')?;
    let mut asked = query.split('&').filter(|parameter| *parameter != "verify=verify_peer");
    asked.find_map(|parameter| {
        let name = parameter.split('=').next()?;
        TLS_PARAMETERS.into_iter().find(|known| *known == name)
    })
}

impl fmt::Display for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AmqpUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let url: AmqpUrl = "amqp://user:s3cret@broker:5673/jobs".parse().unwrap();
        assert_eq!(url.to_string(), "amqp://user@broker:5673 (vhost jobs)");
        assert!(!format!("{url:?}").contains("s3cret"));
        let error = "amqp:/user:s3cret@".parse::<AmqpUrl>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[test]
    fn sane_defaults_fill_the_gaps_and_only_those() {
        let parsed = |text: &str| text.parse::<AmqpUrl>().unwrap().secret().parse::<AMQPUri>().unwrap();
        assert_eq!(parsed("amqp://localhost").query.heartbeat, Some(HEARTBEAT_SECONDS));
        assert_eq!(parsed("amqp://localhost?heartbeat=2").query.heartbeat, Some(2));
        assert_eq!(parsed("amqp://localhost").vhost, "/");
        assert_eq!(parsed("amqp://localhost/").vhost, "/");
        assert_eq!(parsed("amqp://localhost/%2f").vhost, "/");
        assert_eq!(parsed("amqp://u%40x:p%2Fw@localhost/v").authority.userinfo.password, "p/w");
        for bad in ["http://localhost", "localhost:5672", ""] {
            assert!(bad.parse::<AmqpUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_that_is_not_encoded_is_told_so() {
        for password in ["pa#ss", "pa/ss", "pa?ss", "12#ss"] {
            let error = format!("amqp://user:{password}@broker/jobs").parse::<AmqpUrl>().unwrap_err().to_string();
            assert!(error.contains("percent-encode user, password and virtual host"), "{password}: {error}");
            assert!(!error.contains(password), "{error}");
        }
        assert!("amqp://user:pa%23s%2Fs@broker/jobs".parse::<AmqpUrl>().is_ok());
    }

    #[test]
    fn what_is_asked_of_tls_is_not_ignored() {
        for query in ["cacertfile=/ca.pem", "heartbeat=5&verify=verify_none", "certfile=/c.pem&keyfile=/k.pem"] {
            let error = format!("amqps://user:s3cret@broker/jobs?{query}").parse::<AmqpUrl>().unwrap_err().to_string();
            assert!(error.contains("SSL_CERT_FILE") && !error.contains("s3cret"), "{query}: {error}");
        }
        for query in ["heartbeat=5", "verify=verify_peer", "frame_max=131072&retry_delay=5"] {
            assert!(format!("amqps://broker?{query}").parse::<AmqpUrl>().is_ok(), "{query}");
        }
    }
}
