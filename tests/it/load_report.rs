//! The page that the load tool writes, in a browser: what it shows can be read, in light and dark, on a desk and on a phone.
//!
//! On the embedded broker only: the page is the same whatever the gateway runs on.

use std::time::Duration;

use postern_tests::{Browser, Folder, Gateway, Load};

const PATIENCE: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_readable() {
    let gateway = Gateway::builder().switch("--memory").start().await;
    gateway.wait_ready().await;
    let folder = Folder::new("load-report");
    let page = folder.path().join("report.html");
    let (path, process) = (page.display().to_string(), gateway.process().id().to_string());
    let flags = ["--clients", "50,100", "--rate", "50/s", "--for", "3s", "--watch-pid", &process, "--html", &path];
    let finished = Load::run(gateway.address(), &flags, PATIENCE).await;
    assert!(
        finished.stdout.contains(" 0 lost, 0 repeated and flagged, 0 repeated and not, 0 out of order"),
        "{finished:?}"
    );

    let browser = Browser::start().await;
    browser.open(&format!("file://{path}")).await;
    assert_eq!(browser.text("#verdict").await, "Passed");
    assert_eq!(browser.text("td").await, "50");
    // Latency, its distribution, received, sent, clients, CPU, memory, context switches; the disk only where one is used.
    let plots = browser.run("return document.querySelectorAll('figure > svg').length;").await;
    assert_eq!(plots, 8);
    // Each plot has lines, and its lines have points.
    let lines =
        "return [...document.querySelectorAll('figure > svg')].every((plot) => plot.querySelector('polyline'));";
    assert_eq!(browser.run(lines).await, true);
    for (size, scheme, name) in [
        ((1280, 960), "light", "load-report-light"),
        ((1280, 960), "dark", "load-report-dark"),
        ((360, 740), "light", "load-report-phone"),
    ] {
        browser.look(size, scheme).await;
        browser.screenshot(name).await;
        let beside = "const { scrollWidth, clientWidth } = document.documentElement; return scrollWidth - clientWidth;";
        assert_eq!(browser.run(beside).await, 0, "{name}: something stands out at the side");
        let unreadable = browser.run(include_str!("browser/contrast.js")).await;
        assert_eq!(unreadable, serde_json::json!([]), "{name}: text with a contrast below 4.5");
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
