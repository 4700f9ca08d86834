//! The task that follows the log: it finds its end, keeps what is in memory up to date, and rests while no poll comes.
//!
//! What is in memory stays while it rests. Reading goes on where it stopped, which costs what was stored meanwhile and
//! no more; and since nothing is left out, places, the index and the recent events are then what they would be without
//! the rest. Where the log does not go on there, for example because retention has come past it, all begins anew, and
//! polls wait for that as at the start. What was stored before the end is read beside all that, by `fill`.

use std::{convert::Infallible, future::pending, pin::pin, time::Duration};

use broker::{
    BrokerError,
    log::{EventLog, LogTail},
};
use events::Selection;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::{
    Feed,
    fill::Fill,
    reading::{FIRST_WAIT, Phase},
    recent::RecentEvents,
    state::State,
    topic_index::TopicIndex,
};

/// The pause after the first failure; it doubles.
const PAUSE: Duration = Duration::from_millis(100);

impl<L: EventLog> Feed<L> {
    /// Follows the log until the Feed is closed; finds its end anew whenever it was lost.
    pub async fn follow(&self) {
        let mut pause = PAUSE;
        let following = async {
            loop {
                let Err(error) = self.follow_once(&mut pause).await;
                match error {
                    // Whose supervisor says so, at each attempt.
                    BrokerError::NotConnected | BrokerError::Reconnecting => {
                        debug!("the log waits for a connection to the broker");
                    }
                    error => warn!(%error, "the log cannot be read; polls of feeds are turned away until it can"),
                }
                *self.state.lock() = None;
                self.reading.enter(Phase::Lost);
                sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        };
        tokio::select! {
            () = self.closing.cancelled() => {}
            () = following => {}
        }
    }

    async fn follow_once(&self, pause: &mut Duration) -> Result<Infallible, BrokerError> {
        loop {
            let (tail, fill) = self.start().await?;
            *pause = PAUSE;
            let filling = async {
                self.fill(fill).await;
                pending().await
            };
            let error = tokio::select! {
                read = self.read_on(tail) => read?,
                read = filling => read,
            };
            info!(%error, "the log cannot be read on where that stopped; its end is looked for anew");
            self.reading.enter(Phase::Starting);
            *self.state.lock() = None;
        }
    }

    /// Follows the log until it does not go on where reading it rested; returns why.
    async fn read_on(&self, mut tail: L::Tail) -> Result<BrokerError, BrokerError> {
        loop {
            self.read_while_wanted(&mut tail).await?;
            info!("no feed is followed; the log is not read until one is");
            tokio::select! {
                biased;
                () = tail.rest() => {}
                () = self.reading.wanted() => {}
            }
            if let Err(error) = self.resume(&mut tail).await {
                return Ok(error);
            }
        }
    }

    /// Finds the end, from which on polls are served. What is before it is still to be read.
    async fn start(&self) -> Result<(L::Tail, Fill), BrokerError> {
        let mut index = TopicIndex::new(self.options.topics);
        let end = self.log.open_tail(|topic, offset| index.note(topic, offset)).await?;
        index.miss_before(end.complete_from);
        // Its place is that of every client that has seen all; unless retention takes it at this very moment, or an
        // event after it is damaged: that one is to be found by a look at the log.
        let last = match index.last() {
            Some(last) => {
                let searched = self.log.search(&Selection::all(), last, end.next, 2).await?;
                searched.found.into_iter().next().filter(|_| searched.reached >= end.next && !searched.damaged)
            }
            None => None,
        };
        let mut recent = RecentEvents::new(self.options.window, last.as_ref().map_or(end.next, |last| last.offset));
        if let Some(last) = last {
            recent.push(last, Instant::now());
        }
        let mut state = State::new(recent, index, self.log.id());
        let mut fill = Fill::of(&state);
        // It may have been shown none, though there are some.
        if state.fills_index && state.index.last().is_none() {
            fill.up_to_an_event(&*self.log, &mut state).await?;
        }
        self.serve(state);
        info!(end = end.next, "feeds are ready");
        Ok((end.tail, fill))
    }

    fn serve(&self, state: State) {
        let end = state.recent.end();
        *self.state.lock() = Some(state);
        self.reading.enter(Phase::Reading { end });
    }

    /// Reads on until no poll has come for a while.
    async fn read_while_wanted(&self, tail: &mut L::Tail) -> Result<(), BrokerError> {
        let mut rests = pin!(async {
            match self.options.rest_after {
                Some(quiet) => self.reading.rests_after(quiet).await,
                None => pending().await,
            }
        });
        loop {
            let events = tokio::select! {
                events = tail.next() => events?,
                () = &mut rests => return Ok(()),
            };
            if let Some(state) = &mut *self.state.lock() {
                state.append(&events);
            }
        }
    }

    /// Reads what was stored since reading rests.
    async fn resume(&self, tail: &mut L::Tail) -> Result<(), BrokerError> {
        let (began, mut read) = (Instant::now(), 0);
        {
            let mut resuming = pin!(tail.resume(|events| {
                read += events.len();
                if let Some(state) = &mut *self.state.lock() {
                    state.append(&events);
                }
            }));
            if let Ok(resumed) = timeout(FIRST_WAIT, &mut resuming).await {
                resumed?;
            } else {
                self.reading.enter(Phase::Resuming);
                resuming.await?;
            }
        }
        let end = self.end().unwrap_or_default();
        self.reading.enter(Phase::Reading { end });
        info!(events = read, took = ?began.elapsed(), "the log is read again");
        Ok(())
    }
}
