//! A real browser without a window, driven as a person would: by keys, clicks and looking.
//!
//! `POSTERN_TEST_BROWSER` says which: `chromium` (the default), `firefox` or `webkit`. Each has a file here, and all
//! take the same [orders](Driver::order): those of WebDriver (W3C). What no order of WebDriver gives, each has in its
//! own way.
//!
//! The browser and its driver are both children of the test, each on a leash of its own, because a driver that is
//! killed leaves the browser that it started. So the driver joins a browser that runs already.

mod chromium;
mod firefox;
mod webdriver;
mod webkit;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use self::{chromium::Chromium, firefox::Firefox, webkit::WebKit};
use crate::{Folder, Process, eventually, eventually_eq};

/// A browser starts in 1 to 3 s on two idle cores.
const START: Duration = Duration::from_secs(30);

/// A browser with a profile of its own, ended when it is dropped.
#[derive(Debug)]
pub struct Browser {
    // In the order in which they end.
    driver: Driver,
    _profile: Folder,
}

/// What takes the orders of one kind of browser.
#[derive(Debug)]
enum Driver {
    Chromium(Chromium),
    Firefox(Firefox),
    WebKit(WebKit),
}

impl Driver {
    #[expect(clippy::disallowed_methods, reason = "which browser is for the tester to say")]
    async fn start(profile: &Path) -> Self {
        match std::env::var("POSTERN_TEST_BROWSER").as_deref().unwrap_or_default() {
            "" | "chromium" => Self::Chromium(Chromium::start(profile, &[]).await),
            "firefox" => Self::Firefox(Firefox::start(profile).await),
            "webkit" => Self::WebKit(WebKit::start(profile).await),
            other => panic!("POSTERN_TEST_BROWSER is {other:?}, but must be chromium, firefox or webkit"),
        }
    }

    /// Gives an order and returns its result. The name is that of the command in WebDriver, section 6.6, in one word.
    async fn order(&self, name: &str, parameters: Value) -> Value {
        match self {
            Self::Chromium(browser) => browser.order(name, parameters).await,
            Self::Firefox(browser) => browser.order(name, parameters).await,
            Self::WebKit(browser) => browser.order(name, parameters).await,
        }
    }
}

/// One tab of a [`Browser`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tab(String);

impl Browser {
    /// Starts a browser with one empty tab.
    pub async fn start() -> Self {
        let profile = Folder::new("postern-browser");
        Self { driver: Driver::start(profile.path()).await, _profile: profile }
    }

    /// Starts a Chromium with more flags, whichever browser the tests of pages use.
    pub async fn chromium(flags: &[&str]) -> Self {
        let profile = Folder::new("postern-browser");
        Self { driver: Driver::Chromium(Chromium::start(profile.path(), flags).await), _profile: profile }
    }

    /// Opens a page in the tab in front, and returns when it is loaded.
    pub async fn open(&self, url: &str) {
        self.driver.order("Navigate", json!({ "url": url })).await;
    }

    /// Loads the page in front again.
    pub async fn reload(&self) {
        self.driver.order("Refresh", json!({})).await;
    }

    /// Returns the tab in front.
    pub async fn tab(&self) -> Tab {
        Tab(text(&self.driver.order("GetWindowHandle", json!({})).await))
    }

    /// Opens an empty tab in front of the others; it has no session storage of theirs.
    pub async fn new_tab(&self) -> Tab {
        let opened = self.driver.order("NewWindow", json!({ "type": "tab" })).await;
        let tab = Tab(text(&opened["handle"]));
        self.switch_to(&tab).await;
        tab
    }

    /// Brings a tab to the front.
    pub async fn switch_to(&self, Tab(handle): &Tab) {
        self.driver.order("SwitchToWindow", json!({ "handle": handle })).await;
    }

    /// Clicks on what a CSS selector finds first; panics if a person could not.
    pub async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.driver.order("ElementClick", json!({ "id": element })).await;
    }

    /// Replaces the text of a field by typing; `\n` is the Enter key.
    pub async fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        // Ctrl+A, then Enter (WebDriver, section 17.4.2). Each order ends with all keys up.
        // Clearing would be an edit of its own.
        for keys in ["\u{e009}a", &text.replace('\n', "\u{e007}")] {
            self.driver.order("ElementSendKeys", json!({ "id": element, "text": keys })).await;
        }
    }

    /// Runs JavaScript, the body of a function, in the page in front, and returns its result.
    pub async fn run(&self, script: &str) -> Value {
        self.driver.order("ExecuteScript", json!({ "script": script, "args": [] })).await
    }

    /// Returns the rendered text of what a CSS selector finds first; empty if it is not shown.
    pub async fn text(&self, selector: &str) -> String {
        // The order of WebDriver finds none in WebKit where lines are clamped.
        let script = r"
            const element = document.querySelector(arguments[0]);
            const isShown = element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
            return isShown ? element.innerText.trim() : '';";
        text(&self.driver.order("ExecuteScript", json!({ "script": script, "args": [selector] })).await)
    }

    /// Sets the size of the page in CSS pixels, and light or dark, and asks it to hold still.
    pub async fn look(&self, size: (u32, u32), scheme: &str) {
        match &self.driver {
            Driver::Chromium(browser) => browser.look(size, scheme).await,
            Driver::Firefox(browser) => browser.look(size, scheme).await,
            Driver::WebKit(browser) => browser.look(size, scheme).await,
        }
        let script = "return [innerWidth, innerHeight];";
        let expected = json!([size.0, size.1]);
        eventually_eq(START, "the size of the page", expected, async || self.run(script).await).await;
    }

    /// Lets no request of the tab in front through whose URL matches one of these patterns, in place of earlier ones.
    pub async fn block(&self, patterns: &[&str]) {
        match &self.driver {
            Driver::Chromium(browser) => browser.block(patterns).await,
            Driver::Firefox(_) | Driver::WebKit(_) => panic!("only Chromium can be made to block requests"),
        }
    }

    /// Writes what the page in front looks like to `tests/artefacts/<name>.png`.
    pub async fn screenshot(&self, name: &str) {
        let png = STANDARD
            .decode(text(&self.driver.order("TakeScreenshot", json!({ "full": false })).await))
            .expect("a screenshot is base64");
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("artefacts");
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join(name).with_extension("png"), png))
            .unwrap_or_else(|e| panic!("cannot write into {}: {e}", folder.display()));
    }

    /// Returns what was wrong in pages since the last call, such as errors and violations of their policy. `WebKit`
    /// tells none.
    pub async fn complaints(&self) -> Vec<String> {
        match &self.driver {
            Driver::Chromium(browser) => browser.complaints().await,
            Driver::Firefox(browser) => browser.complaints().await,
            Driver::WebKit(_) => Vec::new(),
        }
    }

    async fn element(&self, selector: &str) -> String {
        let found = self.driver.order("FindElement", json!({ "using": "css selector", "value": selector })).await;
        found.as_object().and_then(|found| found.values().next()).map(text).expect("a found element has a reference")
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// Starts a browser on an empty page, with more flags and environment.
fn open(browser: &str, profile: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Process {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("open-browser"));
    command.arg(browser).arg(profile).args(flags).arg("about:blank").envs(environment.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Process::spawn(browser, &mut command, Some(profile))
}

/// Waits until a browser gives something while it starts; panics with advice when it ends.
async fn starting<T>(process: &mut Process, browser: &str, mut gives: impl AsyncFnMut() -> Result<T, String>) -> T {
    eventually(START, &format!("{browser} to take orders"), async || {
        if let Some(status) = process.exit_status() {
            panic!("{browser} ended while it started ({status}); is it installed? (tests/install-needs {browser})");
        }
        gives().await
    })
    .await
}

/// Returns the port in the first line of a file that a browser writes into its profile.
fn port(profile: &Path, file: &str) -> Result<u16, String> {
    let text = fs::read_to_string(profile.join(file)).map_err(|e| e.to_string())?;
    text.lines().next().and_then(|line| line.parse().ok()).ok_or(text)
}
