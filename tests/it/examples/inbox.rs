//! `examples/inbox`: users who read what is sent to them and nothing else, with tokens from start to end.

use std::{fs::Permissions, os::unix::fs::PermissionsExt};

use postern_tests::{Broker, Browser, Example, Folder, Gateway, Relay, Request, eventually_eq, on_both_brokers};
use serde_json::{Value, json};

use super::{Desk, SOON};

const SHOWN: &str = r##"return [...document.querySelectorAll("#messages li")].map((item) => item.textContent);"##;

/// Starts the example with a gateway that asks for tokens; both have one secret.
async fn desk(broker: Broker, folder: &Folder) -> Desk {
    let secret = folder.write("secret", "0123456789abcdef0123456789abcdef\n");
    std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let gateway: Gateway = broker.gateway_with_log().await.flag("--token-secret-file", &secret).start().await;
    gateway.wait_ready().await;
    let settings = [("POSTERN_TOKEN_SECRET_FILE", secret.to_str().unwrap())];
    let example = Example::start("inbox", gateway.address(), &settings).await;
    let network = Relay::to(example.address()).await;
    let browser = Browser::start().await;
    Desk { browser, network, example, gateway }
}

impl Desk {
    async fn sign_in(&self, name: &str) {
        self.open("/").await;
        self.browser.fill("#name", name).await;
        self.browser.click("#sign-in button").await;
        self.becomes("live").await;
    }

    async fn send(&self, to: &str, text: &str) {
        self.browser.fill("#to", to).await;
        self.browser.fill("#text", text).await;
        self.browser.click("#send button").await;
    }

    async fn shows(&self, messages: &[&str]) {
        eventually_eq(SOON, "the messages", json!(messages), async || self.browser.run(SHOWN).await).await;
    }

    async fn ask_backend(&self, path: &str, body: &Value) -> Value {
        let request = Request::new("POST", path).body(body.to_string());
        request.send(self.example.address()).await.expect_status(200).json()
    }
}

on_both_brokers!(each_user_reads_what_is_sent_to_them_and_nothing_else);
async fn each_user_reads_what_is_sent_to_them_and_nothing_else(broker: Broker) {
    let folder = Folder::new("postern-inbox");
    let mut desk = desk(broker, &folder).await;
    desk.sign_in("alice").await;
    let of_alice = desk.browser.tab().await;
    let of_bob = desk.browser.new_tab().await;
    desk.sign_in("bob").await;
    desk.send("alice", "hello").await;
    desk.send("bob", "a note").await;
    desk.shows(&["bob: a note"]).await;
    desk.browser.switch_to(&of_alice).await;
    desk.shows(&["bob: hello"]).await;

    // Past the page: a token of one user opens nothing of another.
    let session = desk.ask_backend("/sign-in", &json!({"name": "mallory"})).await;
    let token = desk.ask_backend("/push-token", &json!({"session": session["session"]})).await;
    let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
    for path in [
        "/clients/bob/events?wait=0",
        "/clients/mallory/events?topics=inbox.bob.%23&wait=0",
        "/topics/inbox.bob.message/events?wait=0",
    ] {
        Request::get(path).header("authorization", &bearer).send(desk.gateway.address()).await.problem(403);
    }
    let forged = Request::publish("inbox.bob.message", "application/json", "{}").header("authorization", &bearer);
    forged.send(desk.gateway.address()).await.problem(403);
    Request::get("/clients/bob").send(desk.gateway.address()).await.problem(401);

    // The gateway dies; what is sent meanwhile comes when it is back.
    desk.while_the_gateway_is_down(async |desk| desk.send("bob", "are you there?").await).await;
    desk.browser.switch_to(&of_bob).await;
    desk.shows(&["bob: a note", "alice: are you there?"]).await;
    desk.is_readable("inbox").await;
}
