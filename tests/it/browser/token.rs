//! The page of a gateway that asks for tokens.

use access::testing::Issuer;
use postern_tests::{Broker, Browser, Request, eventually, unique};
use serde_json::{Value, json};

use super::{Desk, SOON, commands};
use crate::access::{KeyFile, World, bearer_for, everything};

/// A page whose gateway asks for tokens.
struct Guarded {
    desk: Desk,
    issuer: Issuer,
    site: String,
    _keys: KeyFile,
}

impl Guarded {
    /// Opens the page without a token.
    async fn new() -> Self {
        let World { issuer, gateway, keys } = World::new(Broker::Embedded).await;
        let site = format!("http://{}/", gateway.address());
        let desk = Desk { gateway, browser: Browser::start().await, topic: unique("jobs") };
        desk.browser.look((1280, 960), "light").await;
        desk.browser.open(&desk.url()).await;
        Self { desk, issuer, site, _keys: keys }
    }

    /// A token that lets this subject read the test's topics, and publish to what `publish` names.
    fn token(&self, sub: &str, publish: &[String]) -> String {
        let read = [format!("{}.#", self.desk.topic), "jobs.#".to_owned()];
        self.sign(&json!({ "sub": sub, "postern": { "read": read, "publish": publish } }), 3600)
    }

    fn sign(&self, claims: &Value, seconds: i64) -> String {
        bearer_for(&self.issuer, claims, seconds).trim_start_matches("Bearer ").to_owned()
    }

    async fn give(&self, token: &str) {
        self.desk.browser.fill("#token", &format!("{token}\n")).await;
    }

    async fn says(&self, selector: &str, expected: &str) {
        eventually(SOON, &format!("{selector} to say {expected:?}"), async || {
            let text = self.desk.browser.text(selector).await;
            if text == expected { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// Waits for words that begin so, with the gateway's reason, and end with what to do.
    async fn says_why(&self, selector: &str, start: &str) {
        eventually(SOON, &format!("{selector} to say {start:?}"), async || {
            let text = self.desk.browser.text(selector).await;
            if text.starts_with(start) && text.ends_with(". Use one that does.") { Ok(()) } else { Err(text) }
        })
        .await;
    }

    async fn publishes(&self, topic: &str) {
        self.desk.browser.fill("#topic", topic).await;
        self.desk.browser.click("form button").await;
    }

    /// Publishes past the page.
    async fn post(&self, body: &str) {
        let request = Request::publish(&self.desk.topic, "application/json", body);
        let request = request.header("authorization", &bearer_for(&self.issuer, &everything(), 3600));
        request.send(self.desk.gateway.address()).await.expect_status(202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_asks_for_a_token_is_understood_and_gets_it() {
    let guarded = Guarded::new().await;
    let Guarded { desk, site, .. } = &guarded;
    desk.becomes("denied").await;
    guarded.says("#status", "The gateway asks for a token: see Token").await;
    let asks = "The gateway asks for a token. Paste one that the application's backend has signed.";
    guarded.says("#token-fault", asks).await;
    guarded.publishes(&desk.topic).await;
    guarded.says("#result", &format!("401 {asks}")).await;

    let token = guarded.token("alice", &[format!("{}.#", desk.topic)]);
    guarded.give(&format!("  Bearer {token}")).await;
    desk.becomes("live").await;
    guarded.says("#token-fault", "").await;
    guarded.publishes(&format!("{}.1", desk.topic)).await;
    desk.shows(&[r#"{"state":"running","progress":40}"#.to_owned()]).await;
    assert!(desk.browser.text("#client").await.starts_with("alice~page-"));

    // It is in this tab's storage, in headers, and nowhere else; a reload keeps it.
    let places = format!(
        r#"const everywhere = [location.href, document.body.innerHTML, JSON.stringify(localStorage), document.cookie];
           everywhere.push(...performance.getEntriesByType("resource").map(({{ name }}) => name));
           return [sessionStorage.token === "{token}", everywhere.some((place) => place.includes("{token}"))];"#
    );
    assert_eq!(desk.browser.run(&places).await, json!([true, false]));
    desk.browser.reload().await;
    desk.becomes("live").await;
    assert_eq!(desk.browser.run(&places).await, json!([true, false]));
    let hides = r#"
        const field = document.getElementById("token");
        return [getComputedStyle(field).webkitTextSecurity, field.autocomplete];"#;
    assert_eq!(desk.browser.run(hides).await, json!(["disc", "off"]));

    // The commands name it, and work where the shell has it.
    desk.browser.fill("#topic", &format!("{}.1", desk.topic)).await;
    let [subscribe, publish] = [commands::command(desk, "subscribe").await, commands::command(desk, "publish").await];
    for command in [&subscribe, &publish] {
        assert!(command.starts_with(r#"curl -H "Authorization: Bearer $TOKEN" "#), "{command}");
        assert!(!command.contains(&token), "{command}");
    }
    assert!(desk.browser.text("#token-note").await.contains("read -rs TOKEN"));
    let bind = subscribe.replace("wait=30", "wait=0");
    commands::pasted(format!("TOKEN='{token}'\n{bind}\n{publish}")).await;
    let batch: Value = serde_json::from_str(&commands::pasted(format!("TOKEN='{token}'\n{subscribe}")).await).unwrap();
    assert_eq!(batch["events"][0]["topic"], format!("{}.1", desk.topic));

    // Without one it is asked for again. The key is Delete.
    guarded.give("\u{e017}").await;
    guarded.says("#status", "The gateway asks for a token: see Token").await;
    assert_eq!(desk.browser.run("return sessionStorage.token ?? null;").await, Value::Null);
    let command = commands::command(desk, "publish").await;
    assert!(command.starts_with("curl -d "), "{command}");
    assert!(command.contains(site));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_does_not_allow_is_said_with_the_reason() {
    let guarded = Guarded::new().await;
    let desk = &guarded.desk;
    desk.becomes("denied").await;
    guarded.give("not a token").await;
    guarded.says("#token-fault", "A token has only letters, digits and - . _ ~ + / =").await;

    guarded.give(&guarded.sign(&json!({ "sub": "alice" }), -1)).await;
    guarded.says("#status", "The gateway does not take this token: see Token").await;
    let expired = "The gateway does not take this token: it is expired. \
                   Paste one that the application's backend has signed.";
    guarded.says("#token-fault", expired).await;

    guarded.give(&guarded.token("alice", &[])).await;
    desk.becomes("live").await;
    guarded.publishes("orders.1").await;
    let publish = "403 This token does not allow publishing to orders.1: topic: no right to publish to orders.1";
    guarded.says_why("#result", publish).await;
    assert_eq!(desk.browser.text("#state").await, "Live");

    desk.browser.fill("#topics", "orders.#\n").await;
    desk.becomes("denied").await;
    let client = desk.browser.text("#client").await;
    let read = format!("This token does not allow reading orders.# in mailbox {client}");
    guarded.says("#status", &format!("{read}: see Token")).await;
    guarded.says_why("#token-fault", &format!("{read}: topics: no right to read all that orders.#")).await;
    desk.browser.fill("#topics", &format!("{}.#\n", desk.topic)).await;
    desk.becomes("live").await;
    guarded.says("#token-fault", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_of_jobs_sends_the_token_too() {
    let guarded = Guarded::new().await;
    let desk = &guarded.desk;
    desk.browser.click("#jobs-tab").await;
    guarded.says("#feed-state", "Denied: see Token").await;
    guarded.give(&guarded.token("alice", &["jobs.#".to_owned()])).await;
    guarded.says("#feed-state", "Live").await;
    guarded.says("#token-fault", "").await;
    guarded.publishes("jobs.1.status").await;
    let card = r##"return document.querySelector("#jobs-view li .topic")?.textContent;"##;
    desk.gives(card, Value::from("jobs.1.status")).await;

    desk.browser.fill("#job-topics", "orders.*\n").await;
    let denied = "This token does not allow reading orders.*: topics: no right to read all that orders.*";
    guarded.says_why("#token-fault", denied).await;
    desk.browser.click("#events-tab").await;
    guarded.says("#token-fault", "").await;
}

/// What one user has got, and where it came to, is nothing to the next user of the tab.
#[tokio::test(flavor = "multi_thread")]
async fn another_user_begins_with_nothing() {
    let guarded = Guarded::new().await;
    let desk = &guarded.desk;
    guarded.give(&guarded.token("alice", &[])).await;
    desk.becomes("live").await;
    guarded.post(r#"{"for":"alice"}"#).await;
    desk.shows(&[r#"{"for":"alice"}"#.to_owned()]).await;

    let record = r#"
        window.places = [];
        const { fetch } = window;
        window.fetch = (path, options) => {
          const { pathname, searchParams } = new URL(path);
          window.places.push([pathname.split("/")[2].split("~")[0], searchParams.get("last_seen")]);
          return fetch(path, options);
        };"#;
    desk.browser.run(record).await;
    guarded.give(&guarded.token("bob", &[])).await;
    desk.gives("return window.places[0];", json!(["bob", ""])).await;
    desk.becomes("live").await;
    desk.shows(&[]).await;
    assert!(desk.browser.text("#client").await.starts_with("bob~page-"));
    guarded.post(r#"{"for":"both"}"#).await;
    desk.shows(&[r#"{"for":"both"}"#.to_owned()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_field_for_a_token_is_shown_where_it_is_asked_for_and_is_readable() {
    let open = Desk::new(Broker::Embedded).await;
    assert_eq!(open.browser.text("#access").await, "");

    let guarded = Guarded::new().await;
    guarded.desk.becomes("denied").await;
    for (size, scheme, name) in [
        ((1280, 960), "light", "token-light"),
        ((1280, 960), "dark", "token-dark"),
        ((360, 1600), "light", "token-narrow"),
    ] {
        guarded.desk.is_readable(size, scheme, name).await;
    }
}
