//! The commands of the first pages, typed one after the other.

use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

use postern_tests::{Page, Process, Request, Terminal, eventually, shared_node};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
const FIRST_PAGES: [Page; 2] = [Page::Readme, Page::Quickstart];

const SIMULATE: &str = "cargo run --release -p publisher -- simulate";
const POLL_ALICE: &str = "/clients/alice/events";
const POLL_BOB: &str = "/clients/bob/events";
const PUBLISH: &str = "/topics/builds.7.status/events";
const PUBLISH_BATCH: &str = "http://127.0.0.1:8080/events";
const LOAD: &str = "cargo run --release -p load -- --find-limit";
const ON_RABBITMQ: &str = "AMQP_URL=";

/// Commands that other parts of `.ci/run` stand for: the image and the compose file; the same programs, started by a
/// script.
const OTHERS: [&str; 2] = ["docker compose up --build", "tests/stack"];

/// Returns the command that starts a gateway without any setting.
fn start_gateway(page: Page) -> String {
    let commands = page.commands().into_iter();
    let mut found: Vec<_> = commands.filter(|command| command == "cargo run --release -p gateway").collect();
    assert_eq!(found.len(), 1, "{page:?}");
    found.remove(0)
}

async fn is_ready(terminal: &Terminal) {
    eventually(SOON, "the gateway to be ready", async || {
        tokio::net::TcpStream::connect(terminal.address()).await.map_err(|e| e.to_string())?;
        let status = Request::get("/ready").send(terminal.address()).await.status;
        if status == 200 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}

async fn is_polled(terminal: &Terminal, client: &str) {
    eventually(SOON, &format!("a poll of {client}"), async || {
        let answer = Request::get(&format!("/clients/{client}")).send(terminal.address()).await;
        if answer.status == 200 && answer.json()["connected"] == json!(true) { Ok(()) } else { Err(answer.status) }
    })
    .await;
}

async fn event_of(terminal: &Terminal, poll: Process) -> Value {
    let printed = terminal.finish(poll).await.stdout;
    let batch: Value = serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}: {printed:?} is no batch"));
    batch["events"][0].clone()
}

/// Types the commands of a page on a gateway that runs.
async fn lead_to_the_first_event(page: Page, terminal: &Terminal) {
    is_ready(terminal).await;
    let _jobs = terminal.start(&page.command(SIMULATE));
    if page == Page::Quickstart {
        let poll = terminal.begin(&page.command(POLL_ALICE));
        let event = event_of(terminal, poll).await;
        assert!(event["topic"].as_str().is_some_and(|topic| topic.starts_with("jobs.")), "{event}");
    }
    let poll = terminal.begin(&page.command(POLL_BOB));
    is_polled(terminal, "bob").await;
    let published: Value = serde_json::from_str(&terminal.run(&page.command(PUBLISH)).await.stdout).unwrap();
    let event = event_of(terminal, poll).await;
    assert_eq!((&event["id"], &event["data"]), (&published["id"], &json!({"state": "passed"})));
    assert_eq!(event["topic"], "builds.7.status");
    if page == Page::Readme {
        let published: Value = serde_json::from_str(&terminal.run(&page.command(PUBLISH_BATCH)).await.stdout).unwrap();
        assert_eq!(published["ids"].as_array().map(Vec::len), Some(2), "{published}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_first_pages_lead_to_the_first_event() {
    for page in FIRST_PAGES {
        let terminal = Terminal::open();
        let _gateway = terminal.start(&start_gateway(page));
        lead_to_the_first_event(page, &terminal).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_setting_moves_to_rabbitmq() {
    let terminal = Terminal::open();
    let url = shared_node().await.vhost("quickstart").await;
    let command = Page::Quickstart.command(ON_RABBITMQ);
    let named = "amqp://guest:guest@127.0.0.1:5672/%2f";
    assert!(command.contains(named), "{command}");
    let _gateway = terminal.start(&command.replace(named, &url));
    lead_to_the_first_event(Page::Quickstart, &terminal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_publisher_and_the_feed_of_their_pages_work_as_they_are_copied() {
    let terminal = Terminal::open();
    let _gateway = terminal.start(&start_gateway(Page::Readme));
    is_ready(&terminal).await;
    let id = terminal.run(&Page::Publishing.command("publisher emit ")).await.stdout;
    let follow = terminal.begin(&Page::Feeds.command("/topics/jobs.%23/events"));
    let event = event_of(&terminal, follow).await;
    assert_eq!((&event["id"], &event["data"]), (&json!(id.trim()), &json!({"state": "running"})));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_load_tool_finds_how_many_clients_there_can_be_and_writes_a_page() {
    let terminal = Terminal::open();
    let _gateway = terminal.start(&start_gateway(Page::Readme));
    is_ready(&terminal).await;
    // As it is copied, but with few clients, for a moment, and on a machine that may be slow.
    let command = Page::Readme.command(LOAD).replace("p99=50ms", "p99=1h");
    let flags = format!("--address {} --clients 10 --max 20 --for 200ms", terminal.address());
    let found = terminal.run(&format!("{command} {flags}")).await.stdout;
    assert!(found.contains("limit: at least 20 clients with p99=1h, lost=0"), "{found}");
    terminal.run("grep -q '<svg' report.html").await;
}

#[test]
fn every_command_of_the_first_pages_is_run() {
    for page in FIRST_PAGES {
        for command in page.commands() {
            let known =
                [SIMULATE, POLL_ALICE, POLL_BOB, PUBLISH, PUBLISH_BATCH, LOAD, ON_RABBITMQ].iter().chain(&OTHERS);
            let is_run = command == start_gateway(page) || known.into_iter().any(|known| command.contains(known));
            assert!(is_run, "no test runs this command of {page:?}: {command}");
        }
    }
    let stack = Path::new(env!("CARGO_MANIFEST_DIR")).join("stack");
    let mode = stack.metadata().unwrap_or_else(|e| panic!("{}: {e}", stack.display())).permissions().mode();
    assert_eq!(mode & 0o111, 0o111, "{} is no program", stack.display());
}
