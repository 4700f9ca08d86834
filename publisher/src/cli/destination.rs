//! Where to publish: a gateway or a broker, as flags and environment say.
//!
//! Pure. A flag comes before the environment; two of the same rank are a mistake that only the user can resolve, for the
//! events would go astray.

use events::amqp::AmqpUrl;

use crate::http::{DEFAULT_GATEWAY, GatewayUrl};

/// Where to publish.
#[derive(Debug)]
pub(crate) enum Destination {
    Broker(AmqpUrl),
    Gateway(GatewayUrl),
}

/// A setting, and who made it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Setting<'a> {
    Flag(&'a str),
    Environment(&'a str),
    Unset,
}

impl Destination {
    /// Decides, or says what is wrong without repeating a URL, which may hold a password.
    pub(super) fn choose(amqp_url: Setting<'_>, gateway: Setting<'_>) -> Result<Self, String> {
        use Setting::{Environment, Flag, Unset};
        match (amqp_url, gateway) {
            (Flag(_), Flag(_)) => Err("--amqp-url and --gateway name two places; give one of them".to_owned()),
            (Environment(_), Environment(_)) => {
                Err("AMQP_URL and POSTERN_GATEWAY name two places; choose with --amqp-url or --gateway".to_owned())
            }
            (Flag(url), _) | (Environment(url), Unset) => Self::over_amqp(url),
            (_, Flag(url)) | (Unset, Environment(url)) => Self::over_http(url),
            (Unset, Unset) => Self::over_http(DEFAULT_GATEWAY),
        }
    }

    fn over_amqp(url: &str) -> Result<Self, String> {
        let url = url.parse().map_err(|error| format!("--amqp-url, or AMQP_URL in the environment: {error}"))?;
        Ok(Self::Broker(url))
    }

    fn over_http(url: &str) -> Result<Self, String> {
        let url = url.parse().map_err(|error| format!("--gateway, or POSTERN_GATEWAY in the environment: {error}"))?;
        Ok(Self::Gateway(url))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Setting::{Environment, Flag, Unset},
        *,
    };

    #[test]
    fn a_flag_comes_first_and_two_of_a_kind_are_a_mistake() {
        const BROKER: &str = "amqp://u:s3cret@b:1/v";
        const GATEWAY: &str = "http://u:s3cret@g:2";
        let (broker, gateway) = ("u@b:1 (vhost v)", "u@g:2");
        for (amqp_url, http_url, expected) in [
            (Unset, Unset, "http://127.0.0.1:8080"),
            (Flag(BROKER), Unset, broker),
            (Environment(BROKER), Unset, broker),
            (Unset, Flag(GATEWAY), gateway),
            (Unset, Environment(GATEWAY), gateway),
            (Flag(BROKER), Environment(GATEWAY), broker),
            (Environment(BROKER), Flag(GATEWAY), gateway),
            (Flag(BROKER), Flag(GATEWAY), "--amqp-url and --gateway"),
            (Environment(BROKER), Environment(GATEWAY), "AMQP_URL and POSTERN_GATEWAY"),
            (Flag("amqp:/u:s3cret@b"), Unset, "AMQP_URL in the environment: not an AMQP URL"),
            (Unset, Flag("https://u:s3cret@g"), "POSTERN_GATEWAY in the environment: not a gateway's URL"),
        ] {
            let chosen = format!("{:?}", Destination::choose(amqp_url, http_url));
            assert!(chosen.contains(expected) && !chosen.contains("s3cret"), "{amqp_url:?} {http_url:?}: {chosen}");
        }
    }
}
