//! The view of jobs.

use postern_tests::{Broker, HttpConnection, Request, on_both_brokers};
use serde_json::{Value, json};

use super::Desk;

/// Every card: of which part of the view it is, its topic, its words, and its bar if it has one.
const CARDS: &str = r##"
    return [...document.querySelectorAll("#jobs-view li")].map((card) => {
      const bar = card.querySelector("[role=progressbar]:not([hidden])");
      const words = [".topic", ".word"].map((part) => card.querySelector(part).textContent);
      return [card.parentElement.id, ...words, bar && bar.getAttribute("aria-valuenow")];
    });"##;

impl Desk {
    /// Opens the view of the jobs of this test.
    async fn watch_jobs(&self) {
        let address = self.gateway.address();
        self.browser.open(&format!("http://{address}/?view=jobs&jobs={}.*.status", self.topic)).await;
        self.gives(r#"return document.getElementById("feed-state").dataset.state;"#, "live".into()).await;
    }

    /// Publishes what a job says.
    async fn job_says(&self, job: u32, body: &str) {
        let topic = self.job(job);
        Request::publish(&topic, "application/json", body).send(self.gateway.address()).await.expect_status(202);
    }

    fn job(&self, job: u32) -> String {
        format!("{}.{job}.status", self.topic)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_appear_move_and_end() {
    let desk = Desk::new(Broker::Embedded).await;
    desk.watch_jobs().await;
    let empty = desk.browser.text("#no-jobs").await;
    assert!(empty.starts_with("No job has reported yet."), "{empty}");
    assert!(empty.contains("publisher -- simulate"), "{empty}");

    let [first, second, third] = [1, 2, 3].map(|job| desk.job(job));
    desk.job_says(1, r#"{"job":1,"state":"queued","progress":0}"#).await;
    desk.gives(CARDS, json!([["active-jobs", first, "queued", "0"]])).await;
    assert_eq!(desk.browser.text("#no-jobs").await, "");
    desk.job_says(2, r#"{"job":2,"state":"running","progress":30}"#).await;
    desk.job_says(1, r#"{"job":1,"state":"running","progress":40}"#).await;
    // A card keeps its place.
    desk.gives(CARDS, json!([["active-jobs", first, "running", "40"], ["active-jobs", second, "running", "30"]])).await;
    let width = r##"
        const bar = document.querySelector("#active-jobs .track");
        const [whole, part] = [bar, bar.firstElementChild].map((box) => box.getBoundingClientRect().width);
        return Math.round((100 * part) / whole);"##;
    desk.gives(width, 40.into()).await;

    desk.job_says(2, r#"{"job":2,"state":"failed","progress":30}"#).await;
    desk.job_says(1, r#"{"job":1,"state":"passed","progress":100}"#).await;
    desk.job_says(3, r#"{"step":"without a state"}"#).await;
    let expected = json!([
        ["active-jobs", third, r#"{"step":"without a state"}"#, null],
        ["over-jobs", first, "passed", null],
        ["over-jobs", second, "failed at 30 %", null],
    ]);
    desk.gives(CARDS, expected.clone()).await;
    assert_eq!(desk.browser.text("#jobs-tools .figures").await, "0 running 0 queued 1 passed 1 failed");
    // By shape, and not by colour alone.
    let icons = r##"
        const icons = [...document.querySelectorAll("#over-jobs .icon")];
        return icons.map((icon) => getComputedStyle(icon, "::before").content);"##;
    assert_eq!(desk.browser.run(icons).await, json!(["\"✓\"", "\"✕\""]));
    // The newest event of each topic is enough to begin with.
    desk.browser.reload().await;
    let sorted = CARDS.replace(";\n    });", ";\n    }).sort();");
    let mut rows: Vec<Value> = expected.as_array().cloned().unwrap_or_default();
    rows.sort_by_key(ToString::to_string);
    desk.gives(&sorted, Value::from(rows)).await;
    assert_eq!(desk.browser.complaints().await, Vec::<String>::new());
}

on_both_brokers!(the_view_of_jobs_outlives_its_gateway);
async fn the_view_of_jobs_outlives_its_gateway(broker: Broker) {
    let gateway = broker.gateway_with_log().await;
    let mut desk = Desk::on(gateway.start().await).await;
    desk.watch_jobs().await;
    desk.job_says(1, r#"{"state":"running","progress":40}"#).await;
    let job = desk.job(1);
    desk.gives(CARDS, json!([["active-jobs", job, "running", "40"]])).await;
    desk.gateway.kill9();
    desk.gives(r#"return document.getElementById("feed-state").textContent;"#, "Waiting to retry".into()).await;
    desk.gateway.start_again().await;
    desk.gateway.wait_ready().await;
    desk.job_says(1, r#"{"state":"running","progress":60}"#).await;
    desk.gives(CARDS, json!([["active-jobs", job, "running", "60"]])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_jobs_a_bounded_number_is_shown() {
    let desk = Desk::new(Broker::Embedded).await;
    desk.watch_jobs().await;
    let mut connection = HttpConnection::open(desk.gateway.address()).await;
    let mut say = async |job, body| {
        let publish = Request::publish(&desk.job(job), "application/json", body);
        connection.request(&publish).await.expect_status(202);
    };
    for job in 0..520 {
        say(job, r#"{"state":"running","progress":50}"#).await;
    }
    for job in 0..110 {
        say(1000 + job, r#"{"state":"passed","progress":100}"#).await;
    }
    let figures = r#"
        const count = (part) => document.querySelectorAll(`#${part}-jobs > li`).length;
        const words = (part) => document.getElementById(`${part}-hidden`).textContent;
        return ["active", "over"].flatMap((part) => [count(part), words(part)]);"#;
    desk.gives(figures, json!([500, "20 more are not shown", 100, "10 older ones are not shown"])).await;
    // One that ends makes room.
    say(0, r#"{"state":"failed","progress":50}"#).await;
    say(519, r#"{"state":"running","progress":60}"#).await;
    desk.gives(figures, json!([500, "19 more are not shown", 100, "11 older ones are not shown"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_of_jobs_is_readable_in_every_light_and_width() {
    let desk = Desk::new(Broker::Embedded).await;
    desk.watch_jobs().await;
    desk.is_readable((1280, 960), "light", "jobs-empty").await;
    desk.is_readable((390, 844), "dark", "jobs-empty-phone-dark").await;
    for (job, state, progress) in
        [(1, "running", 40), (2, "queued", 0), (3, "passed", 100), (4, "failed", 70), (5, "cancelled", 20)]
    {
        desk.job_says(job, &json!({ "state": state, "progress": progress }).to_string()).await;
    }
    desk.job_says(6, &json!({ "state": "running", "progress": "no_number".repeat(30) }).to_string()).await;
    desk.job_says(7, &json!("no_state".repeat(60)).to_string()).await;
    desk.gives("return document.querySelectorAll('#jobs-view li').length;", 7.into()).await;
    for (size, scheme, name) in [
        ((1280, 960), "light", "jobs-light"),
        ((1280, 960), "dark", "jobs-dark"),
        ((390, 844), "light", "jobs-phone"),
        ((390, 844), "dark", "jobs-phone-dark"),
    ] {
        desk.is_readable(size, scheme, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_jobs_that_is_refused_is_told_beside_its_field() {
    let desk = Desk::new(Broker::Embedded).await;
    desk.browser.click("#jobs-tab").await;
    desk.browser.fill("#job-topics", "a..b\n").await;
    let fault = r#"return document.getElementById("job-fault").textContent.slice(0, 20);"#;
    desk.gives(fault, "must be one pattern:".into()).await;
    let field = r#"return document.getElementById("job-topics").getAttribute("aria-invalid");"#;
    assert_eq!(desk.browser.run(field).await, "true");
    assert_eq!(desk.browser.text("#feed-state").await, "Stopped");
}
