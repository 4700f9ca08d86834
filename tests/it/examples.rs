//! `examples/`: each page in a browser, its backend in Node.js and a real gateway, as `examples/run` starts them.
//!
//! The page reaches both through a network that the test can cut; the test itself goes past it.

mod config_push;
mod door_log;
mod inbox;
mod inventory;
mod react;
mod run_status;

use std::time::Duration;

use postern_tests::{Answer, Broker, Browser, Example, Gateway, Relay, Request, eventually, eventually_eq};
use serde_json::Value;

/// Generous to a busy machine; the longest pause of a page between two attempts is 15 s.
const SOON: Duration = Duration::from_secs(45);
/// How long a network is cut.
const CUT: Duration = Duration::from_secs(10);

/// A page of an example in a browser, and all that is behind it.
struct Desk {
    browser: Browser,
    network: Relay,
    example: Example,
    gateway: Gateway,
}

impl Desk {
    /// Starts an example; its page is not opened yet.
    async fn new(broker: Broker, example: &str, settings: &[(&str, &str)]) -> Self {
        let gateway = broker.gateway_with_log().await;
        let gateway = gateway.start().await;
        gateway.wait_ready().await;
        let example = Example::start(example, gateway.address(), settings).await;
        let network = Relay::to(example.address()).await;
        let browser = Browser::start().await;
        browser.look((1000, 800), "light").await;
        Self { browser, network, example, gateway }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.network.address())
    }

    /// Opens a page in the tab in front.
    async fn open(&self, path: &str) {
        self.browser.open(&self.url(path)).await;
    }

    /// Waits until the page in front says that its reader is in this state.
    async fn becomes(&self, state: &str) {
        let script = r#"return document.getElementById("state")?.dataset.state;"#;
        eventually_eq(SOON, "the state", Value::from(state), async || self.browser.run(script).await).await;
    }

    /// Waits until a script has this result in the page in front.
    async fn gives(&self, script: &str, expected: Value) {
        eventually(SOON, &format!("{script} to give {expected}"), async || {
            let result = self.browser.run(script).await;
            if result == expected { Ok(()) } else { Err(result) }
        })
        .await;
    }

    /// Asks the example's backend, past the network that can be cut.
    async fn ask(&self, method: &str, path: &str) -> Answer {
        Request::new(method, path).send(self.example.address()).await
    }

    /// Returns the newest value of each topic, and of all topics in the order in which they were published.
    async fn newest(&self, pattern: &str) -> Vec<Value> {
        let path = format!("/topics/{pattern}/events?wait=0&fold=latest");
        let answer = Request::get(&path).send(self.gateway.address()).await.expect_status(200);
        let batch = answer.json();
        batch["events"].as_array().into_iter().flatten().map(|event| event["data"].clone()).collect()
    }

    /// Waits until the gateway holds so many polls and streams.
    async fn holds_streams(&self, count: u32) {
        let held = async || {
            let metrics = Request::get("/metrics").send(self.gateway.address()).await.text();
            let mut values = metrics.lines().filter_map(|line| line.strip_prefix("postern_polls_held "));
            values.next().and_then(|value| value.parse().ok())
        };
        eventually_eq(SOON, "polls and streams held", Some(count), held).await;
    }

    /// Kills the gateway and starts it again, with this in between.
    async fn while_the_gateway_is_down<T>(&mut self, work: impl AsyncFnOnce(&Self) -> T) -> T {
        self.gateway.kill9();
        let result = work(self).await;
        self.gateway.start_again().await;
        self.gateway.wait_ready().await;
        result
    }

    /// Cuts the network of the page for a while, with this in between.
    async fn while_the_network_is_cut(&self, work: impl AsyncFnOnce()) {
        self.network.cut();
        let ((), ()) = tokio::join!(work(), tokio::time::sleep(CUT));
        self.network.restore();
    }

    /// Looks at the page in front in every light and width: nothing stands out at the side, no text is pale, every
    /// control has a name, the keyboard reaches it, and lists are told as lists.
    async fn is_readable(&self, name: &str) {
        for (size, scheme, suffix) in [
            ((1000, 800), "light", "light"),
            ((1000, 800), "dark", "dark"),
            ((360, 1300), "light", "narrow"),
            ((360, 1300), "dark", "narrow-dark"),
        ] {
            let name = format!("example-{name}-{suffix}");
            self.browser.look(size, scheme).await;
            self.browser.run("scrollTo(0, 0);").await;
            self.browser.screenshot(&name).await;
            let beside =
                "const { scrollWidth, clientWidth } = document.documentElement; return scrollWidth - clientWidth;";
            assert_eq!(self.browser.run(beside).await, 0, "{name}: something stands out at the side");
            let pale = self.browser.run(include_str!("browser/contrast.js")).await;
            assert_eq!(pale, serde_json::json!([]), "{name}: text with a contrast below 4.5");
            let nameless = self.browser.run(include_str!("examples/nameless.js")).await;
            assert_eq!(nameless, serde_json::json!([]), "{name}: without a name, or out of the keyboard's reach");
            let odd = self.browser.run(include_str!("examples/roles.js")).await;
            assert_eq!(odd, serde_json::json!([]), "{name}: told as something else");
        }
    }
}
