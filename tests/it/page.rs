//! `GET /`: the page as an HTTP answer. What it does in a browser: see `browser`.

use postern_tests::{Answer, Gateway, HttpConnection, Request};

async fn gateway() -> Gateway {
    Gateway::builder().embedded().start().await
}

async fn page() -> Answer {
    Request::get("/").send(gateway().await.address()).await.expect_status(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_html_that_is_asked_for_anew() {
    let page = page().await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert!(page.text().starts_with("<!doctype html>\n<html lang=\"en\">"), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_policy_lets_in_nothing_but_itself() {
    let page = page().await;
    let policy = page.header("content-security-policy").expect("a policy");
    let directive = |name: &str| {
        let mut directives = policy.split("; ").filter_map(|directive| directive.split_once(' '));
        directives.find(|(found, _)| *found == name).unwrap_or_else(|| panic!("no {name} in {policy}")).1
    };
    for (name, sources) in [
        ("default-src", "'none'"),
        ("connect-src", "'self'"),
        ("img-src", "data:"),
        ("base-uri", "'none'"),
        ("form-action", "'none'"),
        ("frame-ancestors", "'none'"),
        ("require-trusted-types-for", "'script'"),
    ] {
        assert_eq!(directive(name), sources, "{name}");
    }
    for name in ["script-src", "style-src"] {
        let hash = directive(name).strip_prefix("'sha256-").and_then(|rest| rest.strip_suffix('\''));
        assert_eq!(hash.map(str::len), Some(44), "{name} is one hash: {policy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_needs_nothing_else() {
    let text = page().await.text();
    for attribute in ["src=", "srcset=", "action=", "@import", "url(", "import(", "import "] {
        assert!(!text.contains(attribute), "{attribute}");
    }
    let links: Vec<&str> = text.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(links.iter().all(|link| link.starts_with("data:")), "{links:?}");
    // Names of vocabularies, which no browser fetches.
    let start = |at: usize| text[at.saturating_sub(6)..].chars().take(36).collect::<String>();
    let addresses: Vec<String> = text.match_indices("//").map(|(at, _)| start(at)).collect();
    let fetched = addresses.iter().filter(|rest| rest.contains("http://") || rest.contains("https:/"));
    assert!(fetched.clone().all(|rest| rest.contains("//www.w3.org/2000/svg")), "{:?}", fetched.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_looked_at_and_nothing_else() {
    let gateway = gateway().await;
    let whole = Request::get("/").send(gateway.address()).await;
    let mut connection = HttpConnection::open(gateway.address()).await;
    connection.send(&Request::new("HEAD", "/").bytes()).await;
    let head = connection.head().await;
    for name in ["content-type", "content-length", "content-security-policy", "x-content-type-options"] {
        assert_eq!((head.status, head.header(name)), (200, whole.header(name)), "{name}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let refused = connection.request(&Request::new(method, "/")).await;
        refused.problem(405);
        assert_eq!(refused.header("allow"), Some("GET, HEAD"), "{method}");
    }
    let options = connection.request(&Request::new("OPTIONS", "/")).await.expect_status(204);
    assert_eq!(options.header("allow"), Some("GET, HEAD"));
    connection.request(&Request::get("/?topics=jobs.%23")).await.expect_status(200);
}
