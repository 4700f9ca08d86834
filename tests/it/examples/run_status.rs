//! `examples/run-status`: one run, followed until it is over.

use postern_tests::{Broker, eventually_eq, on_both_brokers};
use serde_json::{Value, json};

use super::{Desk, SOON};

/// What the list shows, and what was put into it since the page was loaded.
const SHOWN: &str = r##"
    return [...document.querySelectorAll("#changes > li")]
      .map((row) => [row.querySelector("time").dateTime, row.querySelector("b").textContent]);"##;
/// Writes down every row that is put into the list, also those that leave it again.
const RECORD: &str = r#"
    window.came = [];
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) {
        for (const row of addedNodes) window.came.push(row.querySelector("time").dateTime);
      }
    }).observe(document.getElementById("changes"), { childList: true });"#;
/// About 5 s from start to end.
const QUICK: (&str, &str) = ("PAUSE_S", "0.2-0.6");

impl Desk {
    /// Starts a run past the page, and returns its id.
    async fn run(&self) -> String {
        let started = self.ask("POST", "/runs").await.expect_status(201);
        started.json()["id"].as_str().expect("a run has an id").to_owned()
    }

    /// Opens the page of a run, and writes down its rows from then on.
    async fn watch(&self, run: &str) {
        self.open(&format!("/?run={run}")).await;
        self.browser.run(RECORD).await;
    }

    /// Waits until the list of the page in front has grown to so many rows.
    async fn has_rows(&self, rows: u64) {
        let grown = format!("return document.querySelectorAll('#changes > li').length >= {rows};");
        self.gives(&grown, Value::Bool(true)).await;
    }

    /// Waits for the end of the run on the page in front: it shows exactly what was published, each change was put
    /// there once, and the watch has ended.
    async fn shows_the_whole_run(&self, run: &str) {
        self.becomes("closed").await;
        let newest = self.newest(&format!("runs.{run}.status")).await.remove(0);
        let published: Vec<Value> = newest["changes"].as_array().expect("a run has changes").clone();
        assert!(published.len() > 1, "{newest}");
        let expected: Vec<_> = published.iter().map(|change| json!([change["at"], change["state"]])).collect();
        assert_eq!(self.browser.run(SHOWN).await, Value::from(expected));
        let times: Vec<_> = published.iter().map(|change| change["at"].clone()).collect();
        let came: Vec<Value> = serde_json::from_value(self.browser.run("return window.came ?? [];").await).unwrap();
        // What was there before the observer was not written down.
        assert!(times.ends_with(&came), "each change once and in order: {came:?} of {times:?}");
        assert_eq!(self.browser.text("#badge").await, newest["state"].as_str().unwrap());
    }

    /// Waits for the end of a run on a page that was not there from its beginning.
    async fn shows_the_whole_run_late(&self, run: &str) {
        self.has_rows(2).await;
        self.shows_the_whole_run(run).await;
    }
}

on_both_brokers!(a_run_is_followed_to_its_end_and_the_watch_ends);
async fn a_run_is_followed_to_its_end_and_the_watch_ends(broker: Broker) {
    let desk = Desk::new(broker, "run-status", &[QUICK]).await;
    desk.open("/").await;
    desk.browser.run(RECORD).await;
    desk.browser.click("#start").await;
    desk.becomes("live").await;
    let run = desk.browser.text("#name").await;
    let first = desk.browser.tab().await;
    let second = desk.browser.new_tab().await;
    desk.watch(&run).await;
    for tab in [&first, &second] {
        desk.browser.switch_to(tab).await;
        desk.shows_the_whole_run(&run).await;
    }
    desk.holds_streams(0).await;
    // Who comes late sees all of it, and is not kept either.
    desk.browser.reload().await;
    desk.shows_the_whole_run_late(&run).await;
    desk.holds_streams(0).await;
    assert_eq!(desk.browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_is_over() {
    let desk = Desk::new(Broker::Embedded, "run-status", &[("PAUSE_S", "100-200")]).await;
    desk.watch(&desk.run().await).await;
    desk.has_rows(1).await;
    desk.browser.click("#cancel").await;
    desk.becomes("closed").await;
    desk.gives(r#"return document.getElementById("badge").textContent;"#, json!("cancelled")).await;
    desk.holds_streams(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_run_and_one_without_news_are_answers_and_an_error_is_tried_again() {
    let mut desk = Desk::new(Broker::Embedded, "run-status", &[QUICK]).await;
    desk.open("/?run=elsewhere").await;
    // The page begins without a run, in the same state.
    eventually_eq(SOON, "the state", "Unknown run".to_owned(), async || desk.browser.text("#state").await).await;
    assert_eq!(desk.browser.text("#result").await, "There is no run elsewhere.");
    desk.becomes("closed").await;
    desk.holds_streams(0).await;

    // The backend knows it, and the gateway has not heard of it yet.
    let run = desk
        .while_the_gateway_is_down(async |desk| {
            let run = desk.run().await;
            desk.browser.fill("#id", &format!("{run}\n")).await;
            desk.becomes("waiting").await;
            assert_eq!(desk.browser.text("#empty").await, "Waiting for the first news of this run.");
            run
        })
        .await;
    desk.shows_the_whole_run_late(&run).await;

    // The backend itself is out of reach.
    let run = desk.run().await;
    desk.while_the_network_is_cut(async || desk.browser.fill("#id", &format!("{run}\n")).await).await;
    desk.shows_the_whole_run_late(&run).await;
}

on_both_brokers!(a_reload_in_the_middle_shows_the_whole_run);
async fn a_reload_in_the_middle_shows_the_whole_run(broker: Broker) {
    let desk = Desk::new(broker, "run-status", &[("PAUSE_S", "0.05-0.4")]).await;
    let run = desk.run().await;
    desk.watch(&run).await;
    for rows in [2, 4, 6, 8] {
        desk.has_rows(rows).await;
        desk.browser.reload().await;
        desk.browser.run(RECORD).await;
    }
    desk.shows_the_whole_run(&run).await;
}

on_both_brokers!(a_gateway_that_dies_under_the_page_loses_it_nothing);
async fn a_gateway_that_dies_under_the_page_loses_it_nothing(broker: Broker) {
    let mut desk = Desk::new(broker, "run-status", &[QUICK]).await;
    let run = desk.run().await;
    let first = desk.browser.tab().await;
    desk.watch(&run).await;
    let second = desk.browser.new_tab().await;
    desk.watch(&run).await;
    desk.has_rows(2).await;
    desk.while_the_gateway_is_down(async |desk| desk.becomes("waiting").await).await;
    for tab in [&first, &second] {
        desk.browser.switch_to(tab).await;
        desk.shows_the_whole_run(&run).await;
    }
    desk.holds_streams(0).await;
}

on_both_brokers!(a_network_that_is_cut_for_ten_seconds_loses_the_page_nothing);
async fn a_network_that_is_cut_for_ten_seconds_loses_the_page_nothing(broker: Broker) {
    let desk = Desk::new(broker, "run-status", &[("PAUSE_S", "0.5-1.5")]).await;
    let run = desk.run().await;
    desk.watch(&run).await;
    desk.has_rows(2).await;
    desk.while_the_network_is_cut(async || ()).await;
    desk.shows_the_whole_run(&run).await;
    desk.holds_streams(0).await;
}

on_both_brokers!(a_backend_that_dies_goes_on_with_its_runs);
async fn a_backend_that_dies_goes_on_with_its_runs(broker: Broker) {
    let mut desk = Desk::new(broker, "run-status", &[QUICK]).await;
    let run = desk.run().await;
    desk.watch(&run).await;
    desk.has_rows(2).await;
    desk.example.kill9_and_start_again().await;
    desk.shows_the_whole_run(&run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_readable_in_every_light_and_width() {
    let desk = Desk::new(Broker::Embedded, "run-status", &[("PAUSE_S", "0.5-1")]).await;
    desk.watch(&desk.run().await).await;
    desk.has_rows(4).await;
    desk.browser.click("#cancel").await;
    desk.becomes("closed").await;
    desk.is_readable("run-status").await;
    desk.watch(&desk.run().await).await;
    desk.has_rows(1).await;
    desk.browser.look((1000, 800), "light").await;
    desk.browser.screenshot("example-run-status-running").await;
    desk.browser.fill("#id", "elsewhere\n").await;
    desk.becomes("closed").await;
    desk.browser.screenshot("example-run-status-unknown").await;
}
