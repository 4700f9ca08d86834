//! The clients, whether they are in this process or in others.

use std::io;

use crate::{
    clock,
    crowd::Standing,
    engine::Engine,
    publishers::{Publishers, Stretch},
    record::{Counts, Latencies},
    workers::{Workers, message::Order},
};

/// See the module. The publishers are always in this process.
#[derive(Debug)]
pub(crate) struct Clients {
    /// Its crowd is empty where there are workers.
    engine: Engine,
    workers: Workers,
}

impl Clients {
    /// Takes the loop of this process, and the others.
    pub(crate) const fn new(engine: Engine, workers: Workers) -> Self {
        Self { engine, workers }
    }

    /// Goes on until a time, or a little earlier.
    pub(crate) fn turn(&mut self, until: u64) -> io::Result<()> {
        self.engine.turn(until)?;
        self.workers.read()
    }

    /// Has so many clients come, or the last ones go.
    pub(crate) fn set_wanted(&mut self, wanted: u32) -> io::Result<()> {
        if self.workers.is_empty() {
            self.engine.set_wanted(wanted);
            return Ok(());
        }
        self.workers.order(&Order::Wanted(wanted, self.engine.ledger.clone()))
    }

    /// Tells whether each client has a place and waits, or is away on purpose.
    pub(crate) fn is_settled(&self) -> bool {
        let Standing { wanted, established, waiting, away, .. } = self.standing();
        self.workers.is_obeyed() && established == wanted && waiting + away >= wanted
    }

    /// Returns how many clients do what.
    pub(crate) fn standing(&self) -> Standing {
        if self.workers.is_empty() { self.engine.crowd.standing() } else { self.workers.standing() }
    }

    /// Returns what was counted since the start.
    pub(crate) fn counts(&self) -> Counts {
        if self.workers.is_empty() { self.engine.crowd.record.counts.clone() } else { self.workers.counts() }
    }

    /// Returns how many events clients had for the first time.
    pub(crate) fn events(&self) -> u64 {
        if self.workers.is_empty() { self.engine.crowd.record.counts.events } else { self.workers.counts().events }
    }

    /// Takes the latencies since this was last called.
    pub(crate) fn take_recent(&mut self) -> Latencies {
        if self.workers.is_empty() {
            let recent = self.engine.crowd.record.recent.clone();
            self.engine.crowd.record.recent.clear();
            return recent;
        }
        self.workers.take_recent()
    }

    /// Takes the longest turn of any loop since this was last called, in nanoseconds.
    pub(crate) fn take_longest_turn(&mut self) -> u64 {
        std::mem::take(&mut self.engine.longest_turn).max(self.workers.take_longest_turn())
    }

    /// Begins to publish; without publishers, another program does.
    pub(crate) fn publish(&mut self, stretch: Stretch) -> io::Result<()> {
        if !self.workers.is_empty() {
            self.workers.order(&Order::Publishing)?;
        }
        self.engine.publish(stretch);
        Ok(())
    }

    /// Returns the publishers.
    pub(crate) const fn publishers(&mut self) -> Option<&mut Publishers> {
        self.engine.publishers.as_mut()
    }

    /// Returns up to which number another program has published events, as far as that was taken down.
    pub(crate) fn published(&self) -> u32 {
        self.engine.ledger.published(0).last
    }

    /// Takes down that another program has published events up to this number.
    pub(crate) fn assume_published(&mut self, last: u32) {
        self.engine.ledger.assume(last);
    }

    /// Takes down that another program has published what any client has had.
    pub(crate) fn assume_published_what_was_seen(&mut self) {
        self.engine.crowd.note_seen(&mut self.engine.ledger);
    }

    /// Finds out what is missing, once nothing more is published. What is on its way still is not confirmed.
    pub(crate) fn find_missing(&mut self) -> io::Result<()> {
        if let Some(publishers) = &mut self.engine.publishers {
            publishers.give_up(&mut self.engine.ledger);
        }
        if self.workers.is_empty() {
            return Ok(());
        }
        self.workers.order(&Order::Published(self.engine.ledger.clone()))
    }

    /// Returns how many events are missing, where that is known.
    pub(crate) fn lost(&self) -> Option<u64> {
        if self.workers.is_empty() {
            return Some(self.engine.crowd.lost(&self.engine.ledger));
        }
        self.workers.lost()
    }

    /// Returns how many clients have had all events of the one stream up to each number. Not known of workers.
    pub(crate) fn had(&self) -> &[u32] {
        self.engine.crowd.had()
    }

    /// Begins the farewell of all clients.
    pub(crate) fn begin_farewell(&mut self) -> io::Result<()> {
        if self.workers.is_empty() {
            return Ok(());
        }
        self.workers.order(&Order::Farewell)
    }

    /// Goes on with it; tells whether all have said that they leave.
    pub(crate) fn say_farewell(&mut self) -> bool {
        if self.workers.is_empty() { self.engine.say_farewell() } else { self.workers.is_farewell_said() }
    }

    /// Returns the CPU time of all processes in nanoseconds, and how many processes have clients.
    pub(crate) fn cpu(&self) -> (u64, u32) {
        let processes = u32::try_from(self.workers.pids().count()).unwrap_or_default();
        (clock::cpu() + self.workers.cpu(), processes.max(1))
    }

    /// Returns the memory of all processes in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let pids = self.workers.pids().chain([std::process::id()]);
        pids.filter_map(crate::watch::memory).sum()
    }
}
