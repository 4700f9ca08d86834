//! Environment variables as container files and people write them: empty, misspelled, with spaces.

use std::time::Duration;

use postern_tests::{Finished, Folder, Gateway, GatewayBuilder, Publisher, Request};
use serde_json::Value;

use super::{refused, run};

/// The line that tells of variables without a setting.
const UNKNOWN: &str = "no setting has these environment variables; they have no effect";

/// Returns the names of all variables that a help text has: `[env: NAME=]`, or `[env: NAME]` where values are hidden.
fn variables(help: &str) -> Vec<String> {
    let texts = help.split("[env: ").skip(1);
    let mut names: Vec<String> = texts.map(|text| text.split(['=', ']']).next().unwrap().to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

async fn of_the_gateway() -> Vec<String> {
    let names = variables(&run(Gateway::builder().switch("--help")).await.stdout);
    assert!(names.len() > 25 && names.contains(&"POSTERN_WINDOW".to_owned()), "{names:?}");
    names
}

async fn of_the_publisher() -> Vec<String> {
    let mut names = Vec::new();
    for command in ["emit", "pipe", "watch", "simulate"] {
        names.extend(variables(&Publisher::new(&[command, "--help"]).run().await.stdout));
    }
    names.sort();
    names.dedup();
    assert!(names.len() > 15 && names.contains(&"POSTERN_GATEWAY".to_owned()), "{names:?}");
    names
}

fn with_all(builder: GatewayBuilder, names: &[String], value: &str) -> GatewayBuilder {
    names.iter().fold(builder, |builder, name| builder.env(name, value))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_variable_is_one_that_is_not_set() {
    let names = of_the_gateway().await;
    for empty in ["", " "] {
        let folder = Folder::new("started-in");
        let gateway = with_all(Gateway::builder().current_dir(&folder), &names, empty).start().await;
        gateway.wait_ready().await;
        assert!(folder.path().join("postern-data").is_dir(), "the defaults count");
        assert_eq!(gateway.log().fields(0, UNKNOWN), None);

        let url = format!("http://{}", gateway.address());
        let publisher = Publisher::new(&["emit", "a", "1", "--gateway", &url]);
        let publisher = of_the_publisher().await.iter().fold(publisher, |publisher, name| publisher.env(name, empty));
        let Finished { status, stderr, .. } = publisher.run().await;
        assert!(status.success() && !stderr.contains("warning"), "{stderr}");
    }
    // The help still shows them.
    let help = run(Gateway::builder().env("POSTERN_WINDOW", "").switch("--help")).await.stdout;
    assert!(help.contains("[env: POSTERN_WINDOW=]"), "{help}");
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_that_no_setting_has_are_told_once_without_their_values() {
    let builder = Gateway::builder().switch("--memory").env("POSTERN_WINDW", "s3cret").env("POSTERN_COLOUR", "s3cret");
    let gateway = builder.env("POSTERN_PORT_8080_TCP", "tcp://10.0.0.1:8080").start().await;
    let fields = gateway.wait_logged(UNKNOWN, Duration::from_secs(5)).await;
    assert_eq!(fields["variables"], Value::from("POSTERN_COLOUR, POSTERN_WINDW (did you mean POSTERN_WINDOW?)"));
    let lines = gateway.log().lines();
    assert_eq!(lines.iter().filter(|line| line.contains("POSTERN_")).count(), 1, "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains("s3cret")), "{lines:#?}");

    let url = format!("http://{}", gateway.address());
    let publisher = || Publisher::new(&["emit", "a", "1", "--gateway", &url]).env("POSTERN_TIMOUT", "s3cret");
    let said = publisher().run().await.stderr;
    assert!(said.contains("POSTERN_TIMOUT (did you mean POSTERN_TIMEOUT?)") && !said.contains("s3cret"), "{said}");
    assert_eq!(publisher().env("POSTERN_QUIET", "1").run().await.stderr, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_of_variables_may_serve_both_programs() {
    let (gateways, publishers) = (of_the_gateway().await, of_the_publisher().await);
    let only = |names: &[String], others: &[String]| -> Vec<String> {
        names.iter().filter(|name| !others.contains(name)).cloned().collect()
    };
    let builder = with_all(Gateway::builder().switch("--memory"), &only(&publishers, &gateways), "nonsense");
    let gateway = builder.start().await;
    assert_eq!(gateway.log().fields(0, UNKNOWN), None);

    let url = format!("http://{}", gateway.address());
    let publisher = Publisher::new(&["emit", "a", "1", "--gateway", &url]);
    let publisher =
        only(&gateways, &publishers).iter().fold(publisher, |publisher, name| publisher.env(name, "nonsense"));
    let Finished { status, stderr, .. } = publisher.run().await;
    assert!(status.success() && !stderr.contains("warning"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_and_items_of_lists_may_have_spaces_around_them() {
    let gateway = Gateway::builder()
        .env("POSTERN_MEMORY", " true ")
        .env("POSTERN_LINGER", " 15s ")
        .env("POSTERN_MAX_BODY", " 1 KiB ")
        .env("POSTERN_ALLOW_ORIGIN", "https://a.example, https://b.example")
        .env("POSTERN_FEED_TOPICS", "a.#, b.#")
        .start()
        .await;
    let answer = Request::get("/live").header("Origin", "https://b.example").send(gateway.address()).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://b.example"));
    for topic in ["a.1", "b.1"] {
        Request::get(&format!("/topics/{topic}/events?wait=0")).send(gateway.address()).await.expect_status(204);
    }
    let large = |bytes| Request::publish("a", "text/plain", "x".repeat(bytes));
    large(1024).send(gateway.address()).await.expect_status(202);
    large(1025).send(gateway.address()).await.expect_status(413);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_the_variable_that_it_comes_from() {
    for (name, value, flag) in [
        ("POSTERN_LINGER", "soon", "--linger"),
        ("POSTERN_WINDOW", "\"64\"", "--window"),
        ("POSTERN_LISTEN", "localhost", "--listen"),
        ("POSTERN_MEMORY", "ture", "--memory"),
        ("POSTERN_LOG_FORMAT", "xml", "--log-format"),
        ("POSTERN_MAX_BODY", "1XB", "--max-body"),
        ("POSTERN_FEED_TOPICS", "a..b", "--feed-topics"),
    ] {
        let said = refused(Gateway::builder().env(name, value)).await;
        assert!(said.contains(name) && said.contains(flag) && said.contains(value), "{said}");
        // A flag is not blamed on a variable.
        if flag != "--memory" {
            let said = refused(Gateway::builder().env(name, value).flag(flag, value)).await;
            assert!(!said.contains(name), "{said}");
        }
    }
    for (name, value) in [("POSTERN_TIMEOUT", "soon"), ("POSTERN_QUIET", "ture")] {
        let Finished { status, stderr, .. } = Publisher::new(&["emit", "a", "1"]).env(name, value).run().await;
        assert_eq!(status.code(), Some(64), "{stderr}");
        assert!(stderr.contains(name) && stderr.contains(value), "{stderr}");
    }
}
