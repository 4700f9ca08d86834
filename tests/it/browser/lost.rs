//! What the page says of a gateway that it has lost.

use postern_tests::{Broker, eventually};
use serde_json::Value;

use super::{Desk, RECORD, RECORDED, SOON, texts};

/// A network that drops packets, and a gateway that hangs, end no request; the page does.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_falls_silent_is_told() {
    let desk = Desk::new(Broker::Embedded).await;
    desk.browser.open(&format!("{}&wait=1", desk.url())).await;
    desk.becomes("live").await;
    desk.browser.run(RECORD).await;
    desk.post_numbers(0..3).await;
    desk.shows(&texts(0..3)).await;
    desk.gateway.process().freeze();
    eventually(SOON, "the page to say so", async || {
        let status = desk.browser.text("#status").await;
        if status == "Waiting to retry: the gateway does not answer" { Ok(()) } else { Err(status) }
    })
    .await;
    // The reason stays while the page tries again.
    eventually(SOON, "the page to try again", async || {
        let status = desk.browser.text("#status").await;
        if status == "Trying again: the gateway does not answer" { Ok(()) } else { Err(status) }
    })
    .await;
    // A publish is not held either.
    desk.browser.click("form button").await;
    eventually(SOON, "the form to say so", async || {
        let result = desk.browser.text("#result").await;
        if result == "the gateway does not answer; the event may have been stored" { Ok(()) } else { Err(result) }
    })
    .await;
    desk.gateway.process().thaw();
    desk.becomes("live").await;
    desk.post_numbers(3..6).await;
    desk.becomes_texts(RECORDED, &texts(0..6)).await;
}

/// A poll that does not wait is how the page finds out whether the gateway is there; once it is, each poll waits.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_is_asked_at_once_when_the_browser_says_that_the_network_changed() {
    let desk = Desk::new(Broker::Embedded).await;
    // A poll that was sent before is not counted.
    desk.post_numbers(0..1).await;
    desk.shows(&texts(0..1)).await;
    let count = r#"
        window.checks = 0;
        const { fetch } = window;
        window.fetch = (path, options) => {
          if (path.includes("wait=0")) window.checks++;
          return fetch(path, options);
        };"#;
    desk.browser.run(count).await;
    for (n, event) in (1..).zip(["offline", "online"]) {
        desk.browser.run(&format!("dispatchEvent(new Event('{event}'));")).await;
        desk.gives("return window.checks;", Value::from(n)).await;
        desk.becomes("live").await;
    }
    desk.post_numbers(1..3).await;
    desk.shows(&texts(0..3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_to_the_next_attempt_counts_down() {
    let mut desk = Desk::new(Broker::Embedded).await;
    let record = r#"
        window.counts = [];
        // Two pauses are kept apart: the next may happen to be shorter by a second.
        const states = new MutationObserver(() => window.counts.push(null));
        states.observe(document.getElementById("state"), { attributes: true });
        const countdown = document.getElementById("countdown");
        const changes = new MutationObserver(() => window.counts.push(parseInt(countdown.textContent)));
        changes.observe(countdown, { childList: true, characterData: true, subtree: true });"#;
    desk.browser.run(record).await;
    desk.gateway.kill9();
    desk.becomes("retrying").await;
    let counts_down = "return window.counts.some((count, n) => count > 1 && window.counts[n + 1] === count - 1);";
    desk.gives(counts_down, Value::from(true)).await;
    // The text that is read out stays as it is.
    let status = desk.browser.text("#status").await;
    assert!(!status.contains(|character: char| character.is_ascii_digit()), "{status}");
    desk.gateway.start_again().await;
    desk.gateway.wait_ready().await;
    desk.becomes("live").await;
    assert_eq!(desk.browser.text("#countdown").await, "");
}
