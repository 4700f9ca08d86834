//! The event loop: clients and publishers of one process, on one thread.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use mio::{Events, Poll, Token};

use crate::{
    alarm::Alarm,
    clock,
    crowd::{Crowd, Readiness, Turn},
    ledger::Ledger,
    publishers::Publishers,
};

const ALARM: Token = Token(usize::MAX);

/// The longest time between two turns: a signal is noticed after it.
const TURN: u64 = 100 * clock::MILLISECOND;

/// How many clients are served before publishers have their turn: each takes some 10 µs.
const BETWEEN: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Engine {
    poll: Poll,
    events: Events,
    alarm: Alarm,
    /// The clients of this process.
    pub(crate) crowd: Crowd,
    /// The publishers of this process, if it has any.
    pub(crate) publishers: Option<Publishers>,
    /// What has been published.
    pub(crate) ledger: Ledger,
    /// The ledger says what has been published until now; that of a worker does not, while others publish.
    pub(crate) is_ledger_known: bool,
    /// The longest turn since this was last looked at: for so long nothing else was read.
    pub(crate) longest_turn: u64,
}

impl Engine {
    /// Makes a loop.
    pub(crate) fn new(crowd: Crowd, publishers: Option<Publishers>, ledger: Ledger) -> io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let events = Events::with_capacity(1024);
        Ok(Self { poll, events, alarm, crowd, publishers, ledger, is_ledger_known: true, longest_turn: 0 })
    }

    /// Serves what is ready, or due by time, after a wait if need be; a wait that ends at a time, or after 100 ms.
    pub(crate) fn turn(&mut self, until: u64) -> io::Result<()> {
        let now = clock::now();
        let due = self.publishers.as_ref().map_or(u64::MAX, |publishers| publishers.next_due(now));
        let due = due.min(self.crowd.next_due(now)).min(until);
        let wait = match due.saturating_sub(now) {
            0 => 0,
            wait if wait < TURN => {
                self.alarm.set(due)?;
                TURN
            }
            _ => TURN,
        };
        match self.poll.poll(&mut self.events, Some(Duration::from_nanos(wait))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        let began = clock::now();
        let ledger = self.is_ledger_known.then_some(&self.ledger);
        self.crowd.turn(Turn { registry: self.poll.registry(), now: began, ledger });
        if let Some(publishers) = &mut self.publishers {
            publishers.turn(&mut self.ledger, self.poll.registry());
        }
        for (number, event) in self.events.iter().enumerate() {
            if number % BETWEEN == BETWEEN - 1
                && let Some(publishers) = &mut self.publishers
            {
                publishers.turn(&mut self.ledger, self.poll.registry());
            }
            let readiness = Readiness {
                is_writable: event.is_writable(),
                may_have_ended: event.is_read_closed() || event.is_error(),
            };
            if event.token() == ALARM {
                continue;
            }
            if let (Some(index), Some(publishers)) = (Publishers::index(event.token()), &mut self.publishers) {
                publishers.ready(index, readiness, &mut self.ledger);
                continue;
            }
            let ledger = self.is_ledger_known.then_some(&self.ledger);
            self.crowd.ready(event.token().0, readiness, Turn { registry: self.poll.registry(), now: began, ledger });
        }
        // What became free by these answers is used at once.
        if let Some(publishers) = &mut self.publishers {
            publishers.turn(&mut self.ledger, self.poll.registry());
        }
        self.longest_turn = self.longest_turn.max(clock::now().saturating_sub(began));
        Ok(())
    }

    /// Has so many clients come, or the last ones go.
    pub(crate) fn set_wanted(&mut self, wanted: u32) {
        let ledger = self.is_ledger_known.then_some(&self.ledger);
        self.crowd.set_wanted(wanted, Turn { registry: self.poll.registry(), now: clock::now(), ledger });
    }

    /// See [`Crowd::say_farewell`].
    pub(crate) fn say_farewell(&mut self) -> bool {
        self.crowd.say_farewell(Turn { registry: self.poll.registry(), now: clock::now(), ledger: Some(&self.ledger) })
    }

    /// Begins to publish.
    pub(crate) fn publish(&mut self, stretch: crate::publishers::Stretch) {
        if let Some(publishers) = &mut self.publishers {
            publishers.begin(stretch, clock::now());
        }
    }
}
