//! All clients of one process. Each polls, checks what it gets, and polls again from there.
//!
//! The loop calls [`Crowd::ready`] for a client whose connection has something to say, and [`Crowd::turn`] for all that is due by
//! time. Nothing here waits. What goes wrong for one client is counted, and that client comes back.
//!
//! * `client` is what is kept of one, `line` how it reaches the server, `carriers` the connections of HTTP/2,
//!   `behaviour` what was asked for; `life` is what a client does, `receive` what it makes of an answer.
//! * A client is *established* once its place is known, or its first poll is sent: what is published from then on must come.

pub(crate) mod behaviour;
mod carriers;
mod client;
mod life;
mod line;
mod receive;

use std::{net::SocketAddr, time::Duration};

use mio::Registry;

use self::{
    behaviour::Behaviour,
    carriers::Carriers,
    client::{Client, State},
};
use crate::{
    addresses::Addresses,
    clock::SECOND,
    failure::Failure,
    http::http2::tasks::Task,
    ledger::Ledger,
    number::nanoseconds,
    record::Record,
    streams::Streams,
    target::{Names, Read},
    timers::{Kind, Timers},
};

/// How many clients come at once: no more than a server's queue of new connections holds.
const AT_ONCE: usize = 128;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// How many connections and streams of HTTP/2 are polled before others have their turn.
const TASKS: usize = 256;

/// How often deadlines are looked at. They are long, and a look passes all clients.
const LOOK: u64 = SECOND;

/// What all clients have in common.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Where the server listens.
    pub(crate) address: SocketAddr,
    /// How it is read.
    pub(crate) read: Read,
    /// How clients and topics are named.
    pub(crate) names: Names,
    /// Which streams there are.
    pub(crate) streams: Streams,
    /// Which run this is.
    pub(crate) run: u32,
    /// How clients behave.
    pub(crate) behaviour: Behaviour,
    /// Which worker this is.
    pub(crate) worker: u32,
    /// How many workers share the clients.
    pub(crate) workers: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Crowd {
    plan: Plan,
    clients: Vec<Client>,
    addresses: Addresses,
    carriers: Carriers,
    timers: Timers,
    scratch: Scratch,
    /// What they have seen.
    pub(crate) record: Record,
    standing: Standing,
    /// How many clients there are to be, which come from `started` on.
    wanted: usize,
    /// How many have come so far.
    started: usize,
    /// How many there have ever been.
    ever: usize,
    /// When the first of those that come now came, and how many were there.
    ramp: (u64, usize),
    /// How many are on their way for the first time.
    starting: usize,
    next_look: u64,
    /// How many clients have had how many events of one stream, for a program that waits for that.
    had: Vec<u32>,
}

/// How many clients do what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Standing {
    /// There.
    pub(crate) wanted: u32,
    /// With a place, or a first poll: from then on they must get every event.
    pub(crate) established: u32,
    /// With a poll or a stream that waits for events.
    pub(crate) waiting: u32,
    /// Away on purpose.
    pub(crate) away: u32,
    /// Events that a client has not had, but a later one of the same stream.
    pub(crate) missing: u64,
}

/// What one turn of the loop is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn<'a> {
    /// The event loop.
    pub(crate) registry: &'a Registry,
    /// The time.
    pub(crate) now: u64,
    /// What has been published, where that is known.
    pub(crate) ledger: Option<&'a Ledger>,
}

/// Memory that all clients use, one after the other.
#[derive(Debug, Default)]
struct Scratch {
    come: Vec<u8>,
    request: Vec<u8>,
    place: Vec<u8>,
    content: Vec<u8>,
}

/// What a loop tells of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Readiness {
    /// It can be written to.
    pub(crate) is_writable: bool,
    /// The server may have ended it.
    pub(crate) may_have_ended: bool,
}

impl Crowd {
    /// Makes a crowd without clients.
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            clients: Vec::new(),
            carriers: Carriers::of(plan.behaviour.streams_per_connection.unwrap_or(1)),
            addresses: Addresses::of(plan.address, plan.worker, plan.workers),
            timers: Timers::default(),
            scratch: Scratch { come: Vec::with_capacity(64 * 1024), ..Scratch::default() },
            record: Record::default(),
            standing: Standing::default(),
            wanted: 0,
            started: 0,
            ever: 0,
            ramp: (0, 0),
            starting: 0,
            next_look: 0,
            had: Vec::new(),
            plan,
        }
    }

    /// Has so many clients come, or the last ones go, and counts anew what they lack.
    pub(crate) fn set_wanted(&mut self, wanted: u32, turn: Turn<'_>) {
        // Of all clients, each worker has every so-manieth.
        let (worker, workers) = (self.plan.worker, self.plan.workers);
        let own = (wanted + workers - 1 - worker) / workers;
        self.wanted = own as usize;
        self.ever = self.ever.max(self.clients.len());
        for index in (self.wanted..self.clients.len()).rev() {
            self.move_to(index, State::Absent, turn.now);
            self.end_starting(index);
            if !self.clients.remove(index).tallies.is_empty() {
                self.standing.established -= 1;
            }
        }
        // What was lost until now has been told.
        if let Some(ledger) = turn.ledger {
            for index in 0..self.clients.len() {
                let streams = self.plan.streams.of_client(self.number(index));
                for (stream, tally) in streams.zip(&mut self.clients[index].tallies) {
                    tally.count_after(ledger.published(stream).last);
                }
            }
        }
        self.started = self.started.min(self.wanted);
        self.clients.resize_with(self.wanted, Client::default);
        self.ramp = (turn.now, self.started);
        self.standing.wanted = own;
    }

    /// Returns how many clients do what.
    pub(crate) const fn standing(&self) -> Standing {
        self.standing
    }

    /// Returns when something is due by time.
    pub(crate) fn next_due(&self, now: u64) -> u64 {
        if !self.carriers.tasks().is_empty() {
            return now;
        }
        let start = if self.started < self.wanted && self.starting < AT_ONCE {
            self.start_time(self.started)
        } else {
            u64::MAX
        };
        self.timers.next().unwrap_or(u64::MAX).min(start).min(self.next_look).max(now)
    }

    /// Does what is due by time.
    pub(crate) fn turn(&mut self, turn: Turn<'_>) {
        while self.started < self.wanted && self.starting < AT_ONCE && self.start_time(self.started) <= turn.now {
            let index = self.started;
            self.started += 1;
            self.starting += 1;
            self.clients[index].is_starting = true;
            self.arrive(index, turn);
        }
        while let Some(timer) = self.timers.take_due(turn.now) {
            let index = timer.client as usize;
            let Some(client) = self.clients.get(index) else { continue };
            match timer.kind {
                Kind::Poll if timer.generation == client.poll_timer => match client.state {
                    State::Away => self.arrive(index, turn),
                    State::Paused => self.ask(index, turn),
                    _ => {}
                },
                Kind::Leave if timer.generation == client.leave_timer => self.leave(index, turn),
                Kind::Poll | Kind::Leave => {}
            }
        }
        if turn.now >= self.next_look {
            self.next_look = turn.now + LOOK;
            self.look_at_deadlines(turn);
        }
        self.poll_tasks(turn);
    }

    /// Serves a connection that has something to say, by its token: that of a client, or of several.
    pub(crate) fn ready(&mut self, token: usize, readiness: Readiness, turn: Turn<'_>) {
        if self.plan.behaviour.streams_per_connection.is_none() {
            return self.serve(token, readiness, turn);
        }
        self.carriers.tasks().put(Task::Carrier(token));
        self.poll_tasks(turn);
    }

    /// Polls connections and streams of HTTP/2, as far as they are to be polled.
    fn poll_tasks(&mut self, turn: Turn<'_>) {
        for _ in 0..TASKS {
            match self.carriers.tasks().take() {
                Some(Task::Carrier(token)) => self.carriers.drive(token),
                Some(Task::Client(index)) => {
                    self.serve(index, Readiness { is_writable: true, may_have_ended: true }, turn);
                }
                None => return,
            }
        }
    }

    fn serve(&mut self, index: usize, readiness: Readiness, turn: Turn<'_>) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let Some(line) = &mut client.line else { return };
        if client.state == State::Connecting {
            match line.is_connected() {
                Ok(true) => self.ask(index, turn),
                Ok(false) => {}
                Err(error) => self.fail(index, Failure::from(&error), None, turn),
            }
            return;
        }
        if readiness.is_writable
            && let Err(error) = line.send_rest()
        {
            return self.fail(index, Failure::from(&error), None, turn);
        }
        self.receive(index, readiness.may_have_ended, turn);
    }

    /// Returns how many events clients have not had that were published and confirmed since their number was last set.
    pub(crate) fn lost(&self, ledger: &Ledger) -> u64 {
        let lost = |(index, client): (usize, &Client)| -> u64 {
            let streams = self.plan.streams.of_client(self.number(index));
            streams.zip(&client.tallies).map(|(stream, tally)| tally.lost(ledger.published(stream))).sum()
        };
        self.clients.iter().enumerate().map(lost).sum()
    }

    /// Takes down that what any client has had was published.
    pub(crate) fn note_seen(&self, ledger: &mut Ledger) {
        for (index, client) in self.clients.iter().enumerate() {
            for (stream, tally) in self.plan.streams.of_client(self.number(index)).zip(&client.tallies) {
                ledger.seen(stream, tally.highest());
            }
        }
    }

    /// Returns how many clients have had all events of the one stream up to each number: the first, the second, and so on.
    pub(crate) fn had(&self) -> &[u32] {
        &self.had
    }

    /// Has all clients say that they leave for good, where the server wants that. Tells whether all have.
    pub(crate) fn say_farewell(&mut self, turn: Turn<'_>) -> bool {
        if self.plan.read.leave.is_none() {
            return true;
        }
        // Those that went before have said nothing yet.
        for index in self.clients.len()..self.ever {
            self.clients.push(Client::default());
            self.move_to(index, State::Away, turn.now);
            self.started = self.clients.len();
        }
        // As many at once as come at once.
        let mut leaving = self.clients.iter().filter(|client| client.state == State::Leaving).count();
        for index in 0..self.started {
            if leaving >= AT_ONCE {
                return false;
            }
            if !matches!(self.clients[index].state, State::Leaving | State::Absent) {
                self.close(index);
                self.open(index, turn);
                self.send(index, State::Leaving, turn);
                leaving += 1;
            }
        }
        leaving == 0
    }

    fn look_at_deadlines(&mut self, turn: Turn<'_>) {
        let (connect, answer) = (nanoseconds(CONNECT), nanoseconds(self.plan.behaviour.deadline));
        for index in 0..self.clients.len() {
            let client = &self.clients[index];
            let passed = turn.now.saturating_sub(client.since);
            match client.state {
                State::Connecting if passed > connect => self.fail(index, Failure::NotConnected, None, turn),
                State::Leaving if passed > connect => self.fail(index, Failure::Closed, None, turn),
                State::Waiting | State::Binding if passed > answer => {
                    self.record.counts.unanswered += 1;
                    self.close(index);
                    self.end_starting(index);
                    self.ask(index, turn);
                }
                _ => {}
            }
        }
    }

    fn start_time(&self, index: usize) -> u64 {
        let (begin, before) = self.ramp;
        let (ramp, coming) = (nanoseconds(self.plan.behaviour.ramp), (self.wanted - before).max(1) as u64);
        begin + ramp / coming * (index - before) as u64
    }

    fn number(&self, index: usize) -> u32 {
        narrow(index) * self.plan.workers + self.plan.worker
    }
}

/// There are never so many clients that this is not exact: each has an open file.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
