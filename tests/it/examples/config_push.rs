//! `examples/config-push`: the page shows what is in a file, as `publisher watch` tells it.

use std::{fs, path::PathBuf};

use postern_tests::{Broker, Folder, Publisher, Request, RunningPublisher, eventually, on_both_brokers};
use serde_json::{Value, json};

use super::{Desk, SOON};

const SHOWN: &str = r#"return document.getElementById("content").textContent;"#;
/// Writes down every content that is shown from now on, also those that are replaced at once.
const RECORD: &str = r#"
    window.came = [];
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) for (const { data } of addedNodes) window.came.push(data);
    }).observe(document.getElementById("content"), { childList: true });"#;
const RECORDED: &str = "return window.came;";

/// A page, and the file whose content it shows.
struct Push {
    desk: Desk,
    file: PathBuf,
    watcher: RunningPublisher,
    // After the watcher, which looks into it.
    _folder: Folder,
}

impl Push {
    async fn new(broker: Broker) -> Self {
        let folder = Folder::new("config-push");
        let file = folder.write("settings.json", &content(0));
        let desk = Desk::new(broker, "config-push", &[]).await;
        let gateway = format!("http://{}", desk.gateway.address());
        // As `examples/config-push/beside` starts it.
        let watcher = Publisher::new(&["watch", file.to_str().unwrap(), "config.app", "--gateway", &gateway]).start();
        let push = Self { desk, file, watcher, _folder: folder };
        push.enter().await;
        push
    }

    /// Opens the page in the tab in front.
    async fn enter(&self) {
        self.desk.open("/").await;
        self.desk.becomes("live").await;
        self.desk.browser.run(RECORD).await;
    }

    /// Writes the file: in place, or by a rename over it.
    fn write(&self, n: u32) {
        if n.is_multiple_of(2) {
            fs::write(&self.file, content(n)).unwrap();
        } else {
            fs::write(self.file.with_extension("new"), content(n)).unwrap();
            fs::rename(self.file.with_extension("new"), &self.file).unwrap();
        }
    }

    async fn shows(&self, n: u32) {
        self.desk.gives(SHOWN, json!(shown(n))).await;
    }

    /// Waits until the page in front shows this content, and checks that it came there through whole contents only, in
    /// order and without a repeat.
    async fn came_to(&self, n: u32) {
        self.shows(n).await;
        let came: Vec<String> = serde_json::from_value(self.desk.browser.run(RECORDED).await).unwrap();
        let numbers: Vec<u32> =
            came.iter().map(|text| (0..=n).find(|n| *text == shown(*n)).unwrap_or_else(|| panic!("{text}"))).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    }

    async fn said(&self, words: &str) {
        let said = async || {
            let said = self.watcher.stderr().tail(30);
            if said.contains(words) { Ok(()) } else { Err(said) }
        };
        eventually(SOON, words, said).await;
    }
}

fn content(n: u32) -> String {
    format!("{{ \"n\": {n}, \"fill\": \"{}\" }}\n", "x".repeat(2000))
}

fn shown(n: u32) -> String {
    format!("{{\n  \"n\": {n},\n  \"fill\": \"{}\"\n}}", "x".repeat(2000))
}

on_both_brokers!(two_tabs_show_the_file_as_it_changes_and_after_a_reload);
async fn two_tabs_show_the_file_as_it_changes_and_after_a_reload(broker: Broker) {
    let push = Push::new(broker).await;
    let browser = &push.desk.browser;
    push.shows(0).await;
    let first = browser.tab().await;
    let second = browser.new_tab().await;
    push.enter().await;
    push.shows(0).await;
    for n in 1..=4 {
        push.write(n);
        for tab in [&first, &second] {
            browser.switch_to(tab).await;
            push.came_to(n).await;
        }
    }
    fs::remove_file(&push.file).unwrap();
    for tab in [&first, &second] {
        browser.switch_to(tab).await;
        push.desk.gives(r#"return document.getElementById("note").textContent;"#, json!("There is no file.")).await;
        assert_eq!(browser.run(r#"return document.getElementById("content").hidden;"#).await, Value::Bool(true));
    }
    browser.reload().await;
    push.desk.gives(r#"return document.getElementById("note").textContent;"#, json!("There is no file.")).await;
    push.write(6);
    push.shows(6).await;
    browser.reload().await;
    push.shows(6).await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

on_both_brokers!(a_client_that_has_the_current_version_gets_no_bytes);
async fn a_client_that_has_the_current_version_gets_no_bytes(broker: Broker) {
    let push = Push::new(broker).await;
    push.shows(0).await;
    let ask = async |etag: Option<&str>| {
        let request = Request::get("/topics/config.app/events?wait=0");
        let request = etag.iter().fold(request, |request, etag| request.header("if-none-match", etag));
        request.send(push.desk.gateway.address()).await
    };
    let full = ask(None).await.expect_status(200);
    assert!(full.text().len() > 2000);
    let etag = full.header("etag").expect("a feed has an ETag").to_owned();
    let nothing = ask(Some(&etag)).await.expect_status(304);
    assert_eq!((nothing.text().len(), nothing.header("etag")), (0, Some(etag.as_str())));
    push.write(1);
    push.shows(1).await;
    assert!(ask(Some(&etag)).await.expect_status(200).text().contains("\"n\": 1"));

    // The same from the page, by a person.
    let answer = r#"return document.getElementById("answer").textContent.replace(/ [\d,]{5,} /, " many ");"#;
    push.desk.browser.click("#again").await;
    push.desk.gives(answer, json!("200, many bytes")).await;
    push.desk.browser.click("#again").await;
    push.desk.gives(answer, json!("304, 0 bytes")).await;
}

on_both_brokers!(a_reload_in_the_middle_of_a_burst_shows_the_newest);
async fn a_reload_in_the_middle_of_a_burst_shows_the_newest(broker: Broker) {
    let push = Push::new(broker).await;
    let browser = &push.desk.browser;
    let first = browser.tab().await;
    let second = browser.new_tab().await;
    push.enter().await;
    let mut n = 0;
    for _ in 0..4 {
        for _ in 0..10 {
            n += 1;
            push.write(n);
        }
        browser.reload().await;
    }
    push.shows(n).await;
    browser.switch_to(&first).await;
    push.came_to(n).await;
    browser.switch_to(&second).await;
    push.said(&format!("{} bytes", content(n).len())).await;
}

on_both_brokers!(a_gateway_that_dies_under_the_page_comes_back_with_the_newest);
async fn a_gateway_that_dies_under_the_page_comes_back_with_the_newest(broker: Broker) {
    let mut push = Push::new(broker).await;
    push.shows(0).await;
    push.desk.gateway.kill9();
    push.desk.becomes("waiting").await;
    push.write(1);
    push.said("1 not confirmed yet, trying again").await;
    push.write(2);
    push.desk.gateway.start_again().await;
    push.desk.gateway.wait_ready().await;
    push.came_to(2).await;
}

on_both_brokers!(a_network_that_is_cut_for_ten_seconds_leads_to_the_newest);
async fn a_network_that_is_cut_for_ten_seconds_leads_to_the_newest(broker: Broker) {
    let push = Push::new(broker).await;
    push.shows(0).await;
    push.write(1);
    push.came_to(1).await;
    push.desk
        .while_the_network_is_cut(async || {
            push.write(2);
            // The publisher does not go through what is cut.
            push.said(&format!("{} bytes", content(2).len())).await;
            push.write(3);
        })
        .await;
    push.came_to(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_readable_in_every_light_and_width() {
    let push = Push::new(Broker::Embedded).await;
    fs::write(&push.file, include_str!("../../../examples/config-push/settings.json")).unwrap();
    push.desk.gives("return document.getElementById('content').textContent.includes('greeting');", json!(true)).await;
    for _ in 0..2 {
        push.desk.browser.click("#again").await;
        push.desk.gives("return document.getElementById('etag').textContent.length > 9;", json!(true)).await;
    }
    push.desk.is_readable("config-push").await;
    fs::remove_file(&push.file).unwrap();
    push.desk.gives(r#"return document.getElementById("note").textContent;"#, json!("There is no file.")).await;
    push.desk.browser.look((1000, 800), "light").await;
    push.desk.browser.screenshot("example-config-push-gone").await;
    assert_eq!(push.desk.browser.complaints().await, Vec::<String>::new());
}
