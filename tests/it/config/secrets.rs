//! The broker's password: out of logs, and out of the list of processes.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    time::Duration,
};

use base64::Engine;
use postern_tests::{Finished, Folder, Gateway, Publisher, shared_broker, shared_node, unique};

use super::{NO_BROKER, refused};

/// The user, and a password that its URL percent-encodes.
const USER: &str = "alice";
const PASSWORD: &str = "hunter2/@";

/// Returns the password as it could be written: as it is, percent-encoded, as bytes in decimal or hexadecimal numbers, and
/// in base64, of itself or of the answer to the broker's challenge, at any of three alignments.
fn written() -> Vec<String> {
    let (answer, bytes) = (format!("\0{USER}\0{PASSWORD}"), PASSWORD.as_bytes());
    let numbers = |format: fn(&u8) -> String| bytes.iter().map(format).collect::<Vec<_>>().join(", ");
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD_NO_PAD.encode(text);
    // Without the characters at its ends, into which other bytes reach.
    let within = |text: String| text[2..text.len() - 2].to_owned();
    let aligned = ["", "x", "xx"].map(|before| within(base64(&format!("{before}{PASSWORD}"))[2..].to_owned()));
    let mut written: Vec<String> = ["hunter2".to_owned(), base64(&answer)].into();
    written.extend([
        numbers(u8::to_string),
        numbers(|byte| format!("{byte:02x}")),
        numbers(|byte| format!("0x{byte:02x}")),
    ]);
    // Its bytes without separators.
    written.push(numbers(|byte| format!("{byte:02x}")).replace(", ", ""));
    written.extend(aligned);
    written
}

fn shown(lines: &[String]) -> Vec<&String> {
    let written = written();
    let shows = |line: &&String| written.iter().any(|password| line.to_lowercase().contains(&password.to_lowercase()));
    lines.iter().filter(shows).collect()
}

/// Returns a URL with that user and password, which the broker refuses unless they were made known to it.
fn login(url: &str) -> String {
    let (_, authority) = url.split_once('@').expect("the URL names a user");
    format!("amqp://{USER}:hunter2%2F%40@{authority}")
}

async fn known_login() -> String {
    let node = shared_node().await;
    node.rabbitmqctl(&["add_user", USER, PASSWORD]).await;
    node.rabbitmqctl(&["set_permissions", "-p", "/", USER, ".*", ".*", ".*"]).await;
    login(&node.url())
}

/// Every level of every library, by level alone and by name.
const FILTERS: [&str; 3] =
    ["trace", "trace,lapin=trace", "lapin::channel=trace,lapin::frames=trace,amq_protocol=trace,tracing=trace,info"];

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_in_no_log_line_at_any_level() {
    let known = known_login().await;
    let wrong = known.replace(USER, "alicia");
    // Of several addresses none shows it either, whether it is in use or not.
    let (user, place) = known.split_once('@').expect("the URL names a user");
    let elsewhere = format!("{user}@127.0.0.1:1/{}", place.split_once('/').expect("it names a virtual host").1);
    let known = format!("{elsewhere} {known}");
    for (url, message) in [(known.clone(), "connected to the broker"), (wrong, "cannot connect to the broker")] {
        for filter in FILTERS {
            let mut gateway = Gateway::builder().amqp_url(&url).flag("--log", filter).start().await;
            gateway.wait_logged(message, Duration::from_secs(20)).await;
            let command = fs::read(format!("/proc/{}/cmdline", gateway.process().id())).unwrap();
            assert!(!shown(&[String::from_utf8_lossy(&command).into_owned()]).is_empty(), "a flag is seen by others");
            gateway.terminate();
            assert!(gateway.wait_exit(Duration::from_secs(20)).await.success());
            let lines = gateway.log().lines();
            assert!(lines.iter().any(|line| line.contains("alic")), "it says who it was");
            assert!(shown(&lines).is_empty(), "{filter}: {:#?}", shown(&lines));
            let publisher = Publisher::new(&["emit", "a", "1", "--timeout", "2s", "--log", filter]);
            let Finished { stderr, stdout, .. } = publisher.amqp_url(&url).run().await;
            let lines: Vec<String> = stderr.lines().chain(stdout.lines()).map(str::to_owned).collect();
            assert!(shown(&lines).is_empty(), "{filter}: {:#?}", shown(&lines));
            assert!(stderr.contains("lapin") || !filter.starts_with("trace"), "{stderr}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_others_may_read_is_warned_of_and_nothing_of_it_is_in_the_list_of_processes() {
    let folder = Folder::new("secrets");
    let file = folder.write("amqp-url", &login(shared_broker().await.url()));
    let path = file.display().to_string();
    for (mode, is_open) in [(0o600, false), (0o640, false), (0o644, true), (0o602, true)] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let gateway = Gateway::builder().flag("--amqp-url-file", &file).start().await;
        let warning = format!(
            "other users may look into {path} (mode {mode:04o}), which holds a password; chmod o= keeps them out"
        );
        let warned = gateway.log().fields(0, &warning).map(|line| line["level"] == "WARN");
        assert_eq!(warned, is_open.then_some(true), "{:#?}", gateway.log().lines());
        let command = fs::read(format!("/proc/{}/cmdline", gateway.process().id())).unwrap();
        let command = String::from_utf8_lossy(&command).into_owned();
        assert!(command.contains(&path) && shown(std::slice::from_ref(&command)).is_empty(), "{command}");
        let said = Publisher::new(&["emit", "a", "1", "--amqp-url-file", &path, "--timeout", "1s"]).run().await.stderr;
        assert_eq!(said.contains(&warning), is_open, "{said}");
    }
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
