//! Events that come again: the page shows each once.

use postern_tests::{Broker, Poll, eventually};

use super::{Desk, RECORD, RECORDED, SOON, texts};

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_of_what_is_shown_is_dropped() {
    let desk = Desk::new(Broker::Embedded).await;
    desk.browser.run(RECORD).await;
    // From now on no confirm gets out, so the gateway says everything again.
    let forget = r#"
        window.polls = 0;
        const { fetch } = window;
        window.fetch = (path, options) => {
          window.polls++;
          return fetch(path.replace(/last_seen=[^&]*/, "last_seen="), options);
        };"#;
    desk.browser.run(forget).await;
    desk.post_numbers(0..3).await;
    eventually(SOON, "repeated answers", async || {
        let polls = desk.browser.run("return window.polls;").await;
        if polls.as_u64() > Some(5) { Ok(()) } else { Err(polls) }
    })
    .await;
    desk.becomes_texts(RECORDED, &texts(0..3)).await;
}

/// A page that is loaded again knows what it shows.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_of_what_was_shown_before_a_reload_is_dropped() {
    let desk = Desk::new(Broker::Embedded).await;
    let forget = r#"
        const { fetch } = window;
        window.fetch = (path, options) => fetch(path.replace(/last_seen=[^&]*/, "last_seen="), options);
        // What it keeps is of before it is left, and its place is gone.
        addEventListener("pagehide", () => sessionStorage.removeItem("lastSeen"));"#;
    desk.browser.run(forget).await;
    // The poll that is held was asked before.
    desk.browser.run("dispatchEvent(new Event('online'));").await;
    desk.post_numbers(0..3).await;
    desk.shows(&texts(0..3)).await;
    desk.browser.reload().await;
    desk.becomes("live").await;
    desk.post_numbers(3..4).await;
    desk.shows(&texts(0..4)).await;
    assert_eq!(desk.browser.text("#count").await, "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_a_repeat_is_marked() {
    let desk = Desk::new(Broker::Embedded).await;
    desk.browser.click("#pause").await;
    desk.becomes("paused").await;
    desk.post_numbers(0..3).await;
    // Another client is handed them and does not say that it saw them.
    let client = desk.browser.text("#client").await;
    eventually(SOON, "all three", async || {
        let batch = Poll::of(&client).wait(5).send(&desk.gateway).await.batch();
        if batch.events.len() == 3 { Ok(()) } else { Err(batch) }
    })
    .await;
    desk.browser.click("#pause").await;
    desk.shows(&texts(0..3)).await;
    let marked = r##"return document.querySelectorAll("#events .badge:not([hidden])").length;"##;
    assert_eq!(desk.browser.run(marked).await, 3);
    assert_eq!(desk.browser.text("#events .badge").await, "redelivered");
}
