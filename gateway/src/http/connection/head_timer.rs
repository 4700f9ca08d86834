//! How long a connection of HTTP/1 may be idle, and how long the head of a request may take once it has begun.
//!
//! hyper has one time for both and asks for it as it begins to wait for a head. The timer that it is given here looks
//! at what the socket has read since.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Sleep, Timer};
use tokio::time::{self, Instant};

use super::socket::ConnectionStatus;

/// The timer of one connection, whose times are those of the head of a request.
#[derive(Debug, Clone)]
pub(super) struct HeadTimer {
    /// From the first byte of a head to its end.
    head: Duration,
    status: Arc<ConnectionStatus>,
    /// One for all heads. It is left as it is when one has come, and may then ring early for a later one: to set it costs
    /// more than to look once too often.
    alarm: Arc<Mutex<Pin<Box<time::Sleep>>>>,
}

impl HeadTimer {
    pub(super) fn new(head: Duration, status: &Arc<ConnectionStatus>) -> Self {
        let alarm = Arc::new(Mutex::new(Box::pin(time::sleep(head))));
        Self { head, status: Arc::clone(status), alarm }
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until((Instant::now() + duration).into())
    }

    /// Begins to wait for a head: until `idle_until` for its first byte.
    #[expect(clippy::disallowed_types, reason = "hyper's trait has it")]
    fn sleep_until(&self, idle_until: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        self.status.await_head();
        Box::pin(HeadSleep { timer: self.clone(), has_begun: false, due: idle_until.into() })
    }
}

struct HeadSleep {
    timer: HeadTimer,
    has_begun: bool,
    due: Instant,
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { timer, has_begun, due } = &mut *self;
        // hyper asks after each read.
        if !*has_begun && timer.status.has_head_begun() {
            *has_begun = true;
            *due = Instant::now() + timer.head;
        }
        let mut alarm = timer.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if alarm.is_elapsed() || alarm.deadline() > *due {
                alarm.as_mut().reset(*due);
            }
            ready!(alarm.as_mut().poll(cx));
            if alarm.deadline() >= *due {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_alarm_of_an_earlier_head_does_not_end_the_wait_for_a_later_one() {
        let started = Instant::now();
        let timer = HeadTimer::new(Duration::from_secs(10), &Arc::default());
        let head_comes = time::timeout(Duration::from_secs(50), timer.sleep(Duration::from_mins(1)));
        assert!(head_comes.await.is_err());
        time::sleep(Duration::from_secs(5)).await;
        timer.sleep(Duration::from_mins(1)).await;
        assert_eq!(started.elapsed(), Duration::from_secs(50 + 5 + 60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_has_begun_has_less_time_than_one_that_has_not() {
        let (started, status) = (Instant::now(), Arc::new(ConnectionStatus::default()));
        let timer = HeadTimer::new(Duration::from_secs(10), &status);
        let mut waiting = timer.sleep(Duration::from_mins(1));
        assert!(time::timeout(Duration::from_secs(30), &mut waiting).await.is_err());
        status.begin_head();
        waiting.await;
        assert_eq!(started.elapsed(), Duration::from_secs(40));
    }
}
