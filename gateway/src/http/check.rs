//! The other side of `/ready`, for a container's health check: an image needs no other HTTP client.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long the whole check may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why a URL is not well.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The URL cannot be checked.
    #[error("{0} is no URL to check; it looks like http://127.0.0.1:8080/ready")]
    Url(String),
    /// The URL is one of TLS.
    #[error(
        "{0} speaks TLS, which this check does not; give the address of --admin-listen, http://127.0.0.1:9090/ready"
    )]
    Tls(String),
    /// The connection failed.
    #[error("cannot read {0}: {1}")]
    Io(String, std::io::Error),
    /// The answer is no 200.
    #[error("{0} answers {1:?}")]
    Status(String, String),
}

/// Asks a URL and returns `Ok` if it answers 200.
pub async fn check(url: &str) -> Result<(), CheckError> {
    let parsed: Option<hyper::Uri> = url.parse().ok();
    if parsed.as_ref().and_then(hyper::Uri::scheme_str) == Some("https") {
        return Err(CheckError::Tls(url.to_owned()));
    }
    let parts = parsed.as_ref().filter(|uri| uri.scheme_str() == Some("http")).and_then(hyper::Uri::authority);
    let (Some(uri), Some(authority)) = (&parsed, parts) else { return Err(CheckError::Url(url.to_owned())) };
    let address = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80));
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {} HTTP/1.0\r\nHost: {authority}\r\n\r\n", uri.path());
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(64 * 1024).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
    };
    let answer = timeout(TIMEOUT, asking).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    let status = answer.map_err(|error| CheckError::Io(url.to_owned(), error))?;
    match status.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(CheckError::Status(url.to_owned(), status)),
    }
}
