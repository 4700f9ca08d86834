//! What a tester can set.

use std::time::Duration;

/// Read from the environment.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// `POSTERN_TEST_SEED`, else a new one.
    pub seed: u64,
    /// `POSTERN_TEST_SECONDS`: how long clients roam.
    pub time: Duration,
    /// `POSTERN_TEST_HANDOVERS`: how often clients change gateways where that is counted.
    pub handovers: u64,
    /// `POSTERN_TEST_CLIENTS`: how many clients roam, where there are any; unless a test says it.
    clients: Option<usize>,
}

impl Settings {
    /// Reads them, with these for what is not set.
    pub fn or(seconds: u64, handovers: u64) -> Self {
        Self {
            seed: number("POSTERN_TEST_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>())),
            time: Duration::from_secs(number("POSTERN_TEST_SECONDS").unwrap_or(seconds)),
            handovers: number("POSTERN_TEST_HANDOVERS").unwrap_or(handovers),
            clients: number("POSTERN_TEST_CLIENTS").and_then(|clients| usize::try_from(clients).ok()),
        }
    }

    /// Returns how many clients roam, of a test that has so many by itself.
    pub fn clients_or(&self, clients: usize) -> usize {
        self.clients.filter(|_| clients > 0).unwrap_or(clients)
    }
}

/// Returns `POSTERN_TEST_QUIET_SECONDS`: for how long nothing happens in a feed.
pub fn quiet_seconds() -> Option<u64> {
    number("POSTERN_TEST_QUIET_SECONDS")
}

#[expect(clippy::disallowed_methods, reason = "the harness has no flags of its own")]
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} should be a number, and is {text:?}")))
}
