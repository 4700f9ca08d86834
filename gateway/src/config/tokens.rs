//! Flags of access: tokens, the keys that they are checked by, and what a request without one may do.

use std::{path::PathBuf, sync::Arc, time::Duration};

use access::{Access, AccessOptions, ClientPattern, KeyFileError, KeyFiles, Rights, TokenOptions};
use clap::{
    Args,
    builder::{PathBufValueParser, StringValueParser},
};
use events::TopicPattern;
use settings::{Setting, boolean};

use super::values::positive_duration;
use crate::http::{TokenCookies, key_set::KeySetUrl};

/// The cookies that a token may be in unless one is named. A browser takes the first one over TLS only, and from no
/// other host (RFC 6265bis, section 4.1.3.2).
const COOKIES: [&str; 2] = ["__Host-postern", "postern"];

/// What a cookie begins with that a browser takes over TLS only.
const SECURE_PREFIXES: [&str; 2] = ["__Host-", "__Secure-"];

#[allow(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    rustdoc::broken_intra_doc_links,
    reason = "these are the texts of --help, which is not Markdown"
)]
/// See the module.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
pub(super) struct TokenArgs {
    /// A file of public keys that tokens are checked by: PEM, one after another, or a JSON Web Key Set. RS256, PS256,
    /// ES256, ES384 and EdDSA follow from the key. Read again when it changes. Repeatable, or separated by commas
    #[arg(long, env = "POSTERN_TOKEN_KEY", value_name = "FILE", value_delimiter = ',',
          value_parser = Setting(PathBufValueParser::new()))]
    token_key: Vec<PathBuf>,

    /// A file of secrets of HS256, one on each line, of at least 32 bytes. Read again when it changes. Repeatable, or
    /// separated by commas
    #[arg(long, env = "POSTERN_TOKEN_SECRET_FILE", value_name = "FILE", value_delimiter = ',',
          value_parser = Setting(PathBufValueParser::new()))]
    token_secret_file: Vec<PathBuf>,

    /// Where an identity provider publishes its keys (a JSON Web Key Set). Fetched every 10m, and when a token names a key
    /// that is unknown. Needs --token-issuer and --token-audience
    #[arg(long, env = "POSTERN_JWKS_URL", value_name = "URL", value_parser = Setting(str::parse::<KeySetUrl>))]
    jwks_url: Option<KeySetUrl>,

    /// What the claim "iss" of a token has to be
    #[arg(long, env = "POSTERN_TOKEN_ISSUER", value_name = "TEXT", value_parser = Setting(StringValueParser::new()))]
    token_issuer: Option<String>,

    /// What the claim "aud" of a token has to be, or to contain
    #[arg(long, env = "POSTERN_TOKEN_AUDIENCE", value_name = "TEXT", value_parser = Setting(StringValueParser::new()))]
    token_audience: Option<String>,

    /// How far ahead the claim "exp" of a token may be. A token cannot be revoked before
    #[arg(long, env = "POSTERN_TOKEN_LIFETIME", value_name = "DURATION", default_value = "24h",
          value_parser = Setting(positive_duration))]
    token_lifetime: Duration,

    /// The claim that holds the rights: {"clients": […], "read": […], "publish": […], "rate": N}
    #[arg(long, env = "POSTERN_TOKEN_CLAIM", value_name = "NAME", default_value = "postern",
          value_parser = Setting(StringValueParser::new()))]
    token_claim: String,

    /// The cookie that a token may be in, besides the header Authorization [default: __Host-postern, and postern where
    /// only this machine can connect]
    #[arg(long, env = "POSTERN_TOKEN_COOKIE", value_name = "NAME", value_parser = Setting(StringValueParser::new()))]
    token_cookie: Option<String>,

    /// A topic or pattern that a request without a token may read. Repeatable, or separated by commas
    #[arg(long, env = "POSTERN_ANONYMOUS_READ", value_name = "TOPIC", value_delimiter = ',',
          value_parser = Setting(str::parse::<TopicPattern>))]
    anonymous_read: Vec<TopicPattern>,

    /// A topic or pattern that a request without a token may publish to. Repeatable, or separated by commas
    #[arg(long, env = "POSTERN_ANONYMOUS_PUBLISH", value_name = "TOPIC", value_delimiter = ',',
          value_parser = Setting(str::parse::<TopicPattern>))]
    anonymous_publish: Vec<TopicPattern>,

    /// A request without a token may use any mailbox whose id it knows. Not with keys: there the ids are names of users
    #[arg(long, env = "POSTERN_ANONYMOUS_MAILBOXES", value_parser = Setting(boolean))]
    anonymous_mailboxes: bool,
}

/// Why access cannot be as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum AccessConfigError {
    /// The keys cannot be used.
    #[error("--token-key or --token-secret-file: {0}")]
    Keys(#[from] KeyFileError),
    /// Keys that would restrict nothing.
    #[error(
        "--allow-anonymous lets requests without a token do everything, so keys would restrict nothing: leave it out, or \
         say with --anonymous-read, --anonymous-publish and --anonymous-mailboxes what needs no token"
    )]
    KeysForNothing,
    /// Mailboxes of users whose names are no secrets.
    #[error(
        "--anonymous-mailboxes lets requests without a token use every mailbox whose id they know, and with keys the ids \
         are names of users: leave it out, and give such clients a token of their own"
    )]
    OpenMailboxes,
    /// A secret beside public keys of another party.
    #[error("--jwks-url and --token-secret-file are two kinds of issuers: give one of them")]
    SecretBesideUrl,
    /// A key set without a check of whose tokens, and for whom.
    #[error(
        "--jwks-url needs --token-issuer and --token-audience: the keys of an identity provider sign tokens for other \
         services as well"
    )]
    UrlAlone,
    /// Settings of tokens, and no key.
    #[error("{0} has no effect without keys: give --token-key, --token-secret-file or --jwks-url as well")]
    NoKeys(&'static str),
    /// A cookie that goes over the network as it is.
    #[error(
        "--token-cookie {0} would go over networks in clear: give it a name that begins with __Host- or __Secure-, which \
         browsers send over TLS only"
    )]
    OpenCookie(String),
}

/// Who may do what, for the parts that need to know.
#[derive(Debug)]
pub(super) struct AccessSettings {
    pub(super) access: Arc<Access>,
    pub(super) cookies: TokenCookies,
    pub(super) key_set: Option<KeySetUrl>,
}

impl TokenArgs {
    /// Tells whether what a request may do is said by keys or by the flags of requests without a token.
    pub(super) fn is_restricted(&self) -> bool {
        self.has_keys() || self.names_anonymous_rights()
    }

    fn names_anonymous_rights(&self) -> bool {
        self.anonymous_mailboxes || !self.anonymous_read.is_empty() || !self.anonymous_publish.is_empty()
    }

    fn has_keys(&self) -> bool {
        !self.token_key.is_empty() || !self.token_secret_file.is_empty() || self.jwks_url.is_some()
    }

    /// Reads the keys and returns who may do what. `is_open`: a request without a token may do everything. `is_local`:
    /// only this machine connects, and no proxy passes on what others send.
    pub(super) fn access(self, is_open: bool, is_local: bool) -> Result<AccessSettings, AccessConfigError> {
        let has_keys = self.has_keys();
        let secrets_beside_url = self.jwks_url.is_some() && !self.token_secret_file.is_empty();
        let without_effect = [
            ("--token-issuer", self.token_issuer.is_some()),
            ("--token-audience", self.token_audience.is_some()),
            ("--token-cookie", self.token_cookie.is_some()),
        ];
        if is_open && has_keys {
            return Err(AccessConfigError::KeysForNothing);
        }
        if self.anonymous_mailboxes && has_keys {
            return Err(AccessConfigError::OpenMailboxes);
        }
        if secrets_beside_url {
            return Err(AccessConfigError::SecretBesideUrl);
        }
        if self.jwks_url.is_some() && (self.token_issuer.is_none() || self.token_audience.is_none()) {
            return Err(AccessConfigError::UrlAlone);
        }
        if let Some((flag, _)) = without_effect.into_iter().find(|(_, is_given)| *is_given && !has_keys) {
            return Err(AccessConfigError::NoKeys(flag));
        }
        let cookies = match &self.token_cookie {
            Some(name) if !is_local && !SECURE_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) => {
                return Err(AccessConfigError::OpenCookie(name.clone()));
            }
            Some(name) => vec![name.clone()],
            None => COOKIES[..if is_local { 2 } else { 1 }].iter().map(|&name| name.to_owned()).collect(),
        };
        let anonymous = if is_open || !self.is_restricted() {
            Some(Rights::all())
        } else {
            self.names_anonymous_rights().then(|| Rights {
                clients: if self.anonymous_mailboxes { vec![ClientPattern::Any] } else { Vec::new() },
                read: (!self.anonymous_read.is_empty()).then(|| self.anonymous_read.clone().into()),
                publish: self.anonymous_publish.clone(),
                ..Rights::default()
            })
        };
        let options = AccessOptions {
            tokens: TokenOptions {
                issuer: self.token_issuer,
                audience: self.token_audience,
                lifetime: self.token_lifetime,
                claim: self.token_claim,
            },
            files: KeyFiles { public: self.token_key, secret: self.token_secret_file },
            has_key_set: self.jwks_url.is_some(),
            anonymous,
        };
        Ok(AccessSettings {
            access: Arc::new(Access::new(options, Arc::default())?),
            cookies: TokenCookies(cookies),
            key_set: self.jwks_url,
        })
    }
}
