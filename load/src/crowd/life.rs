//! What one client does: it connects, polls, fails, pauses, goes away and comes back.

use std::{io, time::Duration};

use mio::Token;

use super::{
    Crowd, Standing, Turn,
    behaviour::{Leaves, backoff},
    client::State,
    line::Line,
    narrow,
};
use crate::{
    clock::MILLISECOND,
    failure::Failure,
    http::connection::Connection,
    number::nanoseconds,
    tally::Tally,
    target::{Values, request::Request},
    timers::{Kind, Timer},
};

impl Crowd {
    /// Connects, or polls over the connection that there is.
    pub(super) fn arrive(&mut self, index: usize, turn: Turn<'_>) {
        let client = &mut self.clients[index];
        client.came = turn.now;
        client.leaves_unread = false;
        client.leave_timer = client.leave_timer.wrapping_add(1);
        let generation = client.leave_timer;
        if let Some(stays) = self.plan.behaviour.stays(self.number(index)) {
            let at = turn.now.saturating_add(nanoseconds(stays));
            self.timers.add(Timer { at, client: narrow(index), kind: Kind::Leave, generation });
        }
        self.ask(index, turn);
    }

    /// Sends the request that comes next, over a new connection if need be.
    pub(super) fn ask(&mut self, index: usize, turn: Turn<'_>) {
        let client = &mut self.clients[index];
        if client.line.as_ref().is_none_or(|line| !line.takes_requests()) {
            self.close(index);
            self.move_to(index, State::Connecting, turn.now);
            return self.open(index, turn);
        }
        let is_first = self.plan.read.first.is_some() && !client.is_bound;
        if !is_first {
            self.establish(index, turn);
        }
        self.send(index, if is_first { State::Binding } else { State::Waiting }, turn);
    }

    pub(super) fn send(&mut self, index: usize, state: State, turn: Turn<'_>) {
        let number = self.number(index);
        let Self { plan, clients, scratch, .. } = self;
        let client = &mut clients[index];
        let request: &Request = match state {
            State::Binding => plan.read.first.as_ref(),
            State::Leaving => plan.read.leave.as_ref(),
            _ => None,
        }
        .unwrap_or(&plan.read.next);
        let topic = plan.streams.topic_of_client(number);
        let values = Values { names: &plan.names, client: number, topic, place: &client.place, payload: &[] };
        request.render(&values, &mut scratch.request);
        let sent = client.line.as_mut().map_or(Ok(()), |line| line.send(&scratch.request));
        self.record.counts.polls += 1;
        self.move_to(index, state, turn.now);
        if let Err(error) = sent {
            self.fail(index, Failure::from(&error), None, turn);
        }
    }

    pub(super) fn open(&mut self, index: usize, turn: Turn<'_>) {
        match self.line(index, turn) {
            Ok(line) => self.clients[index].line = Some(line),
            Err(error) => self.fail(index, Failure::from(&error), None, turn),
        }
    }

    fn line(&mut self, index: usize, turn: Turn<'_>) -> io::Result<Line> {
        let (address, is_http2) = (self.plan.address, self.plan.behaviour.streams_per_connection.is_some());
        if is_http2 && let Some(stream) = self.carriers.join(index) {
            return Ok(Line::Stream(Box::new(stream)));
        }
        self.record.counts.connections += 1;
        let from = self.addresses.next();
        if is_http2 {
            let stream = self.carriers.open(index, address, from, turn.registry)?;
            return Ok(Line::Stream(Box::new(stream)));
        }
        Connection::open(address, from, turn.registry, Token(index)).map(Line::Connection)
    }

    /// From now on the client must get what is published.
    fn establish(&mut self, index: usize, turn: Turn<'_>) {
        self.end_starting(index);
        if !self.clients[index].tallies.is_empty() {
            return;
        }
        let streams = self.plan.streams.of_client(self.number(index));
        let begin = |stream| Tally::begin(turn.ledger.map(|ledger| ledger.published(stream).last));
        self.clients[index].tallies = streams.map(begin).collect();
        self.standing.established += 1;
    }

    /// Counts what went wrong, and has the client come back.
    pub(super) fn fail(&mut self, index: usize, failure: Failure, retry_after: Option<u64>, turn: Turn<'_>) {
        if self.clients[index].state == State::Leaving {
            self.close(index);
            return self.move_to(index, State::Absent, turn.now);
        }
        *self.record.counts.failures.entry(failure).or_default() += 1;
        self.end_starting(index);
        self.close(index);
        let client = &mut self.clients[index];
        client.failures = client.failures.saturating_add(1);
        let wait = retry_after.map_or_else(|| backoff(client.failures), Duration::from_secs);
        self.pause(index, nanoseconds(wait), turn);
    }

    /// Does nothing for a time, and then polls.
    pub(super) fn pause(&mut self, index: usize, wait: u64, turn: Turn<'_>) {
        self.move_to(index, State::Paused, turn.now);
        self.poll_at(index, turn.now.saturating_add(wait));
    }

    fn poll_at(&mut self, index: usize, at: u64) {
        let client = &mut self.clients[index];
        client.poll_timer = client.poll_timer.wrapping_add(1);
        self.timers.add(Timer { at, client: narrow(index), kind: Kind::Poll, generation: client.poll_timer });
    }

    /// Goes away, to come back.
    pub(super) fn leave(&mut self, index: usize, turn: Turn<'_>) {
        let leaves = self.plan.behaviour.leaves(self.number(index));
        let client = &mut self.clients[index];
        // One that has no place yet stays; so does one that fails, until it has come back.
        if !matches!(client.state, State::Waiting | State::Paused) || client.failures > 0 {
            let generation = client.leave_timer;
            let at = turn.now + 100 * MILLISECOND;
            return self.timers.add(Timer { at, client: narrow(index), kind: Kind::Leave, generation });
        }
        match leaves {
            Leaves::Unread if client.state == State::Waiting && !client.leaves_unread => client.leaves_unread = true,
            Leaves::Reset => {
                if let Some(line) = client.line.take() {
                    line.reset();
                }
                self.go_away(index, turn);
            }
            Leaves::Orderly | Leaves::Unread => self.go_away(index, turn),
        }
    }

    pub(super) fn go_away(&mut self, index: usize, turn: Turn<'_>) {
        self.close(index);
        self.record.counts.left += 1;
        self.move_to(index, State::Away, turn.now);
        self.poll_at(index, turn.now.saturating_add(nanoseconds(self.plan.behaviour.away)));
    }

    pub(super) fn close(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.line = None;
        client.stream = None;
    }

    pub(super) fn end_starting(&mut self, index: usize) {
        if std::mem::take(&mut self.clients[index].is_starting) {
            self.starting -= 1;
        }
    }

    pub(super) fn move_to(&mut self, index: usize, state: State, now: u64) {
        let Standing { waiting, away, .. } = &mut self.standing;
        let client = &mut self.clients[index];
        for (place, count) in [(State::Waiting, waiting), (State::Away, away)] {
            *count -= u32::from(client.state == place);
            *count += u32::from(state == place);
        }
        (client.state, client.since) = (state, now);
    }
}
