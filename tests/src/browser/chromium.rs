//! Chromium, with chromedriver.

use std::{net::SocketAddr, path::Path};

use serde_json::{Value, json};

use super::{open, port, starting, text, webdriver::WebDriver};
use crate::Process;

/// A running Chromium and its driver.
#[derive(Debug)]
pub(super) struct Chromium {
    // In the order in which they end.
    driver: WebDriver,
    _process: Process,
}

impl Chromium {
    pub(super) async fn start(profile: &Path, flags: &[&str]) -> Self {
        let flags = [&["--remote-debugging-port=0"], flags].concat();
        let mut process = open("chromium", profile, &flags, &[]);
        let port = starting(&mut process, "chromium", async || port(profile, "DevToolsActivePort")).await;
        let debugger = SocketAddr::from(([127, 0, 0, 1], port));
        let wishes = json!({
            "goog:chromeOptions": { "debuggerAddress": debugger.to_string() },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        Self { driver: WebDriver::start("chromedriver", &[], wishes).await, _process: process }
    }

    pub(super) async fn order(&self, name: &str, parameters: Value) -> Value {
        self.driver.order(name, parameters).await
    }

    pub(super) async fn look(&self, (width, height): (u32, u32), scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let features = [("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")];
        let features = features.map(|(name, value)| json!({ "name": name, "value": value }));
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    pub(super) async fn complaints(&self) -> Vec<String> {
        let log = self.driver.post("se/log", json!({ "type": "browser" })).await;
        log.as_array().into_iter().flatten().map(|entry| text(&entry["message"])).collect()
    }

    pub(super) async fn block(&self, patterns: &[&str]) {
        self.devtools("Network.enable", json!({})).await;
        self.devtools("Network.setBlockedURLs", json!({ "urls": patterns })).await;
    }

    /// Gives an order of Chromium's own protocol.
    async fn devtools(&self, method: &str, parameters: Value) {
        self.driver.post("goog/cdp/execute", json!({ "cmd": method, "params": parameters })).await;
    }
}
