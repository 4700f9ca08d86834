//! `GET /` in a browser: what a person sees of the gateway's promises. What only the page itself promises is looked at
//! on the embedded broker.

mod commands;
mod fields;
mod jobs;
mod lost;
mod repeats;
mod token;

use std::{ops::Range, time::Duration};

use postern_tests::{
    Broker, Browser, Gateway, HttpConnection, Request, eventually, eventually_eq, on_both_brokers, unique,
};
use serde_json::Value;

/// Generous to a busy machine; the longest pause of the page between two attempts is 10 s.
const SOON: Duration = Duration::from_mins(1);

/// Writes down every row that is put into the list from now on, also those that leave it again.
const RECORD: &str = r#"
    window.came = [];
    const rows = new MutationObserver((changes) => {
      for (const { addedNodes } of changes) {
        for (const row of [...addedNodes].reverse()) window.came.push(row.querySelector(".preview").textContent);
      }
    });
    rows.observe(document.getElementById("events"), { childList: true });"#;
const RECORDED: &str = "return window.came;";
/// The rows as they are, the oldest first.
const SHOWN: &str = r##"
    return [...document.querySelectorAll("#events > li .preview")].reverse().map((preview) => preview.textContent);"##;

/// A browser that has the page of a gateway open.
struct Desk {
    gateway: Gateway,
    browser: Browser,
    topic: String,
}

impl Desk {
    /// Opens the page for a topic that no other test uses, and waits until it is live.
    async fn new(broker: Broker) -> Self {
        Self::on(broker.gateway().await.start().await).await
    }

    /// The same on a gateway that a test has started.
    async fn on(gateway: Gateway) -> Self {
        gateway.wait_ready().await;
        let desk = Self { gateway, browser: Browser::start().await, topic: unique("jobs") };
        desk.browser.look((1280, 960), "light").await;
        desk.browser.open(&desk.url()).await;
        desk.becomes("live").await;
        desk
    }

    fn url(&self) -> String {
        format!("http://{}/?topics={}.%23", self.gateway.address(), self.topic)
    }

    async fn becomes(&self, state: &str) {
        let script = r#"return document.getElementById("state")?.dataset.state;"#;
        eventually_eq(SOON, "the state", Value::from(state), async || self.browser.run(script).await).await;
    }

    /// Publishes past the page.
    async fn post(&self, body: &str) {
        Request::publish(&self.topic, "application/json", body).send(self.gateway.address()).await.expect_status(202);
    }

    /// Publishes `{"n":0}` and so on past the page, over one connection.
    async fn post_numbers(&self, numbers: Range<u32>) {
        let mut connection = HttpConnection::open(self.gateway.address()).await;
        for body in texts(numbers) {
            connection.request(&Request::publish(&self.topic, "application/json", body)).await.expect_status(202);
        }
    }

    /// Waits until the list holds exactly these, in order.
    async fn shows(&self, expected: &[String]) {
        self.becomes_texts(SHOWN, expected).await;
    }

    /// Waits until a script has this result.
    async fn gives(&self, script: &str, expected: Value) {
        eventually(SOON, &format!("{script} to give {expected}"), async || {
            let result = self.browser.run(script).await;
            if result == expected { Ok(()) } else { Err(result) }
        })
        .await;
    }

    /// Looks at the page: nothing stands out at the side, no text is pale, every control has a name.
    async fn is_readable(&self, size: (u32, u32), scheme: &str, name: &str) {
        self.browser.look(size, scheme).await;
        self.browser.run("scrollTo(0, 0);").await;
        self.browser.screenshot(name).await;
        let beside = "const { scrollWidth, clientWidth } = document.documentElement; return scrollWidth - clientWidth;";
        assert_eq!(self.browser.run(beside).await, 0, "{name}: something stands out at the side");
        let pale = self.browser.run(include_str!("browser/contrast.js")).await;
        assert_eq!(pale, serde_json::json!([]), "{name}: text with a contrast below 4.5");
        let nameless = self.browser.run(include_str!("examples/nameless.js")).await;
        assert_eq!(nameless, serde_json::json!([]), "{name}: without a name, or out of the keyboard's reach");
    }

    async fn becomes_texts(&self, script: &str, expected: &[String]) {
        self.gives(script, Value::from(expected)).await;
    }
}

fn texts(numbers: Range<u32>) -> Vec<String> {
    numbers.map(|n| format!(r#"{{"n":{n}}}"#)).collect()
}

on_both_brokers!(a_newcomer_publishes_an_event_and_sees_it_come);
async fn a_newcomer_publishes_an_event_and_sees_it_come(broker: Broker) {
    let desk = Desk::new(broker).await;
    let Desk { gateway, browser, .. } = &desk;
    // As it is, without a word about topics.
    browser.open(&format!("http://{}/", gateway.address())).await;
    desk.becomes("live").await;
    assert_eq!(browser.text("#status").await, "Live");
    assert_eq!(browser.run(r#"return document.getElementById("topics").value;"#).await, "#");
    browser.click("form button").await;
    let id = eventually(SOON, "the answer to the publish", async || {
        let answer = browser.text("#result").await;
        answer.strip_prefix("202 ").map(str::to_owned).ok_or(answer)
    })
    .await;
    // Events of other tests may stand around it.
    let row = format!(
        r##"const rows = [...document.querySelectorAll("#events > li")];
            const row = rows.find((row) => row.querySelector(".id").title === "{id}");
            return row && ["topic", "preview"].map((part) => row.querySelector("." + part).textContent);"##
    );
    let expected = serde_json::json!(["jobs.1.status", r#"{"state":"running","progress":40}"#]);
    eventually_eq(SOON, "the row", expected, async || browser.run(&row).await).await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_elsewhere_comes_and_what_is_refused_says_why() {
    let desk = Desk::new(Broker::Embedded).await;
    desk.post(r#"{"from":"outside"}"#).await;
    desk.shows(&[r#"{"from":"outside"}"#.to_owned()]).await;
    assert_eq!(desk.browser.text("#count").await, "1");
    assert!(!desk.browser.text(".events").await.contains("Nothing has come yet"));

    desk.browser.fill("#topic", "no topic").await;
    desk.browser.click("form button").await;
    eventually(SOON, "the gateway's reason", async || {
        let answer = desk.browser.text("#result").await;
        if answer.starts_with("400 topic: ") { Ok(()) } else { Err(answer) }
    })
    .await;
    desk.shows(&[r#"{"from":"outside"}"#.to_owned()]).await;
}

on_both_brokers!(a_reload_neither_loses_nor_repeats);
async fn a_reload_neither_loses_nor_repeats(broker: Broker) {
    let desk = Desk::new(broker).await;
    desk.post_numbers(0..5).await;
    desk.shows(&texts(0..5)).await;
    desk.browser.reload().await;
    desk.becomes("live").await;
    desk.shows(&texts(0..5)).await;

    // In the middle of a stream, and while the page is away.
    let (posting, reloading) = (desk.post_numbers(5..105), async {
        for _ in 0..3 {
            desk.browser.reload().await;
            // Left again before it is shown whole, of which it is told by no event.
            desk.browser.run("location.reload();").await;
        }
        desk.browser.open("about:blank").await;
    });
    tokio::join!(posting, reloading);
    desk.browser.open(&desk.url()).await;
    desk.shows(&texts(0..105)).await;
    assert_eq!(desk.browser.text("#count").await, "105");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_leaves_events_in_the_mailbox() {
    let desk = Desk::new(Broker::Embedded).await;
    desk.post_numbers(0..3).await;
    desk.shows(&texts(0..3)).await;
    desk.browser.click("#pause").await;
    desk.becomes("paused").await;
    desk.post_numbers(3..6).await;
    desk.shows(&texts(0..3)).await;
    desk.browser.click("#clear").await;
    desk.shows(&[]).await;
    desk.browser.click("#pause").await;
    desk.shows(&texts(3..6)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn markup_in_an_event_is_shown_as_it_is() {
    let desk = Desk::new(Broker::Embedded).await;
    let payload = r#""<img src=x onerror=\"window.broken=1\"><script>window.broken=1</script>""#;
    desk.post(payload).await;
    desk.shows(&[payload.to_owned()]).await;
    desk.browser.click("#events summary").await;
    eventually(SOON, "the whole payload", async || {
        let whole = desk.browser.text("#events pre").await;
        if whole.starts_with(payload) { Ok(()) } else { Err(whole) }
    })
    .await;
    let script = "return [document.images.length, document.scripts.length, window.broken ?? null];";
    assert_eq!(desk.browser.run(script).await, serde_json::json!([0, 1, null]));
}

on_both_brokers!(each_tab_has_a_mailbox_of_its_own);
async fn each_tab_has_a_mailbox_of_its_own(broker: Broker) {
    let desk = Desk::new(broker).await;
    let first = desk.browser.tab().await;
    let second = desk.browser.new_tab().await;
    desk.browser.open(&desk.url()).await;
    desk.becomes("live").await;
    desk.post_numbers(0..20).await;
    for tab in [&first, &second] {
        desk.browser.switch_to(tab).await;
        desk.shows(&texts(0..20)).await;
        desk.becomes("live").await;
    }
}

/// A browser that duplicates a tab copies what the tab keeps, also whose mailbox it reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_takes_over_and_the_first_can_take_it_back() {
    let desk = Desk::new(Broker::Embedded).await;
    let first = desk.browser.tab().await;
    let kept = desk.browser.run("return JSON.stringify({ ...sessionStorage });").await;
    let second = desk.browser.new_tab().await;
    desk.browser.open(&format!("http://{}/live", desk.gateway.address())).await;
    desk.browser.run(&format!("Object.assign(sessionStorage, JSON.parse({kept}));")).await;
    desk.browser.open(&desk.url()).await;
    desk.becomes("live").await;
    desk.browser.switch_to(&first).await;
    desk.becomes("replaced").await;
    // It does not fight for its place.
    desk.post_numbers(0..3).await;
    desk.browser.switch_to(&second).await;
    desk.shows(&texts(0..3)).await;

    desk.browser.switch_to(&first).await;
    desk.becomes("replaced").await;
    assert!(desk.browser.text("#status").await.contains("another tab reads this mailbox"));
    desk.browser.click("#again").await;
    desk.becomes("live").await;
    desk.post_numbers(3..6).await;
    // What the other had seen and not yet confirmed may come here too.
    eventually(SOON, "the new events", async || {
        let rows: Vec<String> = serde_json::from_value(desk.browser.run(SHOWN).await).unwrap();
        if rows.ends_with(&texts(3..6)) { Ok(()) } else { Err(rows) }
    })
    .await;
    desk.browser.switch_to(&second).await;
    desk.becomes("replaced").await;
}

on_both_brokers!(a_gateway_that_dies_under_the_page_loses_it_nothing);
async fn a_gateway_that_dies_under_the_page_loses_it_nothing(broker: Broker) {
    let mut desk = Desk::new(broker).await;
    desk.browser.run(RECORD).await;
    desk.post_numbers(0..30).await;
    desk.gateway.kill9();
    eventually(SOON, "the page to say so", async || {
        let status = desk.browser.text("#status").await;
        let says = status.starts_with("Waiting to retry") && status.contains("the gateway cannot be reached");
        if says { Ok(()) } else { Err(status) }
    })
    .await;
    desk.gateway.start_again().await;
    desk.gateway.wait_ready().await;
    desk.post_numbers(30..60).await;
    desk.becomes("live").await;
    desk.shows(&texts(0..60)).await;
    desk.becomes_texts(RECORDED, &texts(0..60)).await;
}

on_both_brokers!(a_burst_arrives_whole_once_and_in_order);
async fn a_burst_arrives_whole_once_and_in_order(broker: Broker) {
    let desk = Desk::new(broker).await;
    desk.browser.run(RECORD).await;
    desk.post_numbers(0..1000).await;
    desk.becomes_texts(RECORDED, &texts(0..1000)).await;
    assert_eq!(desk.browser.text("#count").await, "1,000");
    // The list is bounded: it holds the newest.
    desk.shows(&texts(500..1000)).await;
}

/// The new topics are bound before the old ones are let go.
#[tokio::test(flavor = "multi_thread")]
async fn other_topics_replace_those_before() {
    let desk = Desk::new(Broker::Embedded).await;
    let other = unique("builds");
    desk.browser.fill("#topics", &format!("{other}.#,{other}.7\n")).await;
    desk.becomes("live").await;
    let bound = "return sessionStorage.bound;";
    let expected = Value::from(format!("{other}.#,{other}.7"));
    eventually_eq(SOON, "what is bound", expected, async || desk.browser.run(bound).await).await;
    desk.post(r#"{"n":"old"}"#).await;
    Request::publish(&other, "application/json", r#"{"n":"new"}"#).send(desk.gateway.address()).await;
    desk.shows(&[r#"{"n":"new"}"#.to_owned()]).await;
}

on_both_brokers!(a_mailbox_that_was_deleted_begins_anew_and_says_so);
async fn a_mailbox_that_was_deleted_begins_anew_and_says_so(broker: Broker) {
    let desk = Desk::new(broker).await;
    desk.post_numbers(0..1).await;
    desk.shows(&texts(0..1)).await;
    let client = desk.browser.text("#client").await;
    Request::new("DELETE", &format!("/clients/{client}")).send(desk.gateway.address()).await.expect_status(204);
    eventually(SOON, "the word that something is gone", async || {
        let row = desk.browser.text("#events > li").await;
        if row.contains("Something is gone") && row.contains("reset") { Ok(()) } else { Err(row) }
    })
    .await;
    desk.becomes("live").await;
    desk.post(r#"{"n":"after"}"#).await;
    eventually_eq(SOON, "the newest row", r#"{"n":"after"}"#.to_owned(), async || {
        desk.browser.text("#events .preview").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_readable_in_every_light_and_width() {
    let desk = Desk::new(Broker::Embedded).await;
    desk.post_numbers(0..3).await;
    desk.post(r#"{"job":17,"state":"running","progress":40,"steps":[{"name":"build","ok":true},{"name":"test"}]}"#)
        .await;
    let topic = format!("{}.with.many.words.one-that-is-rather-long.status", desk.topic);
    let long = format!("\"{}\"", "no blank in a long line ".replace(' ', "_").repeat(30));
    Request::publish(&topic, "application/json", long).send(desk.gateway.address()).await.expect_status(202);
    Request::publish(&desk.topic, "application/pdf", "%PDF").send(desk.gateway.address()).await.expect_status(202);
    eventually_eq(SOON, "the number of events", "6".to_owned(), async || desk.browser.text("#count").await).await;
    desk.browser.click("#events li:nth-child(3) summary").await;
    for (size, scheme, name) in [
        ((1280, 960), "light", "page-light"),
        ((1280, 960), "dark", "page-dark"),
        ((360, 1600), "light", "page-narrow"),
        ((360, 1600), "dark", "page-narrow-dark"),
        ((390, 844), "light", "page-phone"),
        ((760, 1300), "light", "page-middle"),
    ] {
        desk.is_readable(size, scheme, name).await;
    }
}
