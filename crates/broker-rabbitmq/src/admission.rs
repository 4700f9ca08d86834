//! Paces the opening of Leases to what the broker takes.
//!
//! RabbitMQ makes, binds and looks at queues mostly one after the other. If thousands of clients come back at once and
//! all of their openings begin at once, each of them ends when nearly all of them do: after its time, so that it is
//! given up, and what the broker has done for it is thrown away. The clients come again, and nothing is ever opened.
//!
//! So a bounded number of openings is under way, first come, first served. An opening that waits for its turn has asked
//! the broker for nothing: dropping it, as when its client hangs up, costs nothing. Its time begins with its turn.

use std::{
    future::pending,
    pin::{Pin, pin},
    time::Duration,
};

use broker::{BrokerError, OpenError, Seldom};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};
use tracing::warn;

use super::metrics::OpeningMetrics;

/// How many openings are under way at once: as many as short tasks, of which each opening has one at a time.
const MAX_OPENINGS: usize = 64;

/// How many more tries may be under way of openings that found their mailbox held or gone. Such an opening has waited
/// for its turn already, and its holder has perhaps let go for it.
const MAX_TRIES_AGAIN: usize = 16;

/// How long a try keeps its turn; it ends within milliseconds when the broker is well.
const MAX_TURN: Duration = Duration::from_secs(1);

/// How many tries may be under way beyond their turns. One whose queue does not answer must not keep the turn of all
/// others; but if the whole broker is slow, more at once would only end later.
const MAX_SLOW: usize = 128;

/// How long an opening waits for its turn before an operator hears of it.
const TELL_AFTER: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Admission {
    openings: Semaphore,
    tries_again: Semaphore,
    slow: Semaphore,
    metrics: OpeningMetrics,
}

/// An opening whose turn has come.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    admission: &'a Admission,
    /// The turn of the first try.
    turn: Option<SemaphorePermit<'a>>,
    came: Instant,
}

impl Admission {
    pub(super) fn new(metrics: OpeningMetrics) -> Self {
        Self {
            openings: Semaphore::new(MAX_OPENINGS),
            tries_again: Semaphore::new(MAX_TRIES_AGAIN),
            slow: Semaphore::new(MAX_SLOW),
            metrics,
        }
    }

    /// Waits for the turn of an opening, for as long as the call is not dropped.
    pub(super) async fn admit(&self) -> Admitted<'_> {
        let came = Instant::now();
        let _waiting = Counted::new(&self.metrics.waiting);
        let mut turn = pin!(turn_of(&self.openings));
        let turn = if let Ok(turn) = timeout(TELL_AFTER, turn.as_mut()).await {
            turn
        } else {
            self.tell_waiting();
            turn.await
        };
        Admitted { admission: self, turn: Some(turn), came }
    }

    fn tell_waiting(&self) {
        static WAITING: Seldom = Seldom::a_minute();
        if let Some(left_out) = WAITING.due() {
            let (waiting, under_way) = (self.metrics.waiting.get(), self.metrics.under_way.get());
            warn!(waiting, under_way, left_out, "the broker opens mailboxes more slowly than clients ask for them");
        }
    }
}

impl Admitted<'_> {
    /// Runs a try in its turn: the first at once, another one when it has a turn again.
    pub(super) async fn in_turn<T>(&mut self, mut attempt: Pin<&mut impl Future<Output = T>>) -> T {
        let admission = self.admission;
        let turn = match self.turn.take() {
            Some(turn) => turn,
            None => turn_of(&admission.tries_again).await,
        };
        let _under_way = Counted::new(&admission.metrics.under_way);
        if let Ok(done) = timeout(MAX_TURN, attempt.as_mut()).await {
            return done;
        }
        let _slow = tokio::select! {
            biased;
            done = attempt.as_mut() => return done,
            slow = turn_of(&admission.slow) => slow,
        };
        drop(turn);
        attempt.await
    }

    /// Takes note of what came of it.
    pub(super) fn ended<T>(self, opened: &Result<T, OpenError>) {
        let metrics = &self.admission.metrics;
        match opened {
            Ok(_) => metrics.durations.observe(self.came.elapsed().as_secs_f64()),
            // These say something about the client.
            Err(OpenError::NoMailbox | OpenError::Held | OpenError::Newer) => {}
            Err(OpenError::Broker(error)) => {
                metrics.failed.inc();
                tell_failed(error);
            }
        }
    }
}

/// Logs that mailboxes cannot be opened. That there is no connection is told by its supervisor, and a refusal where it
/// is answered.
fn tell_failed(error: &BrokerError) {
    static FAILED: Seldom = Seldom::a_minute();
    if matches!(error, BrokerError::Unavailable(_) | BrokerError::NoRoom { .. } | BrokerError::Blocked)
        && let Some(left_out) = FAILED.due()
    {
        warn!(%error, left_out, "a mailbox could not be opened");
    }
}

async fn turn_of(turns: &Semaphore) -> SemaphorePermit<'_> {
    match turns.acquire().await {
        Ok(turn) => turn,
        // It is never closed.
        Err(_) => pending().await,
    }
}

/// Counts one more until it is dropped.
struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::{FutureExt, future::join_all};
    use tokio::{sync::Notify, time::sleep};

    use super::*;

    fn admission() -> Admission {
        Admission::new(OpeningMetrics::default())
    }

    #[tokio::test(start_paused = true)]
    async fn few_are_under_way_and_those_that_wait_come_in_order() {
        let (admission, under_way, begun) = (admission(), Mutex::new((0, 0)), Mutex::new(Vec::new()));
        let open = async |n: usize| {
            let mut admitted = admission.admit().await;
            let attempt = async {
                begun.lock().unwrap().push(n);
                {
                    let (now, most) = &mut *under_way.lock().unwrap();
                    *now += 1;
                    *most = (*most).max(*now);
                }
                sleep(Duration::from_millis(10)).await;
                under_way.lock().unwrap().0 -= 1;
            };
            admitted.in_turn(pin!(attempt)).await;
        };
        join_all((0..1000).map(open)).await;
        assert_eq!(under_way.lock().unwrap().1, MAX_OPENINGS);
        assert_eq!(*begun.lock().unwrap(), (0..1000).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_up_leaves_the_queue() {
        let admission = admission();
        let first: Vec<_> = join_all((0..MAX_OPENINGS).map(|_| admission.admit())).await;
        let (left, stayed) = (Box::pin(admission.admit()), Box::pin(admission.admit()));
        let (mut left, mut stayed) = (left, stayed);
        assert!(left.as_mut().now_or_never().is_none() && stayed.as_mut().now_or_never().is_none());
        assert_eq!(admission.metrics.waiting.get(), 2);
        drop(left);
        assert_eq!(admission.metrics.waiting.get(), 1);
        drop(first.into_iter().next());
        assert!(stayed.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_answer_keeps_no_turn_for_long_but_only_so_many() {
        let (admission, answer) = (admission(), Notify::new());
        let stuck = async || {
            let mut admitted = admission.admit().await;
            admitted.in_turn(pin!(answer.notified())).await;
        };
        let mut all = Box::pin(join_all((0..1000).map(|_| stuck())));
        assert!(timeout(Duration::from_mins(1), all.as_mut()).await.is_err());
        assert_eq!(admission.metrics.under_way.get(), i64::try_from(MAX_OPENINGS + MAX_SLOW).unwrap());
        assert!(admission.admit().now_or_never().is_none());
        // Three of them end, and one more is under way for each.
        (0..3).for_each(|_| answer.notify_one());
        assert!(timeout(Duration::from_mins(1), all.as_mut()).await.is_err());
        assert_eq!(admission.metrics.waiting.get(), i64::try_from(1000 - MAX_OPENINGS - MAX_SLOW - 3).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_try_does_not_queue_behind_those_that_have_not_begun() {
        let admission = admission();
        let mut admitted = admission.admit().await;
        admitted.in_turn(pin!(async {})).await;
        let _others: Vec<_> = join_all((0..MAX_OPENINGS).map(|_| admission.admit())).await;
        let _waits = Box::pin(admission.admit());
        assert!(admitted.in_turn(pin!(async {})).now_or_never().is_some());
    }
}
