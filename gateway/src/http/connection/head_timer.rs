//! How long a connection of HTTP/1 may be idle, and how long the head of a request may take once it has begun.
//!
//! hyper has one time for both and asks for it as it begins to wait for a head. The timer that it is given here looks
//! at what the socket has read since.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::{Sleep, Timer};
use tokio::time::Instant;

use super::socket::ConnectionStatus;

/// The timer of one connection, whose times are those of the head of a request.
#[derive(Debug, Clone)]
pub(super) struct HeadTimer {
    /// From the first byte of a head to its end.
    pub(super) head: Duration,
    pub(super) status: Arc<ConnectionStatus>,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until((Instant::now() + duration).into())
    }

    /// Begins to wait for a head: until `idle_until` for its first byte.
    #[expect(clippy::disallowed_types, reason = "hyper's trait has it")]
    fn sleep_until(&self, idle_until: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        self.status.await_head();
        Box::pin(HeadSleep {
            timer: self.clone(),
            has_begun: false,
            sleep: Box::pin(tokio::time::sleep_until(idle_until.into())),
        })
    }
}

struct HeadSleep {
    timer: HeadTimer,
    has_begun: bool,
    sleep: Pin<Box<tokio::time::Sleep>>,
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // hyper asks after each read.
        if !this.has_begun && this.timer.status.has_head_begun() {
            this.has_begun = true;
            this.sleep.as_mut().reset(Instant::now() + this.timer.head);
        }
        this.sleep.as_mut().poll(cx)
    }
}
