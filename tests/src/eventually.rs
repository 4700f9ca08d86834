//! Waiting for something to become true, with a deadline. Nothing else in the tests sleeps.

use std::{fmt::Debug, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

/// The pause between two attempts: short beside everything that is waited for, long beside one attempt.
const PAUSE: Duration = Duration::from_millis(20);

/// Repeats `attempt` until it returns `Ok`, and returns its value.
///
/// An `Err` says what was seen instead. Past the deadline, also within an attempt that hangs, it panics with `what` was
/// waited for and the last thing seen.
pub async fn eventually<T, E, F>(deadline: Duration, what: &str, mut attempt: F) -> T
where
    E: Debug,
    F: AsyncFnMut() -> Result<T, E>,
{
    let end = Instant::now() + deadline;
    let mut last = None;
    loop {
        let attempted = timeout_at(end, attempt()).await;
        match attempted.unwrap_or_else(|_| panic!("not within {deadline:?}: {what}; an attempt hung after {last:?}")) {
            Ok(value) => return value,
            Err(seen) => last = Some(seen),
        }
        assert!(Instant::now() + PAUSE < end, "not within {deadline:?}: {what}; last seen: {last:?}");
        sleep(PAUSE).await;
    }
}

/// Repeats `observe` until it returns `expected`.
pub async fn eventually_eq<T, F>(deadline: Duration, what: &str, expected: T, mut observe: F)
where
    T: Debug + PartialEq,
    F: AsyncFnMut() -> T,
{
    eventually(deadline, &format!("{what} to be {expected:?}"), async || {
        let seen = observe().await;
        if seen == expected { Ok(()) } else { Err(seen) }
    })
    .await;
}
