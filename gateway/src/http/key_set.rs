//! The keys of tokens from a URL: a JSON Web Key Set (RFC 7517, section 5), as an identity provider publishes it.

use std::{fmt, str::FromStr};

use access::KeySetSource;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Method, Request, Uri, header::ACCEPT};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

/// The largest set, in bytes.
const MAX_SET: usize = 64 * 1024;

/// Where a key set is. It is fetched over TLS; on the machine itself it may be without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySetUrl(Uri);

/// Why a text is no [`KeySetUrl`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetUrlError {
    /// No URL.
    #[error("it is no URL; it looks like https://id.example/.well-known/jwks.json")]
    NoUrl,
    /// Keys that anything in between could replace.
    #[error("keys are fetched over https only: over http another machine on the way could put its own in their place")]
    NotSecure,
}

impl FromStr for KeySetUrl {
    type Err = KeySetUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| KeySetUrlError::NoUrl)?;
        let is_loopback = matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
        match uri.scheme_str() {
            Some("https") => Ok(Self(uri)),
            Some("http") if is_loopback => Ok(Self(uri)),
            Some("http") => Err(KeySetUrlError::NotSecure),
            _ => Err(KeySetUrlError::NoUrl),
        }
    }
}

impl fmt::Display for KeySetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Fetches a key set.
pub struct KeySet {
    url: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl KeySet {
    /// Takes the URL, and the system's list of authorities.
    pub fn new(url: &KeySetUrl) -> std::io::Result<Self> {
        let connector = HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
        Ok(Self { url: url.0.clone(), client: Client::builder(TokioExecutor::new()).build(connector) })
    }
}

impl KeySetSource for KeySet {
    /// A redirect is not followed: it could lead anywhere.
    async fn fetch(&self) -> Result<String, String> {
        let request = Request::builder().method(Method::GET).uri(&self.url).header(ACCEPT, "application/json");
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        let response = self.client.request(request).await.map_err(|error| with_cause(&error))?;
        if !response.status().is_success() {
            return Err(format!("it answers {}", response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_SET).collect().await.map_err(|error| error.to_string())?;
        String::from_utf8(body.to_bytes().into()).map_err(|_| "its answer is no text".to_owned())
    }
}

/// The library says only that it could not connect; the reason is the cause.
fn with_cause(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_the_machine_itself() {
        let url = |text: &str| text.parse::<KeySetUrl>().map(|_| ());
        for good in ["https://id.example/keys", "http://127.0.0.1:9000/keys", "http://[::1]/keys", "http://localhost/"]
        {
            assert_eq!(url(good), Ok(()), "{good}");
        }
        assert_eq!(url("http://id.example/keys"), Err(KeySetUrlError::NotSecure));
        for wrong in ["", "id.example/keys", "file:///keys", "ftp://id.example"] {
            assert_eq!(url(wrong), Err(KeySetUrlError::NoUrl), "{wrong}");
        }
    }
}
