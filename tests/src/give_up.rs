//! Giving up a call on its way.

use std::{future::poll_fn, pin::pin, task::Poll};

/// Runs a call until it has been polled so often, and drops it then; tells whether it was through by itself.
///
/// A timeout of a millisecond misses most of the steps in which a call waits for an answer; one more poll each time
/// meets all.
pub async fn give_up(call: impl Future, after_polls: usize) -> bool {
    let (mut call, mut polls) = (pin!(call), 0);
    poll_fn(|context| {
        polls += 1;
        match call.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if polls >= after_polls => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
