//! Who may read, who may publish: tokens, and what a request without one may do.

mod anonymous;
mod batch;
mod expiry;
mod keys;
mod limits;
mod matrix;
mod rights;

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::PathBuf};

use access::testing::{Issuer, seconds_from_now};
use postern_tests::{Broker, Folder, Gateway, GatewayBuilder, Poll, Request};
use serde_json::{Value, json};

/// What a backend may do.
pub(super) fn everything() -> Value {
    json!({"sub": "backend", "postern": {"clients": ["*"], "read": ["#"], "publish": ["#"]}})
}

/// A file of keys, in a folder of its own.
pub(super) struct KeyFile {
    folder: Folder,
}

impl KeyFile {
    fn new(text: &str) -> Self {
        let file = Self { folder: Folder::new("postern-keys") };
        file.write(text);
        file
    }

    /// Replaces it at once, as tools do that write secrets.
    fn write(&self, text: &str) {
        let new = self.folder.write("keys.new", text);
        std::fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keys")
    }
}

/// Makes a header of a token that ends so many seconds from now on, with the leeway of clocks.
pub(super) fn bearer_for(issuer: &Issuer, claims: &Value, seconds: i64) -> String {
    let mut claims = claims.clone();
    claims["exp"] = json!(seconds_from_now(seconds) - LEEWAY_S);
    format!("Bearer {}", issuer.token(&claims))
}

/// An issuer, and a gateway that takes its tokens.
pub(super) struct World {
    pub(super) issuer: Issuer,
    pub(super) gateway: Gateway,
    pub(super) keys: KeyFile,
}

impl World {
    pub(super) async fn new(broker: Broker) -> Self {
        Self::with(broker, |builder| builder).await
    }

    pub(super) async fn with(broker: Broker, configure: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let issuer = Issuer::es256();
        let keys = KeyFile::new(&issuer.file);
        // No level of the log has a token: the harness looks for one when the gateway is dropped.
        let builder = broker.gateway_with_log().await.flag("--token-key", keys.path()).flag("--log", "trace");
        let gateway = configure(builder).start().await;
        gateway.wait_ready().await;
        Self { issuer, gateway, keys }
    }

    fn bearer_for(&self, claims: &Value, seconds: i64) -> String {
        bearer_for(&self.issuer, claims, seconds)
    }

    pub(super) fn bearer(&self, claims: &Value) -> String {
        self.bearer_for(claims, 3600)
    }

    pub(super) async fn publish(&self, topic: &str, body: &str) {
        let request =
            Request::publish(topic, "application/json", body).header("authorization", &self.bearer(&everything()));
        request.send(self.gateway.address()).await.expect_status(202);
    }
}

/// How long after its `exp` a token is taken.
const LEEWAY_S: i64 = 30;

trait WithToken {
    fn token(self, bearer: &str) -> Self;
}

impl WithToken for Poll {
    fn token(self, bearer: &str) -> Self {
        self.header("authorization", bearer)
    }
}

impl WithToken for Request {
    fn token(self, bearer: &str) -> Self {
        self.header("authorization", bearer)
    }
}
