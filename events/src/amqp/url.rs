//! Where the broker is.

use std::{fmt, str::FromStr};

use lapin::uri::AMQPUri;

/// Seconds between heartbeats when the URL does not say. A silent holder of a mailbox blocks it for two to three.
const HEARTBEAT_SECONDS: u16 = 5;

/// Milliseconds that the network connection may take when the URL does not say.
const CONNECTION_TIMEOUT_MS: u64 = 10_000;

/// A broker's URL: `amqp[s]://user:password@host:port/vhost?heartbeat=5`. Its password is never shown.
#[derive(Clone)]
pub struct AmqpUrl {
    text: String,
    shown: String,
}

/// Why a text is no [`AmqpUrl`]. The text itself is not repeated: it may hold a password.
#[derive(Debug, Clone, thiserror::Error)]
#[error("not an AMQP URL ({0}); it looks like amqp://user:password@host:5672/vhost")]
pub struct AmqpUrlError(String);

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
            return Err(AmqpUrlError("it has no ://".to_owned()));
        }
        let mut uri: AMQPUri = text.parse().map_err(AmqpUrlError)?;
        // `amqp://host/` names the virtual host "", which nobody has; people mean the default one.
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
}
