//! All clients, and the loop that serves those that have something to read.

use std::{io::ErrorKind, time::Duration};

use anyhow::{Context, ensure};
use mio::{Events, Poll, Token};
use tokio::time::Instant;

use super::{
    connection::Connection,
    options::Options,
    publisher::Publisher,
    watcher::{Scratch, Watcher},
};

/// How many clients begin at once: no more than a server's queue of new connections holds.
const AT_ONCE: u32 = 128;

/// How long nothing may come that must come.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long nothing may come that must not.
const SILENCE: Duration = Duration::from_millis(300);

const PUBLISHER: Token = Token(usize::MAX);

/// See the module.
#[derive(Debug)]
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    scratch: Scratch,
    watchers: Vec<Watcher>,
    publisher: Option<Publisher>,
    /// How many clients have a place and wait.
    waiting: usize,
    /// How many clients have had their first event, their second, and so on.
    had: Vec<usize>,
    /// The sum of that.
    deliveries: u64,
}

impl Crowd {
    /// Connects all clients and returns when all of them wait.
    pub(crate) fn gather(options: &Options) -> anyhow::Result<Self> {
        let poll = Poll::new().context("cannot make an event loop")?;
        let publisher = Publisher::open(options, poll.registry(), PUBLISHER)?;
        let mut crowd = Self {
            poll,
            events: Events::with_capacity(1024),
            scratch: Scratch::new(),
            watchers: Vec::new(),
            publisher,
            waiting: 0,
            had: Vec::new(),
            deliveries: 0,
        };
        for number in 0..options.clients {
            let connection = Connection::open(options.address, crowd.poll.registry(), Token(crowd.watchers.len()))?;
            let path = options.watch.replace("{}", &number.to_string());
            crowd.watchers.push(Watcher::start(connection, options.style, path, &mut crowd.scratch)?);
            if number % AT_ONCE == AT_ONCE - 1 || number == options.clients - 1 {
                crowd.until(|crowd| crowd.waiting == crowd.watchers.len())?;
            }
        }
        Ok(crowd)
    }

    /// Publishes the next event of a client, and returns when every client that it concerns has had it and waits again.
    /// That is the client alone, or all of them.
    pub(crate) fn publish(&mut self, client: usize, concerns_all: bool) -> anyhow::Result<()> {
        let publisher = self.publisher.as_mut().context("there is no publisher")?;
        publisher.publish(client, self.watchers[client].seen() + 1, &mut self.scratch)?;
        let concerned = if concerns_all { self.watchers.len() as u64 } else { 1 };
        let deliveries = self.deliveries + concerned;
        self.until(|crowd| crowd.deliveries == deliveries && crowd.publisher.as_ref().is_none_or(Publisher::is_done))
    }

    /// Returns when every client has had all events up to a number, and waits again.
    pub(crate) fn wait_reached(&mut self, number: u32) -> anyhow::Result<()> {
        self.until(|crowd| crowd.reached() >= number)
    }

    /// Returns the number up to which every client has had all events.
    pub(crate) fn reached(&self) -> u32 {
        // A client that has had an event has had all before it.
        let reached = self.had.partition_point(|clients| *clients == self.watchers.len());
        u32::try_from(reached).unwrap_or(u32::MAX)
    }

    /// Returns how many events clients have had, all together.
    pub(crate) const fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// Serves clients for ever.
    pub(crate) fn hold(&mut self) -> anyhow::Result<()> {
        loop {
            self.turn(PATIENCE)?;
        }
    }

    /// Fails if a client gets anything more.
    pub(crate) fn expect_silence(&mut self) -> anyhow::Result<()> {
        let (end, deliveries) = (Instant::now() + SILENCE, self.deliveries);
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.turn(left)?;
        }
        ensure!(self.deliveries == deliveries, "{} events too many", self.deliveries - deliveries);
        Ok(())
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let mut heard = Instant::now();
        while !done(self) {
            if self.turn(PATIENCE)? {
                heard = Instant::now();
            }
            ensure!(
                heard.elapsed() < PATIENCE,
                "nothing comes any more: {} of {} clients wait, {} deliveries, all have had the events up to {}",
                self.waiting,
                self.watchers.len(),
                self.deliveries,
                self.reached()
            );
        }
        Ok(())
    }

    /// Serves the clients that have something to read, after a wait if need be. Tells whether any had.
    fn turn(&mut self, patience: Duration) -> anyhow::Result<bool> {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            result => result.context("the event loop failed")?,
        }
        for event in &self.events {
            let Some(watcher) = self.watchers.get_mut(event.token().0) else {
                if let Some(publisher) = &mut self.publisher {
                    publisher.read(&mut self.scratch)?;
                }
                continue;
            };
            let seen = watcher.seen();
            if watcher.read(&mut self.scratch)? {
                self.waiting += 1;
            }
            for number in seen..watcher.seen() {
                let at = number as usize;
                self.had.resize(self.had.len().max(at + 1), 0);
                self.had[at] += 1;
                self.deliveries += 1;
            }
        }
        Ok(!self.events.is_empty())
    }
}
