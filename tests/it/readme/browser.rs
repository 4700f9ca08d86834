//! The code that the README and `docs/src/browser.md` give to pages, run in a browser.
//!
//! On a page of the gateway that has no policy, as a page of the reader's own. On the embedded broker alone: the code
//! is the same.

use std::time::Duration;

use postern_tests::{Browser, Gateway, Page, Request, eventually_eq, unique};
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);

struct Desk {
    gateway: Gateway,
    browser: Browser,
    client: String,
}

impl Desk {
    async fn new() -> Self {
        let gateway = Gateway::builder().embedded().start().await;
        let browser = Browser::start().await;
        browser.open(&format!("http://{}/live", gateway.address())).await;
        Self { gateway, browser, client: unique("page") }
    }

    /// Runs code of a page, which may never end, as a module would.
    async fn run(&self, code: &str) {
        let client = &self.client;
        let script = format!(
            "window.shown ??= []; window.failed = null;
             const clientId = {client:?}, show = (event) => shown.push(event.data), reload = () => shown.push('reset');
             (async () => {{ {code}\n }})().catch((error) => {{ window.failed = `${{error}}`; }});"
        );
        self.browser.run(&script).await;
    }

    async fn publish(&self, topic: &str, payload: &str) {
        let publish = Request::publish(topic, "application/json", payload);
        publish.send(self.gateway.address()).await.expect_status(202);
    }

    async fn is_read(&self) {
        let path = format!("/clients/{}", self.client);
        let connected = async || {
            let answer = Request::get(&path).send(self.gateway.address()).await;
            let failed = self.browser.run("return window.failed;").await;
            if answer.status == 200 { answer.json()["connected"].clone() } else { failed }
        };
        eventually_eq(SOON, "connected, or why not", json!(true), connected).await;
    }

    async fn shows(&self, data: serde_json::Value) {
        let shown = async || self.browser.run("return [window.failed, shown];").await;
        eventually_eq(SOON, "what failed, and what was shown", json!([null, data]), shown).await;
    }
}

/// A page cannot import within a function otherwise.
fn importing(line: &str) -> String {
    line.replace("import {", "const {").replace("} from \"/client.js\";", "} = await import(\"/client.js\");")
}

async fn module_of(page: Page) {
    let desk = Desk::new().await;
    let block = page.block("js", "from \"/client.js\"");
    let [import, mailbox, feed] = block.lines().collect::<Vec<_>>()[..] else { panic!("three lines: {block}") };
    // Each loop goes on for as long as its page is open.
    desk.run(&format!("{}\n{mailbox}", importing(import))).await;
    desk.is_read().await;
    desk.publish("jobs.1.status", r#"{"n":1}"#).await;
    desk.shows(json!([{"n": 1}])).await;
    desk.publish("stock.7", r#"{"n":2}"#).await;
    desk.run(&format!("{}\n{feed}", importing(import))).await;
    desk.shows(json!([{"n": 1}, {"n": 2}])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_module_of_the_readme_shows_what_comes() {
    module_of(Page::Readme).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_module_of_the_book_shows_what_comes() {
    module_of(Page::Browser).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_event_source_shows_what_comes() {
    let desk = Desk::new().await;
    desk.run(&Page::Browser.block("js", "new EventSource")).await;
    desk.is_read().await;
    desk.publish("jobs.1.status", r#"{"n":1}"#).await;
    desk.shows(json!([{"n": 1}])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_by_hand_shows_what_comes_and_confirms() {
    let desk = Desk::new().await;
    let code = Page::Browser.block("js", "let lastSeen");
    desk.run(&code).await;
    desk.is_read().await;
    for n in [1, 2] {
        desk.publish("jobs.1.status", &format!(r#"{{"n":{n}}}"#)).await;
        desk.shows(json!((1..=n).map(|n| json!({"n": n})).collect::<Vec<_>>())).await;
    }
    // What the last poll carried is confirmed, so a page that is loaded again shows only what is new.
    desk.is_read().await;
    desk.browser.reload().await;
    desk.run(&code).await;
    desk.is_read().await;
    desk.publish("jobs.1.status", r#"{"n":3}"#).await;
    desk.shows(json!([{"n": 3}])).await;
}
