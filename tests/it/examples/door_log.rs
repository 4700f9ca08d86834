//! `examples/door-log`: every viewer sees every entry, also after it was away.

use postern_tests::{Broker, HttpConnection, Request, Tab, eventually, on_both_brokers};
use serde_json::{Value, json};

use super::{Desk, SOON};

/// The numbers of the entries as they are shown, the oldest first.
const SHOWN: &str = r##"
    return [...document.querySelectorAll("#entries .vid")].reverse().map((cell) => +cell.textContent);"##;
/// Writes down the number of every entry that is put into the list from now on, also of those that leave it again.
const RECORD: &str = r#"
    window.came = [];
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) {
        for (const row of addedNodes) window.came.push(+row.querySelector(".vid").textContent);
      }
    }).observe(document.getElementById("entries"), { childList: true });"#;
const RECORDED: &str = "return window.came;";
/// The page keeps so many.
const KEPT: usize = 200;

impl Desk {
    /// Opens the log in the tab in front; only the test is at the doors.
    async fn log(broker: Broker) -> Self {
        let desk = Self::new(broker, "door-log", &[("PAUSE_S", "1000-2000")]).await;
        desk.enter_log().await;
        desk
    }

    async fn enter_log(&self) {
        self.open("/").await;
        self.becomes("live").await;
        self.browser.run(RECORD).await;
    }

    /// Opens the log in so many tabs, with the one in front.
    async fn log_tabs(&self, count: usize) -> Vec<Tab> {
        let mut tabs = vec![self.browser.tab().await];
        while tabs.len() < count {
            tabs.push(self.browser.new_tab().await);
            self.enter_log().await;
        }
        tabs
    }

    /// Has something happen at the doors, past the page, and returns the numbers of the entries once they are stored.
    async fn report(&self, count: usize) -> Vec<u64> {
        report(self.example.address(), count).await
    }

    /// Waits until the list of the page in front is exactly this: none missing, none twice, in order.
    async fn lists(&self, vids: &[u64]) {
        let newest = &vids[vids.len().saturating_sub(KEPT)..];
        eventually(SOON, &format!("the entries {newest:?}"), async || {
            let shown: Vec<u64> = serde_json::from_value(self.browser.run(SHOWN).await).unwrap();
            if shown == newest { Ok(()) } else { Err(shown) }
        })
        .await;
    }

    /// As [`Self::lists`], and these came to the page since it was opened, each once and in order.
    async fn lists_what_came(&self, all: &[u64], came: &[u64]) {
        self.lists(all).await;
        assert_eq!(self.browser.run(RECORDED).await, json!(came));
    }
}

async fn report(example: std::net::SocketAddr, count: usize) -> Vec<u64> {
    let mut connection = HttpConnection::open(example).await;
    let mut vids = Vec::new();
    for n in 0..count {
        let answer = connection.request(&Request::new("POST", &format!("/doors/{}", n % 6 + 1))).await;
        vids.push(answer.expect_status(201).json()["vid"].as_u64().expect("an entry has a number"));
    }
    vids
}

on_both_brokers!(six_viewers_each_see_every_entry);
async fn six_viewers_each_see_every_entry(broker: Broker) {
    let desk = Desk::log(broker).await;
    let tabs = desk.log_tabs(6).await;
    let vids = desk.report(60).await;
    assert_eq!(vids, (1..=60).collect::<Vec<_>>());
    for tab in &tabs {
        desk.browser.switch_to(tab).await;
        desk.lists_what_came(&vids, &vids).await;
    }
    // All of them over one stream.
    desk.holds_streams(1).await;
    // And one at the page itself.
    desk.browser.click("#open button").await;
    desk.lists(&(1..=61).collect::<Vec<_>>()).await;
    let row =
        r##"return [...document.querySelector("#entries tr").cells].map((cell) => cell.textContent).slice(0, 2);"##;
    desk.gives(row, json!(["61", "1"])).await;
    assert_eq!(desk.browser.complaints().await, Vec::<String>::new());
}

on_both_brokers!(a_reload_in_the_middle_of_a_burst_neither_loses_nor_repeats);
async fn a_reload_in_the_middle_of_a_burst_neither_loses_nor_repeats(broker: Broker) {
    let desk = Desk::log(broker).await;
    let first = desk.browser.tab().await;
    let tabs = desk.log_tabs(2).await;
    let (vids, ()) = tokio::join!(desk.report(150), async {
        for n in 0..6 {
            // The one that reads for both, and the one that is read for.
            desk.browser.switch_to(&tabs[n % 2]).await;
            desk.browser.reload().await;
        }
    });
    for tab in &tabs {
        desk.browser.switch_to(tab).await;
        desk.lists(&vids).await;
    }
    // What is kept is what is shown: without the gateway a page has the same list.
    desk.browser.switch_to(&first).await;
    desk.browser.reload().await;
    desk.becomes("live").await;
    desk.lists(&vids).await;
}

on_both_brokers!(who_was_away_gets_what_was_missed_and_no_more);
async fn who_was_away_gets_what_was_missed_and_no_more(broker: Broker) {
    let desk = Desk::log(broker).await;
    let mut vids = desk.report(10).await;
    desk.lists_what_came(&vids, &vids).await;
    // The browser may keep the page aside, frozen, in case its user goes back to it.
    desk.browser.open("about:blank").await;
    // More than fit into one batch, and than are kept.
    vids.extend(desk.report(KEPT + 30).await);
    desk.open("/").await;
    desk.lists(&vids).await;
    let last = vids.len().to_string();
    desk.gives(r#"return document.getElementById("maxvid").textContent;"#, json!(last)).await;
    // Nothing comes again: after a reload all is there, and nothing is put there by the gateway.
    desk.browser.reload().await;
    desk.browser.run(RECORD).await;
    desk.becomes("live").await;
    let more = desk.report(1).await;
    vids.extend(&more);
    desk.lists_what_came(&vids, &more).await;
}

on_both_brokers!(a_gateway_that_dies_under_the_page_loses_it_nothing);
async fn a_gateway_that_dies_under_the_page_loses_it_nothing(broker: Broker) {
    let mut desk = Desk::log(broker).await;
    let tabs = desk.log_tabs(2).await;
    let mut vids = desk.report(20).await;
    desk.gateway.kill9();
    desk.becomes("waiting").await;
    // Each is answered when it is stored, which cannot be before the gateway is back.
    let reporting = tokio::spawn(report(desk.example.address(), 20));
    desk.gateway.start_again().await;
    desk.gateway.wait_ready().await;
    vids.extend(reporting.await.unwrap());
    for tab in &tabs {
        desk.browser.switch_to(tab).await;
        desk.lists_what_came(&vids, &vids).await;
    }
    // Its backend, too: the numbers go on where they were.
    desk.example.kill9_and_start_again().await;
    vids.extend(desk.report(5).await);
    assert_eq!(vids, (1..=45).collect::<Vec<_>>());
    desk.lists_what_came(&vids, &vids).await;
}

on_both_brokers!(a_network_that_is_cut_for_ten_seconds_loses_the_page_nothing);
async fn a_network_that_is_cut_for_ten_seconds_loses_the_page_nothing(broker: Broker) {
    let desk = Desk::log(broker).await;
    let tabs = desk.log_tabs(2).await;
    let mut vids = desk.report(20).await;
    desk.lists(&vids).await;
    let mut missed = Vec::new();
    desk.while_the_network_is_cut(async || missed = desk.report(20).await).await;
    vids.extend(missed);
    for tab in &tabs {
        desk.browser.switch_to(tab).await;
        desk.lists_what_came(&vids, &vids).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_readable_in_every_light_and_width() {
    let desk = Desk::log(Broker::Embedded).await;
    let empty = desk.browser.text("#empty").await;
    assert_eq!(empty, "No entry yet.");
    let vids = desk.report(30).await;
    desk.lists(&vids).await;
    desk.is_readable("door-log").await;
    desk.ask("POST", "/doors/7").await.expect_status(404);
    assert_eq!(desk.browser.run("return document.getElementById('empty').hidden;").await, Value::Bool(true));
    assert_eq!(desk.browser.complaints().await, Vec::<String>::new());
}
