//! Many clients that poll one topic through a cache, as the browser client does.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use postern_tests::{Batch, LeanHttp, eventually};
use tokio::{task::JoinSet, time::sleep};

const PATIENCE: Duration = Duration::from_mins(2);

/// How long a client waits after a request that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// What one client has got.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    pub(super) numbers: Vec<u64>,
    pub(super) requests: usize,
    /// Empty answers that moved its place: deadlines.
    pub(super) empty: usize,
    /// Requests that failed.
    pub(super) failed: usize,
    pub(super) resets: usize,
}

/// See the module.
pub(super) struct Crowd {
    seen: Vec<Arc<Mutex<Seen>>>,
    /// Ends them with the crowd.
    clients: JoinSet<()>,
}

impl Crowd {
    /// Has so many clients come, and waits until each has a place.
    pub(super) async fn come(count: usize, address: SocketAddr, topic: &str, wait: u32) -> Self {
        let mut crowd = Self { seen: Vec::new(), clients: JoinSet::new() };
        for _ in 0..count {
            let seen = Arc::<Mutex<Seen>>::default();
            crowd.seen.push(Arc::clone(&seen));
            crowd.clients.spawn(poll(address, topic.to_owned(), wait, seen));
        }
        crowd.wait("a place", |seen| seen.requests > 1).await;
        crowd
    }

    /// Returns what each of them has got so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.iter().map(|seen| seen.lock().unwrap().clone()).collect()
    }

    /// Waits until this is so of each client.
    pub(super) async fn wait(&self, what: &str, is_so: impl Fn(&Seen) -> bool) {
        eventually(PATIENCE, &format!("each client to have {what}"), async || {
            assert_eq!(self.clients.len(), self.seen.len());
            let without: Vec<Seen> = self.seen().into_iter().filter(|seen| !is_so(seen)).collect();
            without.first().map_or(Ok(()), |first| Err(format!("{} have not, such as {first:?}", without.len())))
        })
        .await;
    }

    /// Returns the number of deadlines that the client has passed which has passed most.
    pub(super) fn deadlines(&self) -> usize {
        self.seen().iter().map(|seen| seen.empty).max().unwrap_or_default()
    }
}

async fn poll(address: SocketAddr, topic: String, wait: u32, seen: Arc<Mutex<Seen>>) {
    let mut place = String::new();
    loop {
        // What fails is asked again over a new connection, as a browser does.
        let _ = poll_over(address, &topic, wait, &mut place, &seen).await;
        seen.lock().unwrap().failed += 1;
        sleep(PAUSE).await;
    }
}

async fn poll_over(
    address: SocketAddr,
    topic: &str,
    wait: u32,
    place: &mut String,
    seen: &Mutex<Seen>,
) -> anyhow::Result<()> {
    let mut http = LeanHttp::open(address).await?.with_header("accept", "application/json");
    loop {
        let target = if place.is_empty() {
            format!("/topics/{topic}/events?wait=0")
        } else {
            format!("/topics/{topic}/events?last_seen={place}&wait={wait}")
        };
        http.send("GET", &target).await?;
        let answer = http.answer().await?;
        let mut seen = seen.lock().unwrap();
        seen.requests += 1;
        match answer.status {
            200 => {
                let batch: Batch = serde_json::from_slice(answer.body)?;
                seen.numbers.extend(batch.numbers("n"));
                seen.resets += usize::from(batch.reset);
                *place = batch.last_seen;
            }
            204 => {
                let next = answer.header("last-seen").expect("an empty answer has the place");
                seen.empty += usize::from(next != place);
                next.clone_into(place);
            }
            status => anyhow::bail!("{status}"),
        }
    }
}
