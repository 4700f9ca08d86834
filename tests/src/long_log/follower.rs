//! A client of a feed that checks what it gets.

use std::{net::SocketAddr, time::Duration};

use anyhow::bail;
use tokio::time::{Instant, sleep};

use crate::LeanHttp;

/// The most events of one answer.
pub const MAX_AT_ONCE: u64 = 500;

/// How long a client may go without an event that is there, whatever happens to gateway and broker meanwhile.
const PATIENCE: Duration = Duration::from_mins(1);

/// See the module. Every event must have the number after that of the one before, and none may be gone: it panics
/// otherwise.
#[derive(Debug)]
pub struct Follower {
    gateway: SocketAddr,
    http: Option<LeanHttp>,
    path: String,
    place: String,
    next: u64,
    refusals: u64,
}

impl Follower {
    /// Prepares a client; the pattern is escaped already. It connects when it polls.
    pub fn new(gateway: SocketAddr, pattern: &str, place: &str, next: u64) -> Self {
        let path = format!("/topics/{pattern}/events?limit={MAX_AT_ONCE}");
        Self { gateway, http: None, path, place: place.to_owned(), next, refusals: 0 }
    }

    /// Returns the number that it waits for.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Returns its place.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns how often it was refused, with a hint when to come back.
    pub const fn refusals(&self) -> u64 {
        self.refusals
    }

    /// Polls once, and returns the numbers that came; none if nothing came within so many seconds.
    ///
    /// An error is a gateway that is away, or says that it cannot answer now: 503, with a time to come back.
    pub async fn poll(&mut self, wait: u32) -> anyhow::Result<Vec<u64>> {
        let mut http = match self.http.take() {
            Some(http) => http,
            None => LeanHttp::open(self.gateway).await?,
        };
        let Self { path, place, next, .. } = self;
        http.send("GET", &format!("{path}&wait={wait}&last_seen={place}")).await?;
        let answer = http.answer().await?;
        let text = || String::from_utf8_lossy(answer.body).chars().take(300).collect::<String>();
        if answer.status == 503 && answer.header("retry-after").is_some() {
            self.refusals += 1;
            bail!("refused after {place}: {}", text());
        }
        assert!(matches!(answer.status, 200 | 204), "status {} after {place}: {}", answer.status, text());
        assert!(!has_reset(answer.body), "a reset after {place}, before {next}: {}", text());
        let numbers: Vec<u64> = numbers(answer.body).collect();
        for number in &numbers {
            assert!(number == next, "{number} came where {next} should, after {place}");
            *next += 1;
        }
        answer.header("last-seen").expect("an answer of a feed tells the place").clone_into(place);
        self.http = Some(http);
        Ok(numbers)
    }

    /// Polls until the event before this number has come, whatever happens to gateway and broker meanwhile.
    pub async fn read_to(&mut self, end: u64) {
        let mut last_event = Instant::now();
        while self.next < end {
            let polled = self.poll(20).await;
            if polled.as_ref().is_ok_and(|numbers| !numbers.is_empty()) {
                last_event = Instant::now();
                continue;
            }
            let (waited, next) = (last_event.elapsed(), self.next);
            assert!(waited < PATIENCE, "{next} of {end} did not come for {waited:?}, after {}: {polled:?}", self.place);
            if polled.is_err() {
                // As a client does that was told to come back; but not as late as that.
                sleep(Duration::from_millis(rand::random_range(20..200))).await;
            }
        }
    }
}

fn has_reset(body: &[u8]) -> bool {
    const RESET: &[u8] = b"\"reset\":true";
    // It stands after the events, before the place.
    body[body.len().saturating_sub(200)..].windows(RESET.len()).any(|window| window == RESET)
}

/// Returns the number of each event of an answer, without reading the rest of it: there is nothing else called `n`.
fn numbers(body: &[u8]) -> impl Iterator<Item = u64> {
    let text = str::from_utf8(body).unwrap_or_default();
    text.split("{\"n\":").skip(1).map(|rest| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit);
        digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    })
}
