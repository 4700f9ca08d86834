//! `GET /client.js` as an HTTP answer. What the module does: see `client/test`.

use postern_tests::{Gateway, Request};

const PAGE: &str = "https://app.example";

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_module_that_is_asked_for_anew_and_sent_when_it_changed() {
    let gateway = Gateway::builder().embedded().start().await;
    let whole = Request::get("/client.js").send(gateway.address()).await.expect_status(200);
    assert_eq!(whole.text(), include_str!("../../client/postern.js"));
    for (name, value) in [
        ("content-type", "text/javascript; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-cache"),
    ] {
        assert_eq!(whole.header(name), Some(value), "{name}");
    }
    let tag = whole.header("etag").expect("a tag");
    let ask = async |tags: &str| Request::get("/client.js").header("If-None-Match", tags).send(gateway.address()).await;
    for known in [tag, &format!("W/{tag}"), &format!("\"other\", {tag}"), "*"] {
        let unchanged = ask(known).await.expect_status(304);
        assert_eq!((unchanged.text().as_str(), unchanged.header("etag")), ("", Some(tag)), "{known}");
    }
    for other in ["\"other\"", "", tag.trim_matches('"')] {
        ask(other).await.expect_status(200);
    }
    Request::new("POST", "/client.js").send(gateway.address()).await.problem(405);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_allowed_origins_may_import_it() {
    let gateway = Gateway::builder().embedded().flag("--allow-origin", PAGE).start().await;
    let ask = async |origin: &str| Request::get("/client.js").header("Origin", origin).send(gateway.address()).await;
    let answer = ask(PAGE).await.expect_status(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
    // The browser keeps it from that page.
    let answer = ask("https://other.example").await.expect_status(200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
}
