//! How many requests a connection of HTTP/2 carries, and when it has been idle for too long.
//!
//! hyper has no such time: it keeps a connection whose client answers pings for ever.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};

/// Counts the open requests of one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenRequests(watch::Sender<usize>);

impl OpenRequests {
    /// Counts one more, until what is returned is dropped.
    pub(crate) fn begin(&self) -> OpenRequest {
        self.0.send_modify(|open| *open += 1);
        OpenRequest(self.0.clone())
    }

    /// Waits until there has been none for so long.
    pub(crate) async fn idle(&self, time: Duration) {
        let mut open = self.0.subscribe();
        loop {
            // Fails only without a sender, and here is one.
            let _ = open.wait_for(|open| *open == 0).await;
            if timeout(time, open.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// A request that is open.
#[derive(Debug)]
pub(crate) struct OpenRequest(watch::Sender<usize>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_the_end_of_its_last_request_on() {
        let open = OpenRequests::default();
        let (first, second) = (open.begin(), open.begin());
        let began = Instant::now();
        let requests = async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(first);
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(second);
            tokio::time::sleep(Duration::from_secs(50)).await;
            drop(open.begin());
        };
        tokio::join!(open.idle(Duration::from_mins(1)), requests);
        assert_eq!(began.elapsed().as_secs(), 310);
    }
}
