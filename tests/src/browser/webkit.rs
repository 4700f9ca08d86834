//! `WebKitGTK`: its `MiniBrowser`, with `WebKitWebDriver`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{open, starting, webdriver::WebDriver};
use crate::{Process, free_port};

/// A running `MiniBrowser` and its driver.
#[derive(Debug)]
pub(super) struct WebKit {
    // In the order in which they end.
    driver: WebDriver,
    _process: Process,
}

impl WebKit {
    pub(super) async fn start(profile: &Path) -> Self {
        let inspector = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let environment = [("WEBKIT_INSPECTOR_SERVER", &*inspector.to_string())];
        let mut process = open("webkit", profile, &["--automation"], &environment);
        starting(&mut process, "webkit", async || {
            TcpStream::connect(inspector).await.map(drop).map_err(|e| e.to_string())
        })
        .await;
        let target = format!("--target={inspector}");
        Self { driver: WebDriver::start("WebKitWebDriver", &[&target], json!({})).await, _process: process }
    }

    pub(super) async fn order(&self, name: &str, parameters: Value) -> Value {
        self.driver.order(name, parameters).await
    }

    /// Sets the size by that of the window, which has bars above the page and is 447 px wide or wider. The scheme is
    /// the desktop's, which is light.
    pub(super) async fn look(&self, (width, height): (u32, u32), scheme: &str) {
        assert!(width > 446 && scheme == "light", "webkit has no look of {width} px in {scheme}");
        let script = "return outerHeight - innerHeight;";
        let bars = self.order("ExecuteScript", json!({ "script": script, "args": [] })).await;
        let bars = bars.as_u64().expect("a height in pixels");
        self.driver.post("window/rect", json!({ "width": width, "height": u64::from(height) + bars })).await;
    }
}
