//! A real browser: Chromium without a window, driven as a person would: by keys, clicks and looking.
//!
//! Chromium and its driver are both children of the test, each on a leash of its own, because a driver that is killed
//! leaves the browser that it started behind. So the driver joins a browser that runs already.

mod webdriver;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use self::webdriver::WebDriver;
use crate::{Folder, Process, eventually};

/// What to do when there is no Chromium.
const HOW_TO_GET_IT: &str = "install it (Debian: apt-get install chromium chromium-driver, as tests/run does), \
                             or leave its tests out: tests/run -- --skip browser --skip examples";
/// A browser starts in 1 to 3 s on two idle cores.
const START: Duration = Duration::from_secs(30);

/// A browser with a profile of its own, ended when it is dropped.
#[derive(Debug)]
pub struct Browser {
    // In the order in which they end.
    driver: WebDriver,
    _chromium: Process,
    _profile: Folder,
}

/// One tab of a [`Browser`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tab(String);

impl Browser {
    /// Starts a browser with one empty tab.
    pub async fn start() -> Self {
        let profile = Folder::new("postern-chromium");
        let mut chromium = chromium(profile.path());
        let debugger = debugger(&mut chromium, profile.path()).await;
        Self { driver: WebDriver::join(debugger).await, _chromium: chromium, _profile: profile }
    }

    /// Opens a page in the tab in front, and returns when it is loaded.
    pub async fn open(&self, url: &str) {
        self.driver.post("url", json!({ "url": url })).await;
    }

    /// Loads the page in front again.
    pub async fn reload(&self) {
        self.driver.post("refresh", json!({})).await;
    }

    /// Returns the tab in front.
    pub async fn tab(&self) -> Tab {
        Tab(text(&self.driver.get("window").await))
    }

    /// Opens an empty tab in front of the others; it has no session storage of theirs.
    pub async fn new_tab(&self) -> Tab {
        let opened = self.driver.post("window/new", json!({ "type": "tab" })).await;
        let tab = Tab(text(&opened["handle"]));
        self.switch_to(&tab).await;
        tab
    }

    /// Brings a tab to the front.
    pub async fn switch_to(&self, Tab(handle): &Tab) {
        self.driver.post("window", json!({ "handle": handle })).await;
    }

    /// Clicks on what a CSS selector finds first; panics if a person could not.
    pub async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.driver.post(&format!("element/{element}/click"), json!({})).await;
    }

    /// Replaces the text of a field by typing; `\n` is the Enter key.
    pub async fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        // Ctrl+A, and all keys up again (WebDriver, section 17.4.2). Clearing would be an edit of its own.
        let keys = format!("\u{e009}a\u{e000}{text}");
        self.driver.post(&format!("element/{element}/value"), json!({ "text": keys })).await;
    }

    /// Runs JavaScript, the body of a function, in the page in front, and returns its result.
    pub async fn run(&self, script: &str) -> Value {
        self.driver.post("execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Returns the rendered text of what a CSS selector finds first; empty if it is not shown.
    pub async fn text(&self, selector: &str) -> String {
        let element = self.element(selector).await;
        text(&self.driver.get(&format!("element/{element}/text")).await)
    }

    /// Sets the size of the page in CSS pixels, and light or dark, and asks it to hold still.
    pub async fn look(&self, (width, height): (u32, u32), scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.driver.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let features = [("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")];
        let features = features.map(|(name, value)| json!({ "name": name, "value": value }));
        self.driver.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Lets no request of the tab in front through whose URL matches one of these patterns, in place of earlier ones.
    pub async fn block(&self, patterns: &[&str]) {
        self.driver.devtools("Network.enable", json!({})).await;
        self.driver.devtools("Network.setBlockedURLs", json!({ "urls": patterns })).await;
    }

    /// Writes what the page in front looks like to `tests/artefacts/<name>.png`.
    pub async fn screenshot(&self, name: &str) {
        let png = STANDARD.decode(text(&self.driver.get("screenshot").await)).expect("a screenshot is base64");
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("artefacts");
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join(name).with_extension("png"), png))
            .unwrap_or_else(|e| panic!("cannot write into {}: {e}", folder.display()));
    }

    /// Returns what pages have complained of since the last call, such as errors and violations of their policy.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.driver.post("se/log", json!({ "type": "browser" })).await;
        log.as_array().into_iter().flatten().map(|entry| text(&entry["message"])).collect()
    }

    async fn element(&self, selector: &str) -> String {
        let found = self.driver.post("element", json!({ "using": "css selector", "value": selector })).await;
        found.as_object().and_then(|found| found.values().next()).map(text).expect("a found element has a reference")
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn chromium(profile: &Path) -> Process {
    let mut command = Command::new("chromium");
    command
        .args(["--headless=new", "--remote-debugging-port=0", "--no-first-run", "--disable-background-networking"])
        // Containers have little shared memory, and no graphics.
        .args(["--disable-dev-shm-usage", "--disable-gpu", "--disable-breakpad"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .env("HOME", profile)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.arg("--no-sandbox");
    }
    installed("chromium");
    Process::spawn("chromium", command.arg("about:blank"), Some(profile))
}

/// Waits until the browser has written down where it takes orders: a port in the first line, a path in the second.
async fn debugger(chromium: &mut Process, profile: &Path) -> SocketAddr {
    eventually(START, "Chromium to take orders", async || {
        if let Some(status) = chromium.exit_status() {
            panic!("Chromium ended while it started ({status}); {HOW_TO_GET_IT}");
        }
        let file = fs::read_to_string(profile.join("DevToolsActivePort")).map_err(|e| e.to_string())?;
        let port = file.split_once('\n').and_then(|(port, _)| port.parse().ok()).ok_or(file)?;
        Ok::<_, String>(SocketAddr::from(([127, 0, 0, 1], port)))
    })
    .await
}

/// Panics with advice when a program is not on the PATH.
fn installed(program: &str) {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).any(|folder| folder.join(program).is_file());
    assert!(found, "there is no {program}: {HOW_TO_GET_IT}");
}
