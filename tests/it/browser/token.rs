//! The page of a gateway that asks for tokens: `guard.js` stands in for its rules, in front of a real gateway.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use postern_tests::{Broker, Browser, Process, eventually, unique};
use serde_json::{Value, json};

use super::{Desk, SOON, commands};

/// A page whose gateway asks for tokens.
struct Guarded {
    desk: Desk,
    site: String,
    _guard: Process,
}

impl Guarded {
    /// Opens the page without a token.
    async fn new() -> Self {
        let gateway = Broker::Embedded.gateway().await.start().await;
        gateway.wait_ready().await;
        let (guard, address) = commands::proxy("guard.js", gateway.address()).await;
        let desk = Desk { gateway, browser: Browser::start().await, topic: unique("jobs") };
        desk.browser.look((1280, 960), "light").await;
        let guarded = Self { site: format!("http://{address}/"), desk, _guard: guard };
        guarded.open().await;
        guarded
    }

    async fn open(&self) {
        self.desk.browser.open(&format!("{}?topics={}.%23", self.site, self.desk.topic)).await;
    }

    /// A token that lets this subject read the test's topics, and publish to what `publish` names.
    fn token(&self, sub: &str, publish: &[String]) -> String {
        let read = [format!("{}.#", self.desk.topic), "jobs.#".to_owned()];
        token(&json!({ "sub": sub, "exp": u32::MAX, "postern": { "read": read, "publish": publish } }))
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

    async fn publishes(&self, topic: &str) {
        self.desk.browser.fill("#topic", topic).await;
        self.desk.browser.click("form button").await;
    }
}

fn token(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2lnbmVk", part(&json!({ "alg": "HS256" })), part(claims))
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

    guarded.give(&token(&json!({ "sub": "alice", "exp": 1 }))).await;
    guarded.says("#status", "The gateway does not take this token: see Token").await;
    let expired = "The gateway does not take this token: the token has expired. \
                   Paste one that the application's backend has signed.";
    guarded.says("#token-fault", expired).await;

    guarded.give(&guarded.token("alice", &[])).await;
    desk.becomes("live").await;
    guarded.publishes("orders.1").await;
    let publish = "403 This token does not allow publishing to orders.1: topic: \"orders.1\" is not covered. \
                   Use one that does.";
    guarded.says("#result", publish).await;
    assert_eq!(desk.browser.text("#state").await, "Live");

    desk.browser.fill("#topics", "orders.#\n").await;
    desk.becomes("denied").await;
    let client = desk.browser.text("#client").await;
    let read = format!("This token does not allow reading orders.# in mailbox {client}");
    guarded.says("#status", &format!("{read}: see Token")).await;
    guarded.says("#token-fault", &format!("{read}: topic: \"orders.#\" is not covered. Use one that does.")).await;
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
    guarded.says("#jobs-view li .topic", "jobs.1.status").await;

    desk.browser.fill("#job-topics", "orders.*\n").await;
    let denied = "This token does not allow reading orders.*: topic: \"orders.*\" is not covered. Use one that does.";
    guarded.says("#token-fault", denied).await;
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
    desk.post(r#"{"for":"alice"}"#).await;
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
    desk.post(r#"{"for":"both"}"#).await;
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
