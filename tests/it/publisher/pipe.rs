//! `publisher pipe`: a line is an event, whatever happens to the line, the broker or the terminal.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use postern_tests::{EventView, Folder, RabbitNode, eventually, shared_broker, unique};

use super::{SOON, ended, world, world_on};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_lines_arrive_in_order_byte_for_byte() {
    let world = world().await;
    let lines: Vec<_> =
        (0..1000).map(|n| format!("{{ \"n\":{n}.00,\t\"text\" : \"\\u00e4 ä \\\"{n}\\\"\" }}")).collect();
    let finished = world.publisher(&["pipe", &world.topic]).stdin(lines.join("\n")).run().await;
    ended(&finished, 0, "published 1000 events in ");
    assert_eq!(finished.stdout, "");
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let events = world.reads_json(&lines).await;
    assert!(events.iter().all(|event| event.topic == world.topic));
}

/// The use that the whole thing was made for: what a build says, as it says it.
#[tokio::test(flavor = "multi_thread")]
async fn the_messages_of_a_real_build_arrive_as_cargo_wrote_them() {
    let folder = Folder::new("build");
    let manifest = "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    let manifest = folder.write("Cargo.toml", manifest);
    folder.write("build.rs", "fn main() { println!(\"cargo::rustc-env=A=\\\"b\\\"\"); }\n");
    std::fs::create_dir(folder.path().join("src")).unwrap();
    folder.write("src/lib.rs", "fn unused() { let ä = \"\\u{1f980}\t🦀\"; }\npub mod m { use std::fmt; }\n");
    folder.write("src/main.rs", "fn main() { let x = 1; }\n");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--message-format=json", "--offline", "--manifest-path"]).arg(manifest);
    cargo.arg("--target-dir").arg(folder.path().join("target")).stdin(Stdio::null()).stderr(Stdio::piped());
    let build = tokio::task::spawn_blocking(move || cargo.output().expect("cargo should run")).await.unwrap();
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));

    let topic = format!("{}.local.status", unique("builds"));
    let world = world_on(shared_broker().await.url(), &topic).await;
    ended(&world.publisher(&["pipe", &topic]).stdin(build.stdout.clone()).run().await, 0, "0 not confirmed");
    let output = String::from_utf8(build.stdout).unwrap();
    let lines: Vec<_> = output.lines().collect();
    let events = world.reads_json(&lines).await;
    let reason = |event: &EventView| event.data.as_ref().unwrap()["reason"].as_str().unwrap().to_owned();
    let reasons: Vec<_> = events.iter().map(reason).collect();
    for expected in ["build-script-executed", "compiler-message", "compiler-artifact", "build-finished"] {
        assert!(reasons.iter().any(|reason| reason == expected), "{expected} is not in {reasons:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_no_json_are_text_or_bytes() {
    let world = world().await;
    let input = b"plain text \xe2\x98\x83\r\n\n{\"half\":\n\xff\xfe\n 42 \nlast".to_vec();
    ended(&world.publisher(&["pipe", &world.topic]).stdin(input).run().await, 0, "published 5 events");
    let shown = world.reads(5).await.into_iter().map(|EventView { data, data_base64, .. }| match data {
        Some(data) => data.to_string(),
        None => data_base64.unwrap(),
    });
    let expected = [r#""plain text ☃""#, r#""{\"half\":""#, "//4=", "42", r#""last""#];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topic_may_be_in_the_line_and_a_bad_line_is_named_while_the_others_go_on() {
    let world = world().await;
    let good = |n: u32| format!("{{\"meta\":{{\"topic\":\"{}.{n}\"}},\"n\":{n}}}", world.topic);
    let bad = ["{\"meta\":{}}", "oops", "{\"meta\":{\"topic\":\"a..b\"}}", "{\"meta\":{\"topic\":7}}"];
    let long = format!("\"{}\"", "x".repeat(300));
    let input = [good(1), bad.join("\n"), long, good(2), String::new(), good(3)].join("\n");
    let pipe = world.publisher(&["pipe", "--topic-from", "meta.topic", "--max-line", "200"]);
    let finished = pipe.stdin(input).run().await;
    ended(&finished, 1, "published 3 events");
    for words in ["line 2: ", "line 3: ", "line 4: ", "line 5: ", "line 6: longer than 200 bytes", "5 not confirmed"] {
        assert!(finished.stderr.contains(words), "{words:?} is not in {finished:?}");
    }
    let good = [good(1), good(2), good(3)];
    let events = world.reads_json(&good.each_ref().map(String::as_str)).await;
    for (event, n) in events.iter().zip(1..) {
        assert_eq!(event.topic, format!("{}.{n}", world.topic));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_says_what_was_not_sent() {
    let world = world().await;
    let mut pipe = world.publisher(&["pipe", &world.topic]).start();
    for line in ["1", "2", "3"] {
        pipe.write_line(line);
    }
    world.reads(3).await;
    pipe.interrupt();
    assert_eq!(pipe.wait_exit(SOON).await.code(), Some(130));
    let said = async || {
        let said = pipe.stderr().tail(9);
        let words = ["SIGINT", "what follows line 3 was not read", "published 3 events"];
        if words.iter().all(|words| said.contains(words)) { Ok(()) } else { Err(said) }
    };
    eventually(SOON, "the last words", said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_in_the_middle_of_a_pipe_loses_nothing() {
    const LINES: usize = 6000;
    let mut node = RabbitNode::start().await;
    let world = world_on(&node.url(), &unique("builds")).await;
    let mut pipe = world.publisher(&["pipe", &world.topic, "--timeout", "60s"]).start();
    for n in 0..LINES / 2 {
        pipe.write_line(&format!("{{\"n\":{n}}}"));
    }
    // Some are confirmed, some are on their way.
    assert_ne!(world.poll().send(&world.gateway).await.batch().events, []);
    node.kill9();
    let feed = tokio::task::spawn_blocking(move || {
        for n in LINES / 2..LINES {
            pipe.write_line(&format!("{{\"n\":{n}}}"));
        }
        pipe.end_input();
        pipe
    });
    node.start_again().await;
    let mut pipe = feed.await.unwrap();
    let status = pipe.wait_exit(Duration::from_mins(1)).await;
    assert_eq!(status.code(), Some(0), "{}", pipe.stderr().tail(20));
    let summary = pipe.stderr().tail(1);
    assert!(summary.contains("published 6000 events") && summary.ends_with(" 0 not confirmed"), "{summary}");
    let says = |words: &str| pipe.stderr().lines().iter().any(|line| line.contains(words));
    assert!(says("lost amqp://") && !summary.contains(" 0 resent"), "it was in the middle: {summary}");

    world.gateway.wait_mailboxes().await;
    world.reads_through_repeats(LINES).await;
}
