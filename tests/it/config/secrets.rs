//! The broker's password: out of logs, and out of the list of processes.

use std::time::Duration;

use postern_tests::{Finished, Folder, Gateway, Publisher, shared_broker, unique};

use super::{NO_BROKER, refused};

/// The user that the broker refuses, and the password, as text and as bytes in a dump of a frame.
const LOGIN: &str = "alice:hunter2";
const PASSWORD: [&str; 2] = ["hunter2", "104, 117, 110, 116, 101, 114, 50"];

async fn url() -> String {
    let (_, authority) = shared_broker().await.url().split_once('@').expect("the URL names a user");
    format!("amqp://{LOGIN}@{authority}")
}

fn shown(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|line| PASSWORD.iter().any(|password| line.contains(password))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_in_no_log_line_at_any_level() {
    for filter in ["trace", "trace,lapin=trace", "lapin::channel=trace,lapin::frames=trace,amq_protocol=trace,info"] {
        let mut gateway = Gateway::builder().amqp_url(&url().await).flag("--log", filter).start().await;
        // The broker refuses it, which is told.
        gateway.wait_logged("cannot connect to the broker", Duration::from_secs(20)).await;
        gateway.terminate();
        assert!(gateway.wait_exit(Duration::from_secs(20)).await.success());
        let lines = gateway.log().lines();
        assert!(lines.iter().any(|line| line.contains("alice")), "it says who was refused");
        assert!(shown(&lines).is_empty(), "{filter}: {:#?}", shown(&lines));
    }
    let publisher = Publisher::new(&["emit", "a", "1", "--timeout", "1s", "--log", "trace,lapin=trace"]);
    let Finished { stderr, .. } = publisher.amqp_url(&url().await).run().await;
    let lines: Vec<String> = stderr.lines().map(str::to_owned).collect();
    assert!(stderr.contains("lapin") && shown(&lines).is_empty(), "{:#?}", shown(&lines));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_may_be_in_a_file() {
    let (folder, broker) = (Folder::new("secrets"), shared_broker().await);
    let file = folder.write("amqp-url", &format!("{}\n", broker.url()));
    let path = file.display().to_string();
    for builder in [Gateway::builder().flag("--amqp-url-file", &file), Gateway::builder().env("AMQP_URL_FILE", &file)] {
        builder.env("POSTERN_FEED_TOPICS", "no.feed").start().await.wait_ready().await;
    }
    let topic = unique("jobs");
    let ended = Publisher::new(&["emit", &topic, "1", "--amqp-url-file", &path]).run().await;
    assert!(ended.status.success(), "{ended:?}");
    // A flag comes before a variable.
    let ended = Publisher::new(&["emit", &topic, "1", "--amqp-url-file", &path]).amqp_url(NO_BROKER).run().await;
    assert!(ended.status.success(), "{ended:?}");
    Gateway::builder().env("AMQP_URL_FILE", "/no/such/file").amqp_url(broker.url()).start().await.wait_ready().await;

    let empty = folder.write("empty", "\n").display().to_string();
    let wrong = folder.write("wrong", "alice:hunter2@broker").display().to_string();
    for (file, words) in [
        ("/no/such/file", "/no/such/file cannot be read: No such file"),
        (&empty, "is empty"),
        (&wrong, "amqp://user:password@host"),
    ] {
        let said = refused(Gateway::builder().flag("--amqp-url-file", file)).await;
        assert!(said.contains("--amqp-url") && said.contains(words) && !said.contains("hunter2"), "{said}");
        let ended = Publisher::new(&["emit", &topic, "1"]).env("AMQP_URL_FILE", file).run().await;
        assert_eq!(ended.status.code(), Some(64), "{ended:?}");
        assert!(ended.stderr.contains(words) && !ended.stderr.contains("hunter2"), "{ended:?}");
    }
    let both = Gateway::builder().flag("--amqp-url", NO_BROKER).flag("--amqp-url-file", &file);
    assert!(refused(both).await.contains("--amqp-url and --amqp-url-file"));
    let memory = refused(Gateway::builder().switch("--memory").flag("--amqp-url-file", &file)).await;
    assert!(memory.contains("two brokers"), "{memory}");
}
