//! `examples/react`: the list by a GET, each change by an event into the query cache.

use std::collections::BTreeMap;

use postern_tests::{Answer, Broker, Request, eventually, on_both_brokers};
use serde_json::{Value, json};

use super::{Desk, SOON};

/// What is shown of each table.
const SHOWN: &str = r#"
    return Object.fromEntries([...document.querySelectorAll(".tables > li")]
      .map((table) => [table.id, [table.dataset.state, table.querySelector(".dish").textContent]]));"#;
/// Writes down every state of table 1 that is shown from now on, also those that are replaced at once.
const RECORD: &str = r##"
    window.came = [];
    new MutationObserver((changes) => {
      for (const { target } of changes) window.came.push(target.dataset.state);
    }).observe(document.querySelector("#table-1"), { attributeFilter: ["data-state"] });"##;
const RECORDED: &str = "return window.came;";
const STATES: [&str; 5] = ["free", "ordered", "cooking", "ready", "served"];

impl Desk {
    /// Opens the restaurant, and waits until it shows all tables; only the test is there.
    async fn restaurant(broker: Broker) -> Self {
        let desk = Self::new(broker, "react", &[("PAUSE_S", "1000-2000")]).await;
        desk.sit_down().await;
        desk
    }

    /// Opens the restaurant in the tab in front.
    async fn sit_down(&self) {
        self.open("/").await;
        self.becomes("live").await;
        self.shows_the_tables().await;
        self.browser.run(RECORD).await;
    }

    /// Moves a table from one state to the next, past the page.
    async fn next(&self, table: u32, from: &str) -> Answer {
        let request = Request::new("POST", &format!("/tables/{table}/next")).body(json!({ "from": from }).to_string());
        request.send(self.example.address()).await
    }

    /// Moves table 1 so many times, from its n-th state on.
    async fn move_on(&self, from: usize, count: usize) {
        for n in from..from + count {
            self.next(1, STATES[n % 5]).await.expect_status(200);
        }
    }

    /// Waits until the page in front shows exactly what the backend has, and that is what was published last.
    async fn shows_the_tables(&self) {
        eventually(SOON, "the newest of each table", async || {
            let tables = self.ask("GET", "/tables").await.expect_status(200).json();
            let expected: BTreeMap<_, _> = tables.as_array().unwrap().iter().map(shown).collect();
            let published: BTreeMap<_, _> = self.newest("tables.*").await.iter().map(shown).collect();
            let found: BTreeMap<String, Value> = serde_json::from_value(self.browser.run(SHOWN).await).unwrap();
            let is_newest = found.len() == 12 && found == expected && found == published;
            if is_newest { Ok(()) } else { Err((found, expected, published)) }
        })
        .await;
    }

    /// As [`Self::shows_the_tables`], and table 1 came so many states further in the page in front, none of them twice
    /// or back (of up to five): some may be left out, because React draws what is newest.
    async fn came_through(&self, from: usize, count: usize) {
        self.shows_the_tables().await;
        let came: Vec<String> = serde_json::from_value(self.browser.run(RECORDED).await).unwrap();
        let expected: Vec<_> = (from + 1..=from + count).map(|n| STATES[n % 5]).collect();
        let mut ahead = expected.iter();
        let is_in_order = came.iter().all(|state| ahead.any(|other| other == state));
        assert!(is_in_order && ahead.next().is_none(), "{came:?} of {expected:?}");
    }
}

fn shown(table: &Value) -> (String, Value) {
    let dish = table.get("dish").cloned().unwrap_or_else(|| json!("–"));
    (format!("table-{}", table["id"]), json!([table["state"], dish]))
}

on_both_brokers!(what_one_tab_does_all_tabs_see);
async fn what_one_tab_does_all_tabs_see(broker: Broker) {
    let desk = Desk::restaurant(broker).await;
    let first = desk.browser.tab().await;
    desk.browser.new_tab().await;
    desk.sit_down().await;
    for state in ["ordered", "cooking", "ready", "served", "free"] {
        desk.browser.click("#table-1 button").await;
        desk.gives(r##"return document.querySelector("#table-1").dataset.state;"##, json!(state)).await;
    }
    desk.browser.click("#table-2 button").await;
    desk.came_through(0, 5).await;
    desk.browser.switch_to(&first).await;
    desk.came_through(0, 5).await;
    let counts = r#"return document.querySelector(".counts").innerText.replace(/\s+/g, " ").trim();"#;
    desk.gives(counts, json!("11 free 1 ordered 0 cooking 0 ready 0 served")).await;
    // Both over one stream.
    desk.holds_streams(1).await;
    assert_eq!(desk.browser.complaints().await, Vec::<String>::new());
}

/// It is not in the list, and was published before the page follows the feed.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_between_the_list_and_the_first_event_is_shown() {
    let desk = Desk::restaurant(Broker::Embedded).await;
    desk.browser.block(&["*/push/*"]).await;
    desk.browser.reload().await;
    desk.becomes("waiting").await;
    desk.browser.run(RECORD).await;
    desk.move_on(0, 3).await;
    assert_eq!(desk.browser.run(RECORDED).await, json!([]));
    desk.browser.block(&[]).await;
    desk.becomes("live").await;
    desk.came_through(0, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_dies_under_the_page_loses_it_nothing() {
    let mut desk = Desk::restaurant(Broker::Embedded).await;
    desk.move_on(0, 2).await;
    desk.came_through(0, 2).await;
    desk.while_the_gateway_is_down(async |desk| desk.becomes("waiting").await).await;
    desk.move_on(2, 2).await;
    desk.becomes("live").await;
    desk.came_through(0, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_press_the_same_button_move_a_table_once() {
    let desk = Desk::restaurant(Broker::Embedded).await;
    desk.next(3, "free").await.expect_status(200);
    let refused = desk.next(3, "free").await.expect_status(409);
    assert_eq!(refused.json()["detail"], "Table 3 is ordered by now");
    desk.next(13, "free").await.expect_status(404);
    desk.shows_the_tables().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_readable_in_every_light_and_width() {
    let desk = Desk::restaurant(Broker::Embedded).await;
    for table in 1..=10 {
        for state in &STATES[..(table as usize * 3) % 5] {
            desk.next(table, state).await.expect_status(200);
        }
    }
    desk.shows_the_tables().await;
    desk.is_readable("react").await;
    assert_eq!(desk.browser.complaints().await, Vec::<String>::new());
}
