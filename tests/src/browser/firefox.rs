//! Firefox, by Marionette: what geckodriver, which Debian does not have, makes of the orders of WebDriver.
//!
//! A message is its length in decimal digits, a colon, and a JSON array: `[0, id, name, parameters]` one way and
//! `[1, id, error, result]` the other (Firefox Source Docs, "Marionette protocol").

use std::{net::Ipv4Addr, path::Path};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::Mutex,
};

use super::{open, port, starting, text};
use crate::Process;

const LOOK: &str = r#"
    const [width, height, scheme] = arguments;
    Services.prefs.setIntPref("layout.css.prefers-color-scheme.content-override", scheme === "dark" ? 0 : 1);
    Services.prefs.setIntPref("ui.prefersReducedMotion", 1);
    const { style } = gBrowser.selectedBrowser;
    Object.assign(style, { flex: "none", width: width + "px", height: height + "px" });
    Object.assign(style, { minWidth: "0", maxWidth: "none", minHeight: "0", maxHeight: "none" });"#;
/// Errors in pages; the browser has some of its own.
const COMPLAINTS: &str = r"
    const messages = Services.console.getMessageArray();
    Services.console.reset();
    const isOfPage = (message) => message instanceof Ci.nsIScriptError && /^http/.test(message.sourceName);
    const isError = ({ flags }) => !(flags & (Ci.nsIScriptError.warningFlag | Ci.nsIScriptError.infoFlag));
    return messages.filter((message) => isOfPage(message) && isError(message)).map(String);";

/// A running Firefox, and the connection on which it takes orders.
#[derive(Debug)]
pub(super) struct Firefox {
    connection: Mutex<BufReader<TcpStream>>,
    _process: Process,
}

impl Firefox {
    pub(super) async fn start(profile: &Path) -> Self {
        let flags = ["--marionette", "--remote-allow-system-access"];
        let mut process = open("firefox", profile, &flags, &[]);
        let port = starting(&mut process, "firefox", async || port(profile, "MarionetteActivePort")).await;
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("Firefox takes a connection");
        let mut connection = BufReader::new(stream);
        receive(&mut connection).await;
        let browser = Self { connection: Mutex::new(connection), _process: process };
        browser.order("NewSession", json!({})).await;
        browser
    }

    pub(super) async fn order(&self, name: &str, parameters: Value) -> Value {
        self.send(&format!("WebDriver:{name}"), parameters).await
    }

    pub(super) async fn look(&self, (width, height): (u32, u32), scheme: &str) {
        self.run_inside(LOOK, json!([width, height, scheme])).await;
    }

    pub(super) async fn complaints(&self) -> Vec<String> {
        let messages = self.run_inside(COMPLAINTS, json!([])).await;
        messages.as_array().into_iter().flatten().map(text).collect()
    }

    /// Runs JavaScript in the browser itself instead of the page.
    async fn run_inside(&self, script: &str, arguments: Value) -> Value {
        self.send("Marionette:SetContext", json!({ "value": "chrome" })).await;
        let result = self.order("ExecuteScript", json!({ "script": script, "args": arguments })).await;
        self.send("Marionette:SetContext", json!({ "value": "content" })).await;
        result
    }

    async fn send(&self, name: &str, parameters: Value) -> Value {
        let mut connection = self.connection.lock().await;
        let order = json!([0, 1, name, parameters]).to_string();
        let message = format!("{}:{order}", order.len());
        connection.write_all(message.as_bytes()).await.expect("Firefox takes orders");
        let answer = receive(&mut connection).await;
        assert!(answer[2].is_null(), "Firefox refused {order}: {}", answer[2]["message"]);
        let result = &answer[3];
        result.get("value").unwrap_or(result).clone()
    }
}

async fn receive(connection: &mut BufReader<TcpStream>) -> Value {
    let mut length = Vec::new();
    connection.read_until(b':', &mut length).await.expect("Firefox answers");
    let length = String::from_utf8_lossy(&length);
    let length = length.trim_end_matches(':').parse().unwrap_or_else(|e| panic!("{length:?} is no length: {e}"));
    let mut message = vec![0; length];
    connection.read_exact(&mut message).await.expect("Firefox answers to the end");
    serde_json::from_slice(&message).expect("Firefox answers in JSON")
}
