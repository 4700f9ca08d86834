//! Names and ports that no other test has.

use std::{
    collections::HashSet,
    net::TcpListener,
    sync::{LazyLock, Mutex, PoisonError},
};

use uuid::Uuid;

/// Where ports are picked: below the range from which Linux takes the ports of outgoing connections (32768 and up), so
/// that no other test takes the port of a broker or gateway that is down for a moment.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// Those that were picked: a node binds some of its own seconds later.
static PICKED: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// Returns `prefix` with a random ending: a client id, or one word of a topic, that no other test uses.
pub fn unique(prefix: &str) -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("{prefix}-{}", &random[..12])
}

/// Returns a loopback port that was free a moment ago and that no other call in this process gets.
pub fn free_port() -> u16 {
    loop {
        let [high, low, ..] = Uuid::new_v4().into_bytes();
        let port = PORTS.start + u16::from_be_bytes([high, low]) % (PORTS.end - PORTS.start);
        let is_new = PICKED.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
        if is_new && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
