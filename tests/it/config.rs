//! Flags and environment: what is wrong is said before anything is opened, no password is ever shown, and the gateway
//! says which broker it runs on. Each test is about the settings of one broker, or of none.

mod data_folder;
mod secrets;
mod variables;

use std::{fs, net::TcpListener, time::Duration};

use postern_tests::{
    Finished, Folder, Gateway, GatewayBuilder, Poll, Publisher, Request, eventually_eq, free_port, shared_broker,
    unique,
};
use tokio::net::TcpStream;

/// A port on which nothing listens.
const NO_BROKER: &str = "amqp://guest:guest@127.0.0.1:1/%2f";

async fn run(builder: GatewayBuilder) -> Finished {
    builder.run(Duration::from_secs(10)).await
}

/// Runs a gateway whose configuration is wrong, and returns what it says.
async fn refused(builder: GatewayBuilder) -> String {
    let Finished { status, stdout, stderr } = run(builder).await;
    assert_eq!((status.code(), stdout.as_str()), (Some(64), ""), "{stderr}");
    assert!(!stderr.contains("listening"), "{stderr}");
    stderr
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_ends_the_process_with_64_before_it_listens() {
    let with = |flag: &str, value: &str| Gateway::builder().amqp_url(NO_BROKER).flag(flag, value);
    for (builder, words) in [
        (with("--listen", "0.0.0.0:0"), &["0.0.0.0:0", "--allow-anonymous", "127.0.0.1"][..]),
        (with("--listen", "[::]:0"), &["--allow-anonymous"]),
        (with("--listen", "localhost"), &["--listen", "localhost:8080"]),
        (with("--listen", "::1"), &["[::1]:8080"]),
        (with("--listen", ":8080").switch("--allow-anonymous"), &["0.0.0.0:8080"]),
        (with("--linger", "15"), &["--linger"]),
        (with("--window", "0"), &["--window"]),
        (with("--window", "65536"), &["--window"]),
        (with("--confirm-deadline", "0s"), &["--confirm-deadline"]),
        (with("--mailbox-expiry", "soon"), &["--mailbox-expiry"]),
        (with("--allow-origin", "app.example/"), &["--allow-origin", "https://app.example"]),
        (with("--allow-origin", "https://*.app.example"), &["--allow-origin", "name each origin"]),
        (with("--allow-origin", "https://app.example/shop"), &["slash: https://app.example"]),
        (with("--allow-origin", "null"), &["null is the origin of"]),
        (with("--log", "a=b=c"), &["--log"]),
        (with("--retention-age", "0s"), &["--retention-age"]),
        (with("--retention-bytes", "1XB"), &["--retention-bytes", "64MiB"]),
        (with("--threads", "100000"), &["--threads", "1 to 1024"]),
        (with("--max-body", "-1"), &["--max-body", "it is no size"]),
        (with("--feed-window", "99999999999GiB"), &["--feed-window", "it is no size"]),
        (with("--feed-topics", "a..b"), &["--feed-topics"]),
        (Gateway::builder().amqp_url(NO_BROKER).switch("--memory"), &["--memory", "--amqp-url", "AMQP_URL"]),
        (Gateway::builder().env("AMQP_URL", NO_BROKER).env("POSTERN_MEMORY", "1"), &["--memory", "AMQP_URL"]),
        (Gateway::builder().switch("--memory").flag("--data-dir", "x"), &["--memory", "--data-dir"]),
        (Gateway::builder().switch("--memory").env("POSTERN_DATA_DIR", "x"), &["--memory", "POSTERN_DATA_DIR"]),
        (Gateway::builder().amqp_url("amqp://u:pa/ss@broker"), &["percent-encode user, password and virtual host"]),
        (Gateway::builder().amqp_url("amqps://u@broker?verify=verify_none"), &["verify", "SSL_CERT_FILE"]),
        (
            Gateway::builder().amqp_url("amqps://u@broker?cacertfile=/no/such/ca.pem"),
            &["/no/such/ca.pem cannot be read"],
        ),
        (Gateway::builder().amqp_url("amqp://u@broker?cacertfile=/ca.pem"), &["cacertfile", "write amqps://"]),
        (with("--amqp-ca-file", "/ca.pem"), &["--amqp-ca-file", "write amqps://"]),
        (Gateway::builder().amqp_url("amqps://broker").flag("--amqp-cert-file", "/c"), &["needs", "--amqp-key-file"]),
        (Gateway::builder().amqp_url("amqp://a,b"), &["--amqp-url", "repeat --amqp-url"]),
        (Gateway::builder().env("AMQP_URL", "amqp://a amqps://a"), &["differ in scheme", "one cluster"]),
        (Gateway::builder().amqp_url("amqp://a/v").amqp_url("amqp://b/w"), &["differ in virtual host"]),
        (Gateway::builder().amqp_url("amqp://a/v").amqp_url("amqp://u@b/v"), &["differ in user"]),
        (Gateway::builder().switch("--no-such-flag"), &["--no-such-flag", "--help"]),
        (Gateway::builder().env("AMQP_URL", NO_BROKER).env("POSTERN_LISTEN", "0.0.0.0:0"), &["0.0.0.0:0"]),
        (Gateway::builder().env("AMQP_URL", NO_BROKER).env("POSTERN_LINGER", "soon"), &["--linger"]),
        (Gateway::builder().env("AMQP_URL", "broker"), &["AMQP_URL", "amqp://user:password@host"]),
    ] {
        let said = refused(builder).await;
        for word in words {
            assert!(said.contains(word), "{word:?} is not in {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_url_is_refused_without_its_password() {
    for url in [
        "amqp://alice:hunter2@broker:port/%2f",
        "http://alice:hunter2@broker/",
        "alice:hunter2@broker",
        "amqp://alice:hunter2@broker/%2f?heartbeat=never",
        "amqp://alice:hunter2@broker:5672:5672/",
        "amqp://alice@a/%2f amqp://alice:hunter2@broker:port/%2f",
    ] {
        for builder in [Gateway::builder().amqp_url(url), Gateway::builder().env("AMQP_URL", url)] {
            let said = refused(builder).await;
            assert!(!said.contains("hunter2"), "{url}: {said}");
            assert!(said.contains("amqp://user:password@host"), "{url}: {said}");
        }
    }
    // Lists as other clients take them, and addresses that do not belong together.
    for (urls, words) in [
        ("amqp://alice:1@a/%2f,amqp://alice:hunter2@b/%2f", "repeat --amqp-url"),
        ("amqp://alice:1@a:5672,amqp://alice:hunter2@b:5672", "repeat --amqp-url"),
        ("amqp://alice:1@a,alice:hunter2@b/v", "repeat --amqp-url"),
        ("amqp://alice:1@a/v amqp://alice:hunter2@b/v", "differ in password"),
    ] {
        let said = refused(Gateway::builder().env("AMQP_URL", urls)).await;
        assert!(said.contains(words) && !said.contains("hunter2"), "{urls}: {said}");
        let Finished { status, stderr, .. } = Publisher::new(&["emit", "a", "1"]).amqp_url(urls).run().await;
        assert_eq!(status.code(), Some(64), "{stderr}");
        assert!(stderr.contains(words) && !stderr.contains("hunter2"), "{urls}: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_names_every_flag_and_says_how_durations_are_written() {
    let Finished { status, stdout, stderr } = run(Gateway::builder().switch("--help")).await;
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
    for word in [
        "--listen",
        "--amqp-url",
        "--data-dir",
        "--memory",
        "--retention-age",
        "--retention-bytes",
        "--feed-topics",
        "./postern-data",
        "--linger",
        "--confirm-deadline",
        "--window",
        "--mailbox-expiry",
        "--allow-origin",
        "--allow-anonymous",
        "--check",
        "AMQP_URL",
        "POSTERN_LISTEN",
        "127.0.0.1:8080",
        "500ms",
        "15s",
        "24h",
        "[default: 64MiB]",
        "[default: 1GiB]",
        "--amqp-url-file",
        "--amqp-ca-file",
        "(ps)",
    ] {
        assert!(stdout.contains(word), "{word} is not in {stdout}");
    }
    // A line that is copied from the help must not be broken.
    let examples: Vec<&str> = stdout.lines().skip_while(|line| *line != "Examples:").collect();
    assert!(examples.len() > 5 && examples.iter().all(|line| line.len() < 80), "{examples:#?}");
    // No password gets into a bug report by way of the help.
    let with_secret = Gateway::builder().env("AMQP_URL", "amqp://alice:hunter2@broker").switch("--help");
    assert!(!run(with_secret).await.stdout.contains("hunter2"));
    assert!(run(Gateway::builder().switch("--version")).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_as_good_as_flags_and_flags_win() {
    let broker = shared_broker().await;
    let builder = Gateway::builder().env("AMQP_URL", broker.url()).env("POSTERN_LINGER", "50ms");
    let gateway = builder.env("POSTERN_ALLOW_ORIGIN", "https://a.example,https://b.example").start().await;
    gateway.wait_ready().await;
    for origin in ["https://a.example", "https://b.example"] {
        let answer = Request::get("/live").header("Origin", origin).send(gateway.address()).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    }
    Poll::of(&unique("alice")).topics(&unique("jobs")).wait(0).send(&gateway).await.expect_status(204);
    let sessions = async || {
        let metrics = Request::get("/metrics").send(gateway.address()).await.text();
        metrics.lines().any(|line| line == "postern_sessions 0")
    };
    // Far below the default of 15 s.
    eventually_eq(Duration::from_secs(10), "the end of the session after 50 ms", true, sessions).await;

    // The builder gives a flag for the address, which wins over this.
    let builder = Gateway::builder().env("AMQP_URL", NO_BROKER).amqp_url(broker.url());
    builder.env("POSTERN_LISTEN", "127.0.0.1:1").start().await.wait_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for builder in [
        Gateway::builder().amqp_url(NO_BROKER).flag("--listen", &address),
        Gateway::builder().env("AMQP_URL", NO_BROKER).env("POSTERN_LISTEN", &address),
        Gateway::builder().embedded().flag("--listen", &address),
    ] {
        let Finished { status, stderr, .. } = run(builder).await;
        assert_eq!(status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("--listen") && stderr.contains(&address), "{stderr}");
        assert!(stderr.to_lowercase().contains("address already in use"), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_setting_a_gateway_keeps_its_events_where_it_is_started_and_says_so() {
    let folder = Folder::new("started-in");
    // The only flag is the address, which tests must have.
    let gateway = Gateway::builder().current_dir(&folder).start().await;
    let expected = folder.path().join("postern-data").display().to_string();
    says_its_broker(&gateway, &["embedded", &expected, "one gateway on one machine", "RabbitMQ: --amqp-url"]).await;
    assert!(folder.path().join("postern-data").is_dir());
    // There is nothing that it would have to wait for.
    Request::get("/ready").send(gateway.address()).await.expect_status(200);
    let check = Gateway::builder().flag("--check", format!("http://{}/ready", gateway.address()));
    assert_eq!(run(check).await.status.code(), Some(0));
    drop(gateway);

    // A compose file says with an empty variable that there is none.
    let builder = Gateway::builder().current_dir(&folder).env("AMQP_URL", "").env("POSTERN_DATA_DIR", "elsewhere");
    let gateway = builder.start().await;
    says_its_broker(&gateway, &[&folder.path().join("elsewhere").display().to_string()]).await;
    drop(gateway);

    let empty = Folder::new("started-in");
    let gateway = Gateway::builder().current_dir(&empty).switch("--memory").start().await;
    says_its_broker(&gateway, &["embedded, in memory", "a restart loses every event", "--data-dir"]).await;
    Request::get("/ready").send(gateway.address()).await.expect_status(200);
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "nothing is written");

    let url = shared_broker().await.url();
    let gateway = Gateway::builder().amqp_url(url).start().await;
    let (_, place) = url.split_once('@').expect("the URL names a user");
    says_its_broker(&gateway, &[place.split_once('/').expect("the URL names a virtual host").0]).await;
}

/// Checks the field `broker` of the line that says where the gateway listens.
async fn says_its_broker(gateway: &Gateway, words: &[&str]) {
    let fields = gateway.wait_logged("listening", Duration::from_secs(5)).await;
    let said = fields["broker"].as_str().unwrap_or_else(|| panic!("it names no broker: {fields}"));
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_used_is_named_and_what_to_do_about_it() {
    let folder = Folder::new("data");
    let path = folder.path().display().to_string();
    let mut first = Gateway::builder().flag("--data-dir", folder.path()).start().await;
    let second =
        async || run(Gateway::builder().flag("--data-dir", folder.path()).flag("--listen", "127.0.0.1:0")).await;
    let Finished { status, stderr, .. } = second().await;
    assert_eq!(status.code(), Some(1), "{stderr}");
    for word in [path.as_str(), "another gateway uses this folder", "--data-dir"] {
        assert!(stderr.contains(word), "{word:?} is not in {stderr}");
    }
    assert!(!stderr.contains("listening"), "{stderr}");
    // The first did not notice.
    Request::publish("a", "text/plain", "1").send(first.address()).await.expect_status(202);
    // A gateway that was killed leaves nothing that keeps its successor out.
    first.kill9();
    Gateway::builder().flag("--data-dir", folder.path()).start().await.wait_ready().await;

    // No user can make a folder below a file.
    let file = folder.write("file", "");
    for place in [file.clone(), file.join("data")] {
        let builder = Gateway::builder().flag("--data-dir", &place).flag("--listen", "127.0.0.1:0");
        let Finished { status, stderr, .. } = run(builder).await;
        assert_eq!(status.code(), Some(1), "{stderr}");
        for word in [place.display().to_string().as_str(), "--data-dir", "may be written"] {
            assert!(stderr.contains(word), "{word:?} is not in {stderr}");
        }
        assert!(!stderr.contains("panicked") && !stderr.contains("listening"), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_leaves_no_folder() {
    let folder = Folder::new("started-in");
    let said = refused(Gateway::builder().current_dir(&folder).flag("--listen", "0.0.0.0:0")).await;
    assert!(said.contains("--allow-anonymous"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_broker_a_gateway_is_live_and_becomes_ready_when_the_broker_comes() {
    let free = free_port();
    let (_, place) = shared_broker().await.url().split_once('@').expect("the URL names a user");
    let (broker, vhost) = place.split_once('/').expect("the URL names a virtual host");
    let gateway = Gateway::builder().amqp_url(&format!("amqp://guest:guest@127.0.0.1:{free}/{vhost}")).start().await;
    let check = async |path: &str| {
        let url = format!("http://{}{path}", gateway.address());
        run(Gateway::builder().flag("--check", url)).await.status.code()
    };
    gateway.wait_answer("/live", 200, Duration::from_secs(5)).await;
    assert_eq!((check("/live").await, check("/ready").await), (Some(0), Some(1)));
    let topic = unique("jobs");
    let poll = Poll::of(&unique("alice")).topics(&topic).wait(0);
    let post = Request::publish(&topic, "application/json", r#"{"n":1}"#);
    for answer in [
        Request::get("/ready").send(gateway.address()).await,
        poll.clone().wait(30).send(&gateway).await,
        post.send(gateway.address()).await,
        Request::get("/clients/alice").send(gateway.address()).await,
        Request::new("PUT", "/clients/alice/topics/a").send(gateway.address()).await,
    ] {
        assert!(answer.problem(503).contains("broker"), "{answer:?}");
        let retry_after: u32 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&retry_after), "{retry_after}");
    }
    // Nothing was ever sent, so nothing can have been stored.
    let told = post.send(gateway.address()).await.problem(503);
    assert!(told.contains("was not stored") && told.contains("Event-Id"), "{told}");
    let _coming = tokio::spawn(forward(free, broker));
    gateway.wait_ready().await;
    assert_eq!(check("/ready").await, Some(0));
    // One line for all that the lack of a broker means.
    assert_eq!(gateway.log().fields(0, "the log cannot be read; polls of feeds are turned away until it can"), None);
    poll.send(&gateway).await.expect_status(204);
    post.send(gateway.address()).await.expect_status(202);
    assert_eq!(poll.wait(20).send(&gateway).await.batch().numbers("n"), [1]);
}

/// Lets the broker come: passes every connection to this port on to it.
async fn forward(port: u16, broker: &'static str) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("the port should still be free");
    while let Ok((mut client, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut broker = TcpStream::connect(broker).await.expect("the shared node takes connections");
            // How a connection ends is not for this end to judge.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut broker).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_nothing_or_of_nonsense_fails() {
    for url in [&format!("http://127.0.0.1:{}/ready", free_port()), "https://127.0.0.1/ready", "ready", "http://"] {
        let Finished { status, stderr, .. } = run(Gateway::builder().flag("--check", url)).await;
        assert_eq!(status.code(), Some(1), "{url}: {stderr}");
        assert!(stderr.contains(url), "{url}: {stderr}");
    }
}
