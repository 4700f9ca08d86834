//! The commands that the page shows do what they say, as they are copied, also behind a path prefix.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use postern_tests::{Broker, Process, eventually, free_port};
use serde_json::Value;
use tokio::{net::TcpStream, task::spawn_blocking};

use super::{Desk, SOON};

/// The folder of the binaries: `target/<profile>`, above that of the running test, `target/<profile>/deps`.
fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    test.ancestors().nth(2).expect("a test lies in a folder").to_owned()
}

/// Runs a command as a person would who pasted it into a terminal, and returns what it prints.
pub(super) async fn pasted(command: String) -> String {
    let line = format!("PATH='{}':$PATH\n{command}", programs().display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).stdin(Stdio::null());
    let output = spawn_blocking(move || shell.output()).await.unwrap().expect("sh starts");
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Starts a script of this folder, a web server in front of the gateway, and returns its address.
pub(super) async fn proxy(script: &str, gateway: SocketAddr) -> (Process, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/browser").join(script);
    let mut command = Command::new("node");
    command.arg(script).args([address.port(), gateway.port()].map(|port| port.to_string())).stdin(Stdio::null());
    let process = Process::spawn("node (Debian: apt-get install nodejs)", &mut command, None);
    eventually(SOON, "the proxy to listen", async || {
        TcpStream::connect(address).await.map(drop).map_err(|e| e.to_string())
    })
    .await;
    (process, address)
}

pub(super) async fn command(desk: &Desk, name: &str) -> String {
    let script = format!("return document.getElementById('{name}-command').textContent;");
    desk.browser.run(&script).await.as_str().expect("a text").to_owned()
}

/// Subscribes, publishes and simulates by the commands of the page in front.
async fn commands_work(desk: &Desk) {
    // All that a shell or curl could take for something else.
    let data = r#"@it's $HOME "100 %""#;
    desk.browser.fill("#topic", &format!("{}.word", desk.topic)).await;
    desk.browser.fill("#data", data).await;
    let subscribe = command(desk, "subscribe").await;
    let client = subscribe.split("/clients/").nth(1).and_then(|rest| rest.split('/').next()).expect("a client");
    let subscribed = tokio::spawn(pasted(subscribe.clone()));
    desk.gateway.wait_answer(&format!("/clients/{client}"), 200, SOON).await;
    pasted(command(desk, "publish").await).await;
    let batch: Value = serde_json::from_str(&subscribed.await.unwrap()).expect("a batch");
    assert_eq!(batch["events"][0]["data"], data);
    desk.shows(&[data.to_owned()]).await;

    let (installed, checkout) = (command(desk, "installed").await, command(desk, "simulate").await);
    let arguments = installed.strip_prefix("publisher ").expect("the publisher");
    assert_eq!(checkout, format!("cargo run --release -p publisher -- {arguments}"));
    assert_eq!(command(desk, "jobs").await, checkout);
    assert!(include_str!("../../../README.md").contains("cargo run --release -p publisher -- simulate"));
    let job = format!("{}.1.status", desk.topic);
    pasted(format!("{installed} --prefix {} --count 1 --quiet", desk.topic)).await;
    let newest = r##"return document.querySelector("#events .topic").textContent;"##;
    desk.gives(newest, Value::from(job)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_work_as_they_are_copied() {
    commands_work(&Desk::new(Broker::Embedded).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_works_behind_a_path_prefix() {
    let desk = Desk::new(Broker::Embedded).await;
    // It has the gateway below /push/.
    let (_proxy, address) = proxy("proxy.js", desk.gateway.address()).await;
    let site = format!("http://{address}/push/");
    desk.browser.open(&format!("{site}?topics={}.%23", desk.topic)).await;
    desk.becomes("live").await;
    assert!(command(&desk, "subscribe").await.starts_with(&format!("curl '{site}clients/")));
    assert!(command(&desk, "publish").await.contains(&format!(" '{site}topics/")));
    assert!(command(&desk, "installed").await.ends_with(&format!(" --gateway {site}")));
    commands_work(&desk).await;

    desk.browser.click("form button").await;
    eventually(SOON, "the answer to the publish", async || {
        let answer = desk.browser.text("#result").await;
        if answer.starts_with("202 ") { Ok(()) } else { Err(answer) }
    })
    .await;
    desk.browser.fill("#topics", &format!("other.{}\n", desk.topic)).await;
    desk.becomes("live").await;
    desk.browser.fill("#topics", "#\n").await;
    desk.browser.click("#jobs-tab").await;
    desk.browser.fill("#job-topics", &format!("{}.*.status\n", desk.topic)).await;
    desk.gives(r##"return document.querySelectorAll("#jobs-view li").length;"##, Value::from(1)).await;
    let place = desk.browser.run("return location.pathname;").await;
    assert_eq!(place, "/push/");
    assert_eq!(desk.browser.complaints().await, Vec::<String>::new());
}

/// A line ends at a blank, after a slash, or before what begins or joins a query.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_breaks_between_its_parts() {
    let desk = Desk::new(Broker::Embedded).await;
    let broken = r#"
        const broken = [];
        for (const command of document.querySelectorAll("pre[id]")) {
          if (!command.checkVisibility()) continue;
          if (command.scrollWidth > command.clientWidth) broken.push(command.textContent);
          const characters = [];
          const texts = document.createTreeWalker(command, NodeFilter.SHOW_TEXT);
          while (texts.nextNode()) {
            for (let at = 0; at < texts.currentNode.length; at++) {
              const range = document.createRange();
              range.setStart(texts.currentNode, at);
              range.setEnd(texts.currentNode, at + 1);
              const character = texts.currentNode.data[at];
              characters.push({ character, left: range.getBoundingClientRect().left });
            }
          }
          characters.forEach(({ character, left }, at) => {
            const next = characters[at + 1];
            const ends = next && next.left < left;
            if (ends && !" /".includes(character) && !"?&".includes(next.character)) {
              broken.push(command.textContent.slice(0, at + 1));
            }
          });
        }
        return broken;"#;
    desk.browser.open(&format!("http://{}/", desk.gateway.address())).await;
    desk.becomes("live").await;
    for width in [1280, 390] {
        desk.browser.look((width, 900), "light").await;
        desk.gives(broken, serde_json::json!([])).await;
    }
    let count = r#"return document.querySelectorAll("pre[id]").length;"#;
    assert_eq!(desk.browser.run(count).await, 5);
}
