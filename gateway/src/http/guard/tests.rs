//! The rules as a table. What a refused request leaves undone is seen in `tests/it/guard.rs`.

use super::*;

const NONE: [(&str, &str); 0] = [];

fn loopback(address: &str) -> Listener {
    Listener::of(Some(address.parse().unwrap()), false)
}

fn checked(
    listener: Listener,
    hosts: &[&str],
    origins: &[&str],
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
) -> Result<Page, Refusal> {
    let request = headers
        .iter()
        .fold(Request::builder().method(method).uri(path), |request, (name, value)| request.header(*name, *value));
    let hosts = AllowedHosts::new(hosts.iter().map(|text| text.parse().unwrap()).collect());
    let origins = AllowedOrigins::new(origins.iter().map(|text| text.parse().unwrap()).collect());
    check(&request.body(()).unwrap(), listener, &hosts, &origins)
}

/// A poll by a program, with this `Host`.
fn of_host(listener: Listener, hosts: &[&str], host: &str) -> Result<Page, Refusal> {
    checked(listener, hosts, &[], ("GET", "/clients/a/events"), &[("host", host)])
}

/// What a browser sends to `localhost:8080`.
fn sent(origins: &[&str], request: (&str, &str), headers: &[(&str, &str)]) -> Result<Page, Refusal> {
    let headers = [&[("host", "localhost:8080")], headers].concat();
    checked(loopback("127.0.0.1:8080"), &[], origins, request, &headers)
}

#[test]
fn on_loopback_only_names_that_cannot_be_rebound_are_its_own() {
    let [v4, v6, other] = ["127.0.0.1:8080", "[::1]:8080", "127.0.0.9:80"].map(loopback);
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:8080", "[0:0::1]"] {
        for listener in [v4, v6, other] {
            assert_eq!(of_host(listener, &[], host), Ok(Page::Own), "{host}");
        }
    }
    assert_eq!(of_host(other, &[], "127.0.0.9:8000"), Ok(Page::Own));
    for host in
        ["evil.example", "127.0.0.9", "localhost.", "localhost.evil.example", "a.localhost", "[::2]", "10.0.0.1"]
    {
        assert_eq!(of_host(v4, &[], host), Err(Refusal::UnknownHost(host.to_owned())));
    }
    assert_eq!(of_host(v4, &["push.example", "::2"], "push.example:8443"), Ok(Page::Own));
    assert_eq!(of_host(v4, &["push.example", "::2"], "[::2]"), Ok(Page::Own));
    assert_eq!(of_host(v4, &["push.example"], "localhost"), Ok(Page::Own));
    assert!(of_host(v4, &["push.example"], "other.example").is_err());
}

#[test]
fn elsewhere_names_are_checked_once_they_are_given() {
    for listener in [loopback("0.0.0.0:8080"), loopback("192.0.2.1:80"), loopback("[::]:80"), Listener::of(None, false)]
    {
        assert_eq!(of_host(listener, &[], "any.example"), Ok(Page::Own));
        assert_eq!(of_host(listener, &["push.example"], "push.example"), Ok(Page::Own));
        for host in ["localhost", "127.0.0.1", "any.example"] {
            assert!(of_host(listener, &["push.example"], host).is_err(), "{host}");
        }
    }
}

#[test]
fn there_is_one_host_and_it_is_that_of_the_url() {
    let listener = loopback("127.0.0.1:8080");
    let of = |version, uri: &str, headers: &[&str]| {
        let request = headers
            .iter()
            .fold(Request::builder().version(version).uri(uri), |request, host| request.header("host", *host));
        check(&request.body(()).unwrap(), listener, &AllowedHosts::default(), &AllowedOrigins::default())
    };
    let (v10, v11, v2) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
    for (version, uri, headers) in [
        (v10, "/", &["localhost"][..]),
        (v11, "http://LOCALHOST:80/", &["localhost:80"]),
        (v2, "http://localhost/", &[]),
        (v2, "http://localhost/", &["localhost"]),
        (v2, "/", &["localhost"]),
        (v11, "/live", &[]),
        (v11, "/ready", &["evil.example"]),
        (v10, "/live", &["no host"]),
    ] {
        assert!(of(version, uri, headers).is_ok(), "{version:?} {uri} {headers:?}");
    }
    let other = Refusal::OtherHostThanUrl("localhost".to_owned());
    for (version, uri, headers, refusal) in [
        (v10, "/", &[][..], &Refusal::NoHost),
        (v11, "/", &[], &Refusal::NoHost),
        (v2, "/", &[], &Refusal::NoHost),
        (v11, "/", &["localhost", "localhost"], &Refusal::TwoHosts),
        (v11, "/live", &["localhost", "localhost"], &Refusal::TwoHosts),
        (v2, "http://localhost/", &["localhost", "localhost"], &Refusal::TwoHosts),
        (v11, "/", &[""], &Refusal::WrongHost),
        (v11, "/", &["a b"], &Refusal::WrongHost),
        (v11, "/", &["user@localhost"], &Refusal::WrongHost),
        (v11, "http://localhost/", &[], &other),
        (v11, "http://localhost/", &["127.0.0.1"], &other),
        (v2, "http://localhost/", &["127.0.0.1"], &other),
        (v11, "http://localhost/live", &["127.0.0.1"], &other),
    ] {
        assert_eq!(of(version, uri, headers).as_ref(), Err(refusal), "{version:?} {uri} {headers:?}");
    }
    // Where any name will do, a request of HTTP/1.0 needs none.
    let bare = Request::builder().version(v10).body(()).unwrap();
    let anywhere = Listener::of(None, false);
    assert_eq!(check(&bare, anywhere, &AllowedHosts::default(), &AllowedOrigins::default()), Ok(Page::Own));
}

#[test]
fn pages_of_other_origins_are_refused_unless_they_are_let_in() {
    let post = ("POST", "/topics/a/events");
    let page = |origins: &[&str], origin| sent(origins, post, &[("origin", origin), ("sec-fetch-site", "cross-site")]);
    let refused = |origin: &str| Err(Refusal::Origin(origin.to_owned()));
    for origin in ["https://app.example", "http://localhost:3000", "https://localhost:3000", "null", ""] {
        assert_eq!(page(&[], origin), refused(origin));
        assert_eq!(page(&["*"], origin), Ok(Page::Any));
    }
    assert_eq!(page(&["https://app.example"], "https://app.example"), Ok(Page::Named));
    assert_eq!(page(&["*", "https://app.example"], "https://app.example"), Ok(Page::Named));
    assert_eq!(page(&["https://app.example"], "null"), refused("null"));
    let two = [("origin", "https://app.example"), ("origin", "https://app.example")];
    assert_eq!(sent(&["https://app.example"], post, &two), refused("https://app.example"));
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let of = |path| sent(&[], (method, path), &[("origin", "https://app.example")]);
        for path in ["/", "/metrics", "/clients/a", "/topics/a/events", "/nothing", "*", "//live"] {
            assert_eq!(of(path), refused("https://app.example"), "{method} {path}");
        }
        assert_eq!(of("/client.js").is_ok(), method == "GET", "{method}");
        for path in ["/live", "/ready"] {
            assert_eq!(of(path), Ok(Page::Stranger), "{method} {path}");
        }
    }
}

#[test]
fn the_gateways_own_page_is_known_also_behind_a_proxy_with_tls() {
    let post = ("POST", "/topics/a/events");
    let page = |is_tls, host, origin, site: &[(&str, &str)]| {
        let headers = [&[("host", host), ("origin", origin)], site].concat();
        checked(Listener::of(None, is_tls), &[], &[], post, &headers)
    };
    for (host, origin) in [
        ("push.example", "https://push.example"),
        ("push.example", "http://push.example"),
        ("push.example:443", "https://push.example"),
        ("push.example:80", "http://push.example"),
        ("Push.Example:8443", "https://push.example:8443"),
        ("[::1]:8080", "http://[::1]:8080"),
    ] {
        for site in [&NONE[..], &[("sec-fetch-site", "same-origin")]] {
            assert_eq!(page(false, host, origin, site), Ok(Page::Own), "{host} {origin}");
        }
        let is_tls = origin.starts_with("https");
        assert_eq!(page(true, host, origin, &NONE).is_ok(), is_tls, "{host} {origin}");
    }
    for (host, origin) in [
        ("push.example", "https://push.example:8443"),
        ("push.example:8080", "http://push.example"),
        ("push.example:80", "https://push.example"),
        ("push.example", "https://push.example.evil.example"),
        ("push.example", "ftp://push.example"),
        ("push.example", "push.example"),
    ] {
        assert_eq!(page(false, host, origin, &NONE), Err(Refusal::Origin(origin.to_owned())), "{host} {origin}");
    }
    // A browser that knows better is believed: this one is of the other scheme.
    let site = [("sec-fetch-site", "cross-site")];
    assert!(page(false, "push.example", "http://push.example", &site).is_err());
}

#[test]
fn what_another_site_asks_for_without_cors_is_refused_but_for_what_has_no_effect() {
    let of = |origins: &[&str], request, mode: &str, dest: &str, site: &str| {
        let headers = [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
        sent(origins, request, &headers)
    };
    let poll = ("GET", "/clients/a/events");
    for site in ["cross-site", "same-site", "something-new"] {
        for (mode, dest) in
            [("navigate", "document"), ("no-cors", "image"), ("no-cors", "empty"), ("navigate", "iframe")]
        {
            for origins in [&[][..], &["https://app.example"], &["*"]] {
                assert_eq!(of(origins, poll, mode, dest, site), Err(Refusal::CrossSite), "{site} {mode} {dest}");
                let is_link = dest == "document";
                assert_eq!(of(origins, ("GET", "/"), mode, dest, site).is_ok(), is_link, "{site} {mode} {dest}");
                assert!(of(origins, ("GET", "/client.js"), mode, dest, site).is_ok(), "{site} {mode} {dest}");
            }
            assert_eq!(of(&["*"], ("POST", "/"), mode, dest, site), Err(Refusal::CrossSite));
        }
    }
    for site in ["same-origin", "none"] {
        assert_eq!(of(&[], poll, "cors", "empty", site), Ok(Page::Own));
    }
    let two = [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")];
    assert_eq!(sent(&[], poll, &two), Err(Refusal::CrossSite));
    assert_eq!(sent(&[], poll, &NONE), Ok(Page::Own));
}

#[test]
fn a_star_trusts_no_page_with_cookies() {
    let trusted = [Page::Own, Page::Named, Page::Any, Page::Stranger].map(Page::may_use_cookies);
    assert_eq!(trusted, [true, true, false, false]);
}

#[test]
fn each_refusal_names_its_remedy() {
    let text = String::from;
    for (refusal, remedy) in [
        (Refusal::UnknownHost(text("a.example")), "--host a.example"),
        (Refusal::Origin(text("https://a.example")), "--allow-origin https://a.example"),
        (Refusal::Origin(text("null")), "--allow-origin '*'"),
        (Refusal::CrossSite, "--allow-origin"),
    ] {
        assert!(refusal.detail().contains(remedy), "{}", refusal.detail());
    }
}
