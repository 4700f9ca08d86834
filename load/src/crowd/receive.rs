//! What a client makes of what has come.

use std::mem::take;

use memchr::memmem;

use super::{
    Crowd, Turn,
    client::{State, Stream},
};
use crate::{
    clock,
    failure::Failure,
    http::{
        End,
        answer::{Answer, Head},
        body::Body,
        sse,
    },
    number::nanoseconds,
    stamp::{self, Found},
    tally::Seen,
};

/// How long a client stays away from a stream that has ended and did not say how long, in milliseconds.
const RETRY: u64 = 1000;

/// The maximum of events that are followed one by one, of those that another program publishes.
const MAX_FOLLOWED: u32 = 10_000_000;

/// The maximum of what is kept of an event that has not come whole.
const MAX_EVENT: usize = 64 << 20;

impl Crowd {
    /// Reads what has come for a client.
    pub(super) fn receive(&mut self, index: usize, may_have_ended: bool, turn: Turn<'_>) {
        let client = &mut self.clients[index];
        let Some(line) = &mut client.line else { return };
        if take(&mut client.leaves_unread) {
            return self.go_away(index, turn);
        }
        let mut come = take(&mut self.scratch.come);
        let end = line.read(&mut come, may_have_ended);
        if !come.is_empty() || end != End::Open {
            self.take(index, &come, end, turn);
        }
        self.scratch.come = come;
    }

    fn take(&mut self, index: usize, come: &[u8], end: End, turn: Turn<'_>) {
        let client = &mut self.clients[index];
        if !matches!(client.state, State::Waiting | State::Binding | State::Leaving) {
            return match end {
                End::Broken(failure) => self.fail(index, failure, None, turn),
                // A server may close a connection that is not used.
                _ if come.is_empty() => self.close(index),
                _ => self.fail(index, Failure::Malformed, None, turn),
            };
        }
        if client.stream.is_some() {
            return self.stream_goes_on(index, come, end, turn);
        }
        if client.state == State::Waiting && self.plan.read.is_stream {
            match Head::read(come) {
                Ok(Some(head)) if self.plan.read.events.contains(&head.status) => {
                    let stream = Stream { body: head.body, rest: Vec::new(), retry: RETRY };
                    client.stream = Some(Box::new(stream));
                    (client.is_bound, client.failures) = (true, 0);
                    return self.stream_goes_on(index, &come[head.length..], end, turn);
                }
                _ => {}
            }
        }
        match (Answer::read(come, end == End::Orderly), end.failure()) {
            (Err(_), _) => self.fail(index, Failure::Malformed, None, turn),
            (Ok(Some(answer)), _) => self.take_answer(index, &answer, come.len(), end != End::Open, turn),
            (Ok(None), Some(failure)) => self.fail(index, failure, None, turn),
            (Ok(None), None) => client.line.iter_mut().for_each(|line| line.keep(come)),
        }
    }

    fn take_answer(&mut self, index: usize, answer: &Answer<'_>, bytes: usize, ended: bool, turn: Turn<'_>) {
        let (status, state) = (answer.head.status, self.clients[index].state);
        if state == State::Leaving {
            self.close(index);
            return self.move_to(index, State::Absent, turn.now);
        }
        let has_events = self.plan.read.events.contains(&status);
        if !has_events && !self.plan.read.nothing.contains(&status) {
            return self.fail(index, Failure::Status(status), answer.head.retry_after(), turn);
        }
        self.clients[index].place.note(&self.plan.read.places, answer, &mut self.scratch.place);
        if has_events && self.take_events(index, &answer.content) > 0 {
            self.record.counts.answers += 1;
            self.record.counts.bytes += bytes as u64;
        } else if state == State::Waiting {
            self.record.counts.nothing += 1;
        }
        let client = &mut self.clients[index];
        (client.is_bound, client.failures) = (true, 0);
        if self.plan.behaviour.is_connection_new || answer.head.is_last || ended {
            self.close(index);
        }
        match nanoseconds(self.plan.behaviour.think) {
            0 => self.ask(index, turn),
            // The first answer is none that a person looks at.
            _ if state == State::Binding => self.ask(index, turn),
            think => self.pause(index, think, turn),
        }
    }

    fn stream_goes_on(&mut self, index: usize, come: &[u8], end: End, turn: Turn<'_>) {
        let client = &mut self.clients[index];
        client.since = turn.now;
        let Some(mut stream) = client.stream.take() else { return };
        let mut content = take(&mut self.scratch.content);
        content.clear();
        content.append(&mut stream.rest);
        let result = stream.body.take(come, &mut content);
        // What came before the stream broke is taken, too.
        let mut at = 0;
        while let Some((block, length)) = sse::first(&content[at..]) {
            at += length;
            if let Some(id) = block.id {
                self.clients[index].place.note_id(id);
            }
            stream.retry = block.retry.unwrap_or(stream.retry);
            if self.take_events(index, block.text) > 0 {
                self.record.counts.answers += 1;
                self.record.counts.bytes += length as u64;
            }
        }
        stream.rest.extend_from_slice(&content[at..]);
        self.scratch.content = content;
        let taken = match result {
            Ok((taken, _)) if stream.rest.len() <= MAX_EVENT => taken,
            _ => return self.fail(index, Failure::Malformed, None, turn),
        };
        let is_whole = result.is_ok_and(|(_, is_done)| is_done) || end == End::Orderly && stream.body == Body::ToEnd;
        if is_whole || end != End::Open {
            if let Some(failure) = end.failure().filter(|_| !is_whole) {
                *self.record.counts.failures.entry(failure).or_default() += 1;
            }
            self.close(index);
            return self.pause(index, stream.retry.saturating_mul(clock::MILLISECOND), turn);
        }
        let client = &mut self.clients[index];
        client.stream = Some(stream);
        if taken < come.len() {
            client.line.iter_mut().for_each(|line| line.keep(&come[taken..]));
        }
    }

    /// Takes the events in a text; returns how many there are, of whichever kind.
    fn take_events(&mut self, index: usize, text: &[u8]) -> usize {
        let number = self.number(index);
        let (client, plan, counts) = (&mut self.clients[index], &self.plan, &mut self.record.counts);
        let contains =
            |part: &Option<Vec<u8>>, text: &[u8]| part.as_ref().is_some_and(|part| memmem::find(text, part).is_some());
        if contains(&plan.read.reset, text) {
            counts.resets += 1;
        }
        let (mut count, now) = (0, clock::now());
        let mut events = stamp::find(text).peekable();
        while let Some((found, end)) = events.next() {
            count += 1;
            let (stream, sequence, time) = match found {
                Found::Stamped(stamp) if stamp.run == plan.run => (stamp.stream, stamp.number, Some(stamp.time)),
                Found::Numbered(sequence) if plan.streams.publishers == 0 => {
                    (plan.streams.topic_of_client(number), sequence, None)
                }
                Found::Stamped(_) | Found::Numbered(_) => (u32::MAX, 0, None),
            };
            let its_own = plan.streams.index(number, stream).filter(|_| sequence > 0);
            let Some(tally) = its_own.and_then(|place| client.tallies.get_mut(place)) else {
                counts.foreign += 1;
                continue;
            };
            let before = tally.complete_up_to();
            match tally.take(sequence) {
                Seen::New(skipped) => {
                    counts.events += 1;
                    self.standing.missing += u64::from(skipped);
                }
                Seen::Late => {
                    counts.events += 1;
                    counts.out_of_order += 1;
                    self.standing.missing -= 1;
                }
                Seen::Again => {
                    // What a server says of an event stands before the next one.
                    let until = events.peek().map_or(text.len(), |(_, end)| *end);
                    if contains(&plan.read.repeated, &text[end..until]) {
                        counts.repeated_flagged += 1;
                    } else {
                        counts.repeated_unflagged += 1;
                    }
                    continue;
                }
            }
            match time {
                // A client that was away gets what has waited for it, which says nothing of the server.
                Some(time) if time >= client.came => self.record.recent.take(now.saturating_sub(time)),
                Some(_) => {}
                None => {
                    for sequence in before..tally.complete_up_to().min(MAX_FOLLOWED) {
                        let place = sequence as usize;
                        self.had.resize(self.had.len().max(place + 1), 0);
                        self.had[place] += 1;
                    }
                }
            }
        }
        count
    }
}
