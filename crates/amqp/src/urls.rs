//! Where a broker is, at several addresses.

use std::{fmt, str::FromStr};

use super::{
    tls::{TlsError, TlsFiles},
    url::{AmqpUrl, AmqpUrlError},
};

/// The addresses of one broker: those of the nodes of a cluster, or of what stands before them. At least one.
///
/// A connection may be to any of them. So all of them name one virtual host by one scheme, for one user: what a client
/// may do must not depend on the address that it found.
#[derive(Clone)]
pub struct AmqpUrls(Vec<AmqpUrl>);

/// Why texts are no [`AmqpUrls`]. The texts are not repeated: they may hold passwords.
#[derive(Debug, thiserror::Error)]
pub enum AmqpUrlsError {
    /// There is none.
    #[error("there is no URL")]
    None,
    /// The only one is none.
    #[error(transparent)]
    Only(#[from] AmqpUrlError),
    /// One of several is none.
    #[error("URL {number} of {count}: {error}")]
    One {
        /// Which, from 1.
        number: usize,
        /// Of how many.
        count: usize,
        /// Why.
        error: AmqpUrlError,
    },
    /// They do not belong together; with what is different.
    #[error(
        "the URLs differ in {0}: they have to be addresses of one cluster, with one scheme, virtual host, user and password, and \
         differ in host and port alone"
    )]
    Differ(&'static str),
    /// There are files of TLS, which is not spoken.
    #[error(
        "--amqp-ca-file, --amqp-cert-file and --amqp-key-file are about TLS, which amqp:// does not speak; write amqps://"
    )]
    InTheClear,
    /// A file of TLS cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
}

impl AmqpUrls {
    /// Reads texts with one URL or several each, separated by white space, of which no URL has any. They get these files
    /// of TLS where they do not name others, and all files are looked at.
    pub fn read<'a>(texts: impl IntoIterator<Item = &'a str>, files: &TlsFiles) -> Result<Self, AmqpUrlsError> {
        let texts: Vec<&str> = texts.into_iter().flat_map(str::split_whitespace).collect();
        let count = texts.len();
        let read = |(index, text): (usize, &&str)| match text.parse::<AmqpUrl>() {
            Ok(url) => Ok(url.with_tls(files)),
            Err(error) if count == 1 => Err(AmqpUrlsError::Only(error)),
            Err(error) => Err(AmqpUrlsError::One { number: index + 1, count, error }),
        };
        let urls = texts.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        let first = urls.first().ok_or(AmqpUrlsError::None)?;
        if let Some(difference) = urls.iter().find_map(|url| difference(first, url)) {
            return Err(AmqpUrlsError::Differ(difference));
        }
        if first.tls().is_none() && !files.is_empty() {
            return Err(AmqpUrlsError::InTheClear);
        }
        for tls in urls.iter().filter_map(AmqpUrl::tls) {
            tls.check()?;
        }
        Ok(Self(urls))
    }

    /// Returns each address.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &AmqpUrl> {
        self.0.iter()
    }
}

/// Tells in what two URLs differ that have to be equal.
fn difference(one: &AmqpUrl, other: &AmqpUrl) -> Option<&'static str> {
    let (one, other) = (one.uri(), other.uri());
    let (user, other_user) = (&one.authority.userinfo, &other.authority.userinfo);
    [
        ("scheme", one.scheme != other.scheme),
        ("virtual host", one.vhost != other.vhost),
        ("user", user.username != other_user.username),
        ("password", user.password != other_user.password),
    ]
    .into_iter()
    .find_map(|(what, differs)| differs.then_some(what))
}

impl FromStr for AmqpUrls {
    type Err = AmqpUrlsError;

    /// As [`Self::read`] without further files of TLS.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::read([text], &TlsFiles::default())
    }
}

impl fmt::Display for AmqpUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut urls = self.0.iter();
        urls.next().map_or(Ok(()), |first| first.fmt(f))?;
        urls.try_for_each(|url| write!(f, ", {}", url.address()))
    }
}

impl fmt::Debug for AmqpUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AmqpUrls({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Result<String, String> {
        let urls = AmqpUrls::read(texts.iter().copied(), &TlsFiles::default());
        urls.map(|urls| format!("{urls} {}", urls.iter().len())).map_err(|error| error.to_string())
    }

    #[test]
    fn urls_are_separated_by_white_space_and_shown_without_passwords() {
        assert_eq!(read(&["amqp://u:s3cret@a/v"]).unwrap(), "amqp://u@a:5672 (vhost v) 1");
        let several = read(&["amqp://u:s3,cret@a/v \n\tamqp://u:s3,cret@b:1/v", "amqp://u:s3%2Ccret@[::1]/v"]);
        assert_eq!(several.unwrap(), "amqp://u@a:5672 (vhost v), b:1, [::1]:5672 3");
        assert_eq!(read(&["", " \n"]).unwrap_err(), "there is no URL");
    }

    #[test]
    fn urls_that_do_not_belong_together_are_refused() {
        for (other, what) in [
            ("amqps://u:s3cret@b/v", "scheme"),
            ("amqp://u:s3cret@b/w", "virtual host"),
            ("amqp://u:s3cret@b", "virtual host"),
            ("amqp://x:s3cret@b/v", "user"),
            ("amqp://u:hunter2@b/v", "password"),
        ] {
            let error = read(&["amqp://u:s3cret@a/v", other]).unwrap_err();
            assert!(error.contains(&format!("differ in {what}:")), "{other}: {error}");
            assert!(!error.contains("s3cret") && !error.contains("hunter2"), "{error}");
        }
        let error = read(&["amqp://a", "amqp://u:s3cret@b:port"]).unwrap_err();
        assert!(error.starts_with("URL 2 of 2: not an AMQP URL") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn files_of_tls_are_looked_at_and_need_tls() {
        let (ca, cert) = (Some("/no/such/ca.pem".into()), Some("/no/such/cert.pem".into()));
        let flags = TlsFiles { ca, ..TlsFiles::default() };
        let read = |url: &str, flags: &TlsFiles| AmqpUrls::read([url], flags).unwrap_err().to_string();
        assert!(read("amqp://a", &flags).contains("write amqps://"));
        assert!(read("amqps://a", &flags).starts_with("TLS: /no/such/ca.pem cannot be read"));
        let own = read("amqps://a?cacertfile=/no/such/own.pem", &flags);
        assert!(own.starts_with("TLS: /no/such/own.pem cannot be read"), "{own}");
        let half = read("amqps://a", &TlsFiles { cert, ..TlsFiles::default() });
        assert!(half.contains("certfile or --amqp-cert-file needs keyfile"), "{half}");
    }
}
