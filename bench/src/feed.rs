//! The benchmark of feeds: the gateway beside nginx with the nchan module, and what it costs to wake one watcher of
//! many.
//!
//! Both servers stand in front of the same load client, in turn within one run, because the machine's load moves every
//! number: only what stands beside each other counts.
//!
//! * `broadcast` gives one event after the other to all clients; `wakeup` to one of them, while others wait; `one_to_one` has
//!   each client get events of its own, as fast as they are confirmed.
//!
//! A client that misses an event, or gets one twice, ends the run with an error.

mod broadcast;
mod medians;
mod one_to_one;
mod options;
mod wakeup;

pub(crate) use self::options::Options;
use crate::row::Row;

/// Runs it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let mut rows = broadcast::run(options).await?;
    rows.extend(one_to_one::run(options).await?);
    rows.extend(wakeup::run(options).await?);
    Ok(rows)
}
