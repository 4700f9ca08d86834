//! `examples/inventory`: what one tab takes, all tabs see.

use std::collections::BTreeMap;

use postern_tests::{Broker, HttpConnection, Request, eventually, on_both_brokers};
use serde_json::{Value, json};

use super::{Desk, SOON};

/// Stock by item, as it is shown.
const SHOWN: &str = r##"
    return Object.fromEntries([...document.querySelectorAll("#items > li")]
      .map((row) => [row.id, +row.querySelector(".stock b").textContent]));"##;
/// Writes down every value that is shown for an item from now on, also those that are replaced at once.
const RECORD: &str = r##"
    window.came = [];
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) for (const { data } of addedNodes) window.came.push(+data);
    }).observe(document.querySelector("#whistle .stock b"), { childList: true });"##;
const RECORDED: &str = "return window.came;";
const WHISTLES: u64 = 50;

impl Desk {
    /// Opens the shop, and waits until it shows all items.
    async fn shop(broker: Broker) -> Self {
        let desk = Self::new(broker, "inventory", &[]).await;
        desk.enter().await;
        desk
    }

    /// Opens the shop in the tab in front.
    async fn enter(&self) {
        self.open("/").await;
        self.becomes("live").await;
        self.shows_the_stock().await;
    }

    /// Waits until the page in front shows exactly what was published last of each of the ten items.
    async fn shows_the_stock(&self) {
        eventually(SOON, "the newest stock", async || {
            let newest = self.newest("stock.*").await.into_iter();
            let newest: BTreeMap<_, _> = newest.map(|data| (data["id"].to_string(), data["stock"].clone())).collect();
            let shown: BTreeMap<String, Value> = serde_json::from_value(self.browser.run(SHOWN).await).unwrap();
            let shown: BTreeMap<_, _> = shown.into_iter().map(|(id, stock)| (format!("{id:?}"), stock)).collect();
            if newest.len() == 10 && newest == shown { Ok(()) } else { Err((newest, shown)) }
        })
        .await;
    }

    /// Takes whistles, past the page, over one connection.
    async fn take_whistles(&self, count: u64) {
        let mut connection = HttpConnection::open(self.example.address()).await;
        for _ in 0..count {
            connection.request(&Request::new("POST", "/items/whistle/add")).await.expect_status(200);
        }
    }

    /// Waits until the page in front has so many whistles, and tells whether it came there in order and without a
    /// repeat.
    async fn came_down_to(&self, last: u64) {
        let recorded = eventually(SOON, &format!("{last} whistles"), async || {
            let came: Vec<u64> = serde_json::from_value(self.browser.run(RECORDED).await).unwrap();
            if came.last() == Some(&last) { Ok(came) } else { Err(came) }
        })
        .await;
        assert!(recorded.is_sorted_by(|one, next| one > next), "each value once and in order: {recorded:?}");
        self.shows_the_stock().await;
    }
}

on_both_brokers!(what_one_tab_takes_all_tabs_see);
async fn what_one_tab_takes_all_tabs_see(broker: Broker) {
    let desk = Desk::shop(broker).await;
    let first = desk.browser.tab().await;
    let second = desk.browser.new_tab().await;
    desk.enter().await;
    let rope = r##"return document.querySelector("#rope").innerText.replace(/\s+/g, " ").trim();"##;
    for _ in 0..3 {
        desk.browser.click("#rope [data-change=add]").await;
    }
    desk.gives(rope, json!("Rope, 20 m 15 in stock 3 in cart Add Rope, 20 m Remove Rope, 20 m")).await;
    // As the keyboard does it.
    desk.browser.fill("#rope [data-change=remove]", "\n").await;
    desk.gives(rope, json!("Rope, 20 m 16 in stock 2 in cart Add Rope, 20 m Remove Rope, 20 m")).await;
    desk.browser.switch_to(&first).await;
    desk.gives(rope, json!("Rope, 20 m 16 in stock 0 in cart Add Rope, 20 m Remove Rope, 20 m")).await;
    // It has none, so there is nothing to give back.
    desk.browser.click("#rope [data-change=remove]").await;
    desk.browser.click("#tent [data-change=add]").await;
    desk.browser.switch_to(&second).await;
    desk.gives(r##"return document.querySelector("#tent .stock").innerText;"##, json!("7 in stock")).await;
    desk.shows_the_stock().await;
    desk.gives(rope, json!("Rope, 20 m 16 in stock 2 in cart Add Rope, 20 m Remove Rope, 20 m")).await;
    assert_eq!(desk.browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sold_out_says_so() {
    let desk = Desk::shop(Broker::Embedded).await;
    for _ in 0..8 {
        desk.ask("POST", "/items/tent/add").await.expect_status(200);
    }
    let refused = desk.ask("POST", "/items/tent/add").await.expect_status(409);
    assert_eq!(refused.json()["detail"], "Tent for two: sold out");
    desk.ask("POST", "/items/elephant/add").await.expect_status(404);
    desk.ask("POST", "/items/rope/remove").await.expect_status(409);
    desk.gives(r##"return document.querySelector("#tent [data-change=add]").ariaDisabled;"##, json!("true")).await;
    desk.shows_the_stock().await;
}

on_both_brokers!(a_reload_in_the_middle_of_a_burst_shows_the_newest);
async fn a_reload_in_the_middle_of_a_burst_shows_the_newest(broker: Broker) {
    let desk = Desk::shop(broker).await;
    let first = desk.browser.tab().await;
    desk.browser.run(RECORD).await;
    let second = desk.browser.new_tab().await;
    desk.enter().await;
    let (taking, reloading) = (desk.take_whistles(WHISTLES), async {
        for _ in 0..3 {
            desk.browser.reload().await;
        }
    });
    tokio::join!(taking, reloading);
    desk.browser.switch_to(&second).await;
    desk.becomes("live").await;
    desk.shows_the_stock().await;
    desk.browser.switch_to(&first).await;
    desk.came_down_to(0).await;
}

on_both_brokers!(a_gateway_that_dies_under_the_page_loses_it_nothing);
async fn a_gateway_that_dies_under_the_page_loses_it_nothing(broker: Broker) {
    let mut desk = Desk::shop(broker).await;
    let first = desk.browser.tab().await;
    desk.browser.run(RECORD).await;
    let second = desk.browser.new_tab().await;
    desk.enter().await;
    desk.browser.run(RECORD).await;
    desk.take_whistles(5).await;
    let example = desk.example.address();
    // Begun while it is down; each is answered when it is stored.
    let taking = async move {
        let mut connection = HttpConnection::open(example).await;
        for _ in 5..20 {
            connection.request(&Request::new("POST", "/items/whistle/add")).await.expect_status(200);
        }
    };
    tokio::join!(desk.while_the_gateway_is_down(async |desk| desk.becomes("waiting").await), taking);
    for tab in [&first, &second] {
        desk.browser.switch_to(tab).await;
        desk.becomes("live").await;
        desk.came_down_to(WHISTLES - 20).await;
    }
}

on_both_brokers!(a_network_that_is_cut_for_ten_seconds_loses_the_page_nothing);
async fn a_network_that_is_cut_for_ten_seconds_loses_the_page_nothing(broker: Broker) {
    let desk = Desk::shop(broker).await;
    let first = desk.browser.tab().await;
    desk.browser.run(RECORD).await;
    let second = desk.browser.new_tab().await;
    desk.enter().await;
    desk.browser.run(RECORD).await;
    desk.take_whistles(5).await;
    desk.came_down_to(WHISTLES - 5).await;
    desk.while_the_network_is_cut(async || desk.take_whistles(15).await).await;
    for tab in [&first, &second] {
        desk.browser.switch_to(tab).await;
        desk.came_down_to(WHISTLES - 20).await;
    }
}

on_both_brokers!(a_backend_that_dies_finds_the_stock_in_the_feed);
async fn a_backend_that_dies_finds_the_stock_in_the_feed(broker: Broker) {
    let mut desk = Desk::shop(broker).await;
    desk.browser.run(RECORD).await;
    desk.take_whistles(7).await;
    desk.came_down_to(WHISTLES - 7).await;
    desk.example.kill9_and_start_again().await;
    desk.take_whistles(1).await;
    desk.came_down_to(WHISTLES - 8).await;
}

/// A browser allows six connections to a host by HTTP/1.1.
#[tokio::test(flavor = "multi_thread")]
async fn eight_tabs_are_live_and_hinder_no_other_page() {
    let desk = Desk::shop(Broker::Embedded).await;
    let mut tabs = vec![desk.browser.tab().await];
    desk.browser.run(RECORD).await;
    while tabs.len() < 8 {
        tabs.push(desk.browser.new_tab().await);
        desk.enter().await;
        desk.browser.run(RECORD).await;
    }
    // In the eighth, something else than the feed: an image that no cache has, and a click.
    let load = r#"
        const image = new Image();
        image.onload = () => { document.title = `loaded ${image.naturalWidth > 0}`; };
        image.src = "/common/logo.svg?eighth";"#;
    desk.browser.run(load).await;
    desk.gives("return document.title;", json!("loaded true")).await;
    desk.browser.click("#whistle [data-change=add]").await;
    desk.take_whistles(9).await;
    for tab in &tabs {
        desk.browser.switch_to(tab).await;
        desk.becomes("live").await;
        desk.came_down_to(WHISTLES - 10).await;
    }
    // All share one.
    desk.holds_streams(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_readable_in_every_light_and_width() {
    let desk = Desk::shop(Broker::Embedded).await;
    for _ in 0..8 {
        desk.browser.click("#tent [data-change=add]").await;
    }
    desk.browser.click("#kettle [data-change=add]").await;
    desk.gives(r#"return document.getElementById("count").textContent;"#, json!("9")).await;
    desk.is_readable("inventory").await;
    assert_eq!(desk.browser.complaints().await, Vec::<String>::new());
}
