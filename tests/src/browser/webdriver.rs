//! The little of the WebDriver protocol (W3C) that the tests need: JSON over HTTP to the driver's process.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{START, installed, text};
use crate::{Process, Request, eventually, free_port};

/// A driver with one session, ended when it is dropped.
#[derive(Debug)]
pub(super) struct WebDriver {
    _process: Process,
    address: SocketAddr,
    session: String,
}

impl WebDriver {
    /// Starts a driver for the browser that takes orders at this address.
    pub(super) async fn join(debugger: SocketAddr) -> Self {
        installed("chromedriver");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", address.port()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::spawn("chromedriver", &mut command, None);
        eventually(START, "chromedriver to listen", async || {
            TcpStream::connect(address).await.map(drop).map_err(|e| e.to_string())
        })
        .await;
        let wishes = json!({
            "goog:chromeOptions": { "debuggerAddress": debugger.to_string() },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let capabilities = json!({ "capabilities": { "alwaysMatch": wishes } });
        let opened = send(address, json_request("POST", "/session", &capabilities)).await;
        Self { _process: process, address, session: text(&opened["sessionId"]) }
    }

    /// Asks for something of the session.
    pub(super) async fn get(&self, what: &str) -> Value {
        send(self.address, Request::get(&self.path(what))).await
    }

    /// Gives the session an order and returns its result.
    pub(super) async fn post(&self, order: &str, body: Value) -> Value {
        send(self.address, json_request("POST", &self.path(order), &body)).await
    }

    /// Gives an order of Chromium's own protocol.
    pub(super) async fn devtools(&self, method: &str, parameters: Value) {
        self.post("goog/cdp/execute", json!({ "cmd": method, "params": parameters })).await;
    }

    fn path(&self, what: &str) -> String {
        format!("/session/{}/{what}", self.session)
    }
}

fn json_request(method: &str, path: &str, body: &Value) -> Request {
    Request::new(method, path).header("content-type", "application/json").body(body.to_string())
}

/// Sends a request and returns the `value` of its answer; panics with the driver's message if that is an error.
async fn send(address: SocketAddr, request: Request) -> Value {
    // The driver obeys only those who know it as a machine of their own, so that no web page can.
    let request = request.header("host", &address.to_string());
    let answer = request.send(address).await;
    let mut body = answer.json();
    assert_eq!(answer.status, 200, "the browser refused {request:?}: {}", body["value"]["message"]);
    body["value"].take()
}
