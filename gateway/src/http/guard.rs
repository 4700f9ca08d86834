//! The guard: it stands before every route but `/live` and `/ready`, and refuses what a page of another origin has a
//! browser send.
//!
//! Being on loopback, or having a cookie, is no permission: a browser that is there sends what any page tells it to.
//! A GET is guarded like a POST, because a poll makes mailboxes, confirms events and displaces other polls. A refused
//! request has no effect; it is read, counted and answered.
//!
//! Programs that are no browsers send neither `Origin` nor `Sec-Fetch-Site`, and pass. What they may do is not decided
//! here.

mod host;

use std::net::{IpAddr, SocketAddr};

use hyper::{
    HeaderMap, Method, Request, Version,
    header::{HOST, HeaderName, HeaderValue, ORIGIN},
    http::uri::Authority,
};

use self::host::HostAndPort;
pub use self::host::{HostName, HostNameError};
use super::{
    cors::{AllowedOrigins, Page},
    metrics::RefusedByGuard,
};

// What the browser itself says of a request: no page can set these (W3C Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The paths that tell a supervisor about the process, which may ask in any way.
const EXEMPT: [&str; 2] = ["/live", "/ready"];

/// The listener that a request came to, as far as the guard is concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listener {
    /// Its address, if only this machine can reach it.
    loopback: Option<IpAddr>,
    /// It speaks TLS itself.
    is_tls: bool,
}

/// The names by which the gateway may be asked, besides those of loopback.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts(Vec<HostName>);

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// `Host` is missing.
    NoHost,
    /// `Host` is there twice.
    TwoHosts,
    /// `Host` names another host than the request's URL; with that one.
    OtherHostThanUrl(String),
    /// `Host` is no host and port.
    WrongHost,
    /// `Host` is no name of this gateway.
    UnknownHost(String),
    /// The page's origin is not let in.
    Origin(String),
    /// The browser says that a page of another site has it ask, without the CORS protocol.
    CrossSite,
}

impl Listener {
    /// Makes that of a socket; without an address it is one that is not bound to a network.
    pub(super) fn of(address: Option<SocketAddr>, is_tls: bool) -> Self {
        Self { loopback: address.map(|address| address.ip()).filter(IpAddr::is_loopback), is_tls }
    }

    /// Tells whether it goes by this name. A name outside of `localhost` can be made to lead to loopback by its owner
    /// (DNS rebinding), and the pages of that name would be of the gateway's own origin.
    fn is_named(self, host: &HostAndPort<'_>) -> bool {
        const LOCALHOST: [IpAddr; 2] =
            [IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)];
        let is_own = |address| LOCALHOST.contains(&address) || self.loopback == Some(address);
        host.is_name("localhost") || host.address().is_some_and(is_own)
    }
}

impl AllowedHosts {
    /// Takes the list.
    #[must_use]
    pub const fn new(hosts: Vec<HostName>) -> Self {
        Self(hosts)
    }

    /// Tells whether a request to this listener may name this host. Which names lead to a listener that others can
    /// reach is known only if they were given.
    fn admit(&self, listener: Listener, host: &HostAndPort<'_>) -> bool {
        !self.is_checked(listener)
            || (listener.loopback.is_some() && listener.is_named(host))
            || self.0.iter().any(|name| host.is_of(name))
    }

    const fn is_checked(&self, listener: Listener) -> bool {
        listener.loopback.is_some() || !self.0.is_empty()
    }
}

impl Refusal {
    /// Returns it as the value of a label.
    pub(super) const fn word(&self) -> RefusedByGuard {
        match self {
            Self::NoHost | Self::TwoHosts | Self::OtherHostThanUrl(_) | Self::WrongHost => RefusedByGuard::WrongHost,
            Self::UnknownHost(_) => RefusedByGuard::UnknownHost,
            Self::Origin(_) => RefusedByGuard::Origin,
            Self::CrossSite => RefusedByGuard::CrossSite,
        }
    }

    /// Says what is wrong, and what lets the request in.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::NoHost => "Host: it is missing; it names the host of the request's URL".to_owned(),
            Self::TwoHosts => "Host: it is given twice".to_owned(),
            Self::OtherHostThanUrl(named) => format!(
                "Host: it is not {named}, which the request's URL (in HTTP/2, :authority) names; they have to agree"
            ),
            Self::WrongHost => "Host: it is no host and port, such as localhost:8080".to_owned(),
            Self::UnknownHost(host) => format!(
                "Host: {host} is not known to be a name of this gateway; if it is one, start the gateway with --host {host}"
            ),
            Self::Origin(origin) if origin == "null" => "Origin: null is that of files, sandboxed pages and redirected \
                 forms, and only --allow-origin '*' lets it in"
                .to_owned(),
            Self::Origin(origin) => format!(
                "Origin: pages of {origin} may not use this gateway; --allow-origin {origin} lets them in; if the page \
                 is the gateway's own, the proxy between them has to pass its Host header on as it came"
            ),
            Self::CrossSite => "Sec-Fetch-Site: a page of another site has the browser ask for this, as by a link, a form or an image; \
                 pages of origins that --allow-origin names use fetch or EventSource instead, and a person types the \
                 address"
                .to_owned(),
        }
    }
}

/// Looks at a request before anything is done for it. Returns which page sent it, or why it is refused.
pub(super) fn check<B>(
    request: &Request<B>,
    listener: Listener,
    hosts: &AllowedHosts,
    origins: &AllowedOrigins,
) -> Result<Page, Refusal> {
    let named = named_host(request)?;
    let is_exempt = EXEMPT.contains(&request.uri().path());
    let host = match named.map(|text| HostAndPort::of(text).ok_or(Refusal::WrongHost)) {
        Some(Ok(host)) if hosts.admit(listener, &host) || is_exempt => Some(host),
        Some(Ok(host)) => return Err(Refusal::UnknownHost(host.name().to_owned())),
        Some(Err(refusal)) if !is_exempt => return Err(refusal),
        // HTTP/1.0 has no Host (RFC 9112, section 3.2), and no browser speaks it.
        None if !is_exempt && (request.version() != Version::HTTP_10 || hosts.is_checked(listener)) => {
            return Err(Refusal::NoHost);
        }
        _ => None,
    };
    match page(request, listener, host.as_ref(), origins) {
        Err(_) if is_exempt => Ok(Page::Stranger),
        page => page,
    }
}

/// Returns the text of the host that a request names.
///
/// An authority in its URL takes precedence (RFC 9112, section 3.2.2), and a proxy may have checked the header only, so
/// both have to be the same. Over HTTP/2 the header may be missing (RFC 9113, section 8.3.1).
fn named_host<B>(request: &Request<B>) -> Result<Option<&[u8]>, Refusal> {
    let mut headers = request.headers().get_all(HOST).iter().map(HeaderValue::as_bytes);
    let (host, second) = (headers.next(), headers.next());
    if second.is_some() {
        return Err(Refusal::TwoHosts);
    }
    let Some(url) = request.uri().authority().map(Authority::as_str) else { return Ok(host) };
    match host {
        None if request.version() >= Version::HTTP_2 => Ok(Some(url.as_bytes())),
        Some(host) if host.eq_ignore_ascii_case(url.as_bytes()) => Ok(Some(host)),
        _ => Err(Refusal::OtherHostThanUrl(url.to_owned())),
    }
}

/// Returns which page sent a request; a program that is no browser counts as the gateway's own.
fn page<B>(
    request: &Request<B>,
    listener: Listener,
    host: Option<&HostAndPort<'_>>,
    origins: &AllowedOrigins,
) -> Result<Page, Refusal> {
    let headers = request.headers();
    let mut sent = headers.get_all(ORIGIN).iter();
    let is_of_this_site = is_of_this_site(headers);
    let Some(origin) = sent.next() else {
        return if is_of_this_site {
            Ok(Page::Own)
        } else if is_link_to_page(request) || is_for_client(request) {
            Ok(Page::Stranger)
        } else {
            Err(Refusal::CrossSite)
        };
    };
    let refusal = || Refusal::Origin(String::from_utf8_lossy(origin.as_bytes()).into_owned());
    if sent.next().is_some() {
        return Err(refusal());
    }
    if is_of_this_site && host.is_some_and(|host| is_own(origin.as_bytes(), listener, host)) {
        return Ok(Page::Own);
    }
    match origins.page(origin.as_bytes()) {
        Page::Stranger if !is_for_client(request) => Err(refusal()),
        page => Ok(page),
    }
}

/// Tells whether the browser, if it is one, says that no page of another site takes part.
///
/// `same-site` is a page of another origin: `localhost:3000` is of the same site as `localhost:8080`.
fn is_of_this_site(headers: &HeaderMap) -> bool {
    headers.get_all(SEC_FETCH_SITE).iter().all(|site| site == "same-origin" || site == "none")
}

/// Tells whether a person follows a link to the gateway's own page, which no page of another site can look into.
fn is_link_to_page<B>(request: &Request<B>) -> bool {
    let says = |name: HeaderName, word: &str| request.headers().get(name).is_some_and(|value| value == word);
    (request.method(), request.uri().path()) == (&Method::GET, "/")
        && says(SEC_FETCH_MODE, "navigate")
        && says(SEC_FETCH_DEST, "document")
}

/// Tells whether a request is for the browser client, which has no effect and holds no secret. A page loads it by the
/// CORS protocol also from its own origin, with `Origin`, and the proxy in front may have replaced `Host`; a browser
/// keeps it from pages that are not let in.
fn is_for_client<B>(request: &Request<B>) -> bool {
    (request.method(), request.uri().path()) == (&Method::GET, "/client.js")
}

/// Tells whether an origin is that of the gateway's own pages: the host that the request names, which is checked.
///
/// A gateway without TLS may stand behind a proxy that has it, and does not know which of the schemes the page has. So
/// both are its own: a page of the same host and the other scheme is taken for the gateway's own by browsers that send
/// no `Sec-Fetch-Site`. A listener with TLS knows its scheme.
fn is_own(origin: &[u8], listener: Listener, host: &HostAndPort<'_>) -> bool {
    let of = |scheme: &str, port| {
        let origin = origin.strip_prefix(scheme.as_bytes())?;
        Some(HostAndPort::of(origin)?.is_same(host, port))
    };
    let is_plain = !listener.is_tls;
    of("https://", 443).or_else(|| is_plain.then(|| of("http://", 80)).flatten()).unwrap_or(false)
}

#[cfg(test)]
mod tests;
