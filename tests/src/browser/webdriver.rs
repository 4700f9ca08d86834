//! The little of the WebDriver protocol (W3C) that the tests need: JSON over HTTP to the driver's process.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{START, text};
use crate::{Process, Request, eventually, free_port};

/// A driver with one session, ended when it is dropped.
#[derive(Debug)]
pub(super) struct WebDriver {
    _process: Process,
    address: SocketAddr,
    session: String,
}

/// The method and the path of each order (WebDriver, section 6.6).
const ORDERS: [(&str, &str, &str); 10] = [
    ("Navigate", "POST", "url"),
    ("Refresh", "POST", "refresh"),
    ("GetWindowHandle", "GET", "window"),
    ("NewWindow", "POST", "window/new"),
    ("SwitchToWindow", "POST", "window"),
    ("FindElement", "POST", "element"),
    ("ElementClick", "POST", "element/{id}/click"),
    ("ElementSendKeys", "POST", "element/{id}/value"),
    ("ExecuteScript", "POST", "execute/sync"),
    ("TakeScreenshot", "GET", "screenshot"),
];

impl WebDriver {
    /// Starts a driver, and a session with these capabilities.
    pub(super) async fn start(program: &str, flags: &[&str], capabilities: Value) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new(program);
        command.arg(format!("--port={}", address.port())).args(flags);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::spawn(program, &mut command, None);
        eventually(START, &format!("{program} to listen"), async || {
            TcpStream::connect(address).await.map(drop).map_err(|e| e.to_string())
        })
        .await;
        let capabilities = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let opened = send(address, json_request("POST", "/session", &capabilities)).await;
        Self { _process: process, address, session: text(&opened["sessionId"]) }
    }

    /// Gives the session an order of this name and returns its result.
    pub(super) async fn order(&self, name: &str, parameters: Value) -> Value {
        let found = ORDERS.into_iter().find(|(order, ..)| *order == name);
        let (_, method, path) = found.unwrap_or_else(|| panic!("no order {name}"));
        let path = self.path(&path.replace("{id}", parameters["id"].as_str().unwrap_or_default()));
        match method {
            "GET" => send(self.address, Request::get(&path)).await,
            _ => send(self.address, json_request("POST", &path, &parameters)).await,
        }
    }

    /// Gives the session an order below this path and returns its result.
    pub(super) async fn post(&self, path: &str, body: Value) -> Value {
        send(self.address, json_request("POST", &self.path(path), &body)).await
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
    assert_eq!(answer.status, 200, "the browser refused {request:?}: {}", body["value"]);
    body["value"].take()
}
