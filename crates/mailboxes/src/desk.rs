//! What a Session decides: whom it serves, with what, when, and when it ends.
//!
//! A synchronous state machine around the [`Window`]: polls, deliveries, hang-ups and the clock go in, [`Effect`]s come
//! out, in the order in which they must be carried out. At most one poll sits at the desk; the newest wins. It knows no
//! broker, no socket and no task, so its rules are tested by table and by property.
//!
//! The clock is an input: the owner calls [`Desk::tick`] at the time that [`Desk::wakeup`] names.

mod effect;
mod leaving;
mod opening;
mod seated;
mod wishes;

use std::{collections::VecDeque, time::Duration};

use broker::{BrokerError, Delivery};
use tokio::time::Instant;

pub(super) use self::{
    effect::{Effect, EndReason},
    wishes::{Wish, WishId},
};
use self::{
    seated::Seated,
    wishes::{Decision, Reader, Wishes},
};
use super::{
    poll::{Outcome, Poll, PollId, PollOrder},
    window::Window,
};

/// How long a fresh Lease waits for the first of the messages that waited when it was opened. Then the broker is asked
/// whether the mailbox is drained.
const BACKLOG_FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// The same for each further one.
const BACKLOG_GAP_TIMEOUT: Duration = Duration::from_millis(200);

/// The pause between two questions whether the mailbox is drained. Its messages arrive without them, mostly within it.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// How long past its deadline a poll waits for messages that are in the mailbox; then it fails. It is not answered with
/// [`Outcome::Nothing`]: a client that drains its mailbox with short polls takes that for the end.
const MAX_LATENESS: Duration = Duration::from_secs(10);

/// How long a batch that was handed out twice is held back each further time, so that a broken client cannot spin.
const HOLD_BACK: Duration = Duration::from_secs(1);

/// Two readers of one mailbox displace each other for ever if both come back at once. A poll that is displaced within
/// this time after another one was gets its answer so much later: then the mailbox changes its reader about twice a
/// second. The newest poll never waits.
const SLOWED: Duration = Duration::from_secs(1);

/// The times that an operator can set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// How long the Session stays open without a poll.
    pub(super) linger: Duration,
    /// How long a Delivery may stay unconfirmed.
    pub(super) confirm_deadline: Duration,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Desk {
    timeouts: Timeouts,
    /// `None` until the Lease is open.
    window: Option<Window>,
    poll: Option<Seated>,
    /// The poll that was seated last, whether it was answered or not: only its hang-up counts.
    last: Option<PollId>,
    /// That poll is a stream, which goes on after its answer.
    goes_on: bool,
    /// The highest number that each browser instance sent; of the last instance only.
    highest: Option<PollOrder>,
    /// The last moment at which there was a poll: it was seated, answered or left.
    last_activity: Instant,
    /// When the last message came; at first, when the Lease was opened.
    last_arrival: Instant,
    anything_arrived: bool,
    /// The earliest moment of the next question whether the mailbox is drained.
    ask: Instant,
    /// When the Lease was opened.
    opened: Instant,
    /// What other gateways want.
    wishes: Wishes,
    /// When a poll was displaced last.
    displaced: Option<Instant>,
    /// Displaced polls without an answer, with the time at which it is due; in this order.
    slowed: VecDeque<(Instant, PollId)>,
    effects: VecDeque<Effect>,
    ended: bool,
}

impl Desk {
    pub(super) fn new(timeouts: Timeouts, now: Instant) -> Self {
        Self {
            timeouts,
            window: None,
            poll: None,
            last: None,
            goes_on: false,
            highest: None,
            last_activity: now,
            last_arrival: now,
            anything_arrived: false,
            ask: now,
            opened: now,
            wishes: Wishes::default(),
            displaced: None,
            slowed: VecDeque::new(),
            effects: VecDeque::new(),
            ended: false,
        }
    }

    /// The Lease is open.
    pub(super) fn open(&mut self, window: Window, now: Instant) {
        self.window = Some(window);
        self.opened = now;
        self.last_arrival = now;
        self.serve(now);
    }

    /// Tells whether the Lease is open, or was.
    pub(super) const fn is_open(&self) -> bool {
        self.window.is_some()
    }

    /// A poll came. It replaces the one that sits here, unless the client itself sent that one later.
    pub(super) fn attach(&mut self, poll: Poll, now: Instant) {
        if let (Some(order), Some(highest)) = (&poll.order, &self.highest)
            && order.is_before(highest)
        {
            self.displace(poll.id, now);
            return;
        }
        if let Some(older) = self.poll.take() {
            self.displace(older.poll.id, now);
        }
        self.highest.clone_from(&poll.order);
        self.last = Some(poll.id);
        self.goes_on = poll.goes_on;
        self.last_activity = now;
        self.ask = now;
        self.poll = Some(Seated::new(poll, now, false));
        self.serve(now);
    }

    /// A poll that was answered goes on after what it got, unless another one came since.
    pub(super) fn resume(&mut self, poll: Poll, now: Instant) {
        if self.last != Some(poll.id) {
            self.effects.push_back(Effect::Answer(poll.id, Outcome::Replaced));
            return;
        }
        self.last_activity = now;
        self.poll = Some(Seated::new(poll, now, true));
        self.serve(now);
    }

    /// A message came.
    pub(super) fn deliver(&mut self, delivery: Delivery, now: Instant) {
        self.last_arrival = now;
        self.anything_arrived = true;
        if let Some(window) = &mut self.window {
            window.deliver(delivery, now);
        }
    }

    /// The broker has answered whether the mailbox is drained; messages from before that answer were delivered.
    pub(super) fn told(&mut self, is_drained: bool, now: Instant) {
        if is_drained {
            self.window.iter_mut().for_each(Window::expect_no_more);
            self.poll.iter_mut().for_each(|seated| seated.is_drained = true);
        }
        self.serve(now);
    }

    /// The client of a poll hung up while it waited, or its answer did not arrive.
    pub(super) fn hung_up(&mut self, poll: PollId) {
        if self.last == Some(poll) {
            self.poll = None;
            self.end(EndReason::Disconnected);
        }
    }

    /// The client sent a poll and hung up before it could be seated. Which poll is the newer one is not known, so one
    /// that sits here stays.
    pub(super) fn abandoned(&mut self) {
        if self.poll.is_none() {
            self.end(EndReason::Disconnected);
        }
    }

    /// Another gateway wants the mailbox. It is answered when the Lease is open; if too many wait, the oldest is dropped,
    /// and returned.
    pub(super) fn wish(&mut self, wish: Wish, now: Instant) -> Option<WishId> {
        let dropped = self.wishes.push(wish);
        self.consider_wishes(now);
        dropped.map(|wish| wish.id)
    }

    fn consider_wishes(&mut self, now: Instant) {
        let mut wishes = std::mem::take(&mut self.wishes);
        while let Some(decision) = self.reader().and_then(|reader| wishes.decide(&reader, now)) {
            match decision {
                Decision::Say(wish, reply) => self.effects.push_back(Effect::Reply(wish, reply)),
                Decision::HandOver(wish) => self.hand_over(&wish, now),
            }
        }
        self.wishes = wishes;
    }

    /// Returns when [`Self::consider_wishes`] has something to decide; that may be in the past.
    fn wishes_due(&self) -> Option<Instant> {
        self.wishes.due(&self.reader()?)
    }

    /// Confirms what the client has seen, and ends; a poll that is held here is an older one.
    fn hand_over(&mut self, wish: &Wish, now: Instant) {
        let mut has_confirmed_seen = false;
        if let (Some(window), Some(token)) = (&mut self.window, &wish.last_seen) {
            self.effects.extend(window.confirm_place(token).map(Effect::Confirm));
            has_confirmed_seen = window.has_confirmed(token);
        }
        self.end(EndReason::HandedOver { wish: wish.id, has_confirmed_seen });
        if let Some(older) = self.poll.take() {
            self.displace(older.poll.id, now);
        }
    }

    /// Returns who reads here, as long as there is anything to be wanted.
    fn reader(&self) -> Option<Reader<'_>> {
        let window = self.window.as_ref().filter(|_| !self.ended)?;
        let is_here = self.poll.is_some() || self.goes_on;
        Some(Reader { lease: window.lease(), since: self.opened, is_here, highest: self.highest.as_ref() })
    }

    fn displace(&mut self, poll: PollId, now: Instant) {
        match self.displaced.replace(now) {
            Some(last) if now < last + SLOWED => self.slowed.push_back((now + SLOWED, poll)),
            _ => self.effects.push_back(Effect::Answer(poll, Outcome::Replaced)),
        }
    }

    /// Returns the displaced polls that have no answer yet.
    pub(super) fn slowed(&self) -> impl Iterator<Item = PollId> {
        self.slowed.iter().map(|(_, poll)| *poll)
    }

    /// Looks at the clock, and at what was delivered.
    pub(super) fn tick(&mut self, now: Instant) {
        while let Some((_, poll)) = self.slowed.pop_front_if(|(due, _)| *due <= now) {
            self.effects.push_back(Effect::Answer(poll, Outcome::Replaced));
        }
        self.serve(now);
        if self.ended {
            return;
        }
        let unconfirmed_since = self.window.as_ref().and_then(Window::oldest);
        if unconfirmed_since.is_some_and(|since| now >= since + self.timeouts.confirm_deadline) {
            self.end(EndReason::Unconfirmed);
        } else if self.poll.is_none() && now >= self.last_activity + self.timeouts.linger {
            self.end(EndReason::Lingered);
        }
    }

    /// Returns when [`Self::tick`] is due.
    pub(super) fn wakeup(&self) -> Instant {
        let unconfirmed_since = self.window.as_ref().and_then(Window::oldest);
        let due = match (&self.poll, &self.window) {
            (None, _) => self.last_activity + self.timeouts.linger,
            (Some(_), Some(window)) if window.awaits_head() => self.head_due().max(self.ask),
            (Some(seated), _) if seated.is_held_back => seated.since + HOLD_BACK,
            (Some(seated), Some(window)) if seated.is_short() || window.expects_more() => {
                seated.poll.deadline.max(self.ask)
            }
            (Some(seated), _) => seated.poll.deadline,
        };
        let due = unconfirmed_since.map_or(due, |since| due.min(since + self.timeouts.confirm_deadline));
        let due = self.wishes_due().map_or(due, |wish| due.min(wish));
        self.slowed.front().map_or(due, |(slowed, _)| due.min(*slowed))
    }

    /// Takes the next effect.
    pub(super) fn take_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Takes the next effect as long as it is an answer; for the time in which the Lease is being opened.
    pub(super) fn take_answer(&mut self) -> Option<(PollId, Outcome)> {
        match self.effects.pop_front_if(|effect| matches!(effect, Effect::Answer(..)))? {
            Effect::Answer(poll, outcome) => Some((poll, outcome)),
            Effect::Confirm(_) | Effect::Ask | Effect::Reply(..) | Effect::End(_) => None,
        }
    }

    /// Returns how many Deliveries are unconfirmed.
    pub(super) fn unconfirmed(&self) -> usize {
        self.window.as_ref().map_or(0, Window::len)
    }

    /// Returns how many events were confirmed without having been shown since the last time that this was asked.
    pub(super) fn take_withheld(&mut self) -> u64 {
        self.window.as_mut().map_or(0, Window::take_withheld)
    }

    /// Returns how many bytes the unconfirmed Deliveries take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.window.as_ref().map_or(0, Window::bytes)
    }

    /// Tells whether it has decided to end.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    fn head_due(&self) -> Instant {
        self.last_arrival + if self.anything_arrived { BACKLOG_GAP_TIMEOUT } else { BACKLOG_FIRST_TIMEOUT }
    }

    fn end(&mut self, reason: EndReason) {
        if !self.ended {
            self.ended = true;
            self.effects.push_back(Effect::End(reason));
        }
    }

    /// Serves the seated poll, and then other gateways.
    fn serve(&mut self, now: Instant) {
        self.serve_poll(now);
        self.consider_wishes(now);
    }

    /// Confirms what the seated poll has seen, then answers it if there is anything to say.
    fn serve_poll(&mut self, now: Instant) {
        let head_due = self.head_due();
        let (Some(window), Some(seated), false) = (&mut self.window, &mut self.poll, self.ended) else { return };
        if window.awaits_head() {
            if now < head_due {
                return;
            }
            // A run that is cut short by a pause would not fit the token that stands for all of it.
            if now < self.last_arrival + MAX_LATENESS {
                if now >= self.ask {
                    self.ask = now + ASK_AGAIN;
                    self.effects.push_back(Effect::Ask);
                }
                return;
            }
            window.settle();
        }
        // Looked for until something is handed out: what the token stands for may come back from another Lease a moment
        // after this one was opened.
        let (view, is_resumed) = (seated.poll.view(), seated.poll.is_resumed);
        if !seated.confirmed
            && let Some(tag) = seated.poll.last_seen.as_ref().and_then(|token| window.confirm(token, view))
        {
            seated.confirmed = true;
            self.effects.push_back(Effect::Confirm(tag));
        }
        while let Some(tag) = window.skip_marker(view) {
            self.effects.push_back(Effect::Confirm(tag));
        }
        if let Some(tag) = window.make_room(view) {
            self.effects.push_back(Effect::Confirm(tag));
        }
        seated.is_held_back = !is_resumed && window.front_handed_out(view) > 1 && now < seated.since + HOLD_BACK;
        let outcome = if seated.is_held_back {
            return;
        } else if let Some(batch) = window.hand_out(seated.poll.limit, seated.poll.after, view) {
            Outcome::Batch(batch)
        } else if is_resumed && window.is_full() {
            Outcome::WindowFull
        } else if now < seated.poll.deadline {
            return;
        } else if seated.is_drained || !(seated.is_short() || window.expects_more()) {
            Outcome::Nothing
        } else if now < seated.poll.deadline + MAX_LATENESS {
            if now >= self.ask {
                self.ask = now + ASK_AGAIN;
                self.effects.push_back(Effect::Ask);
            }
            return;
        } else {
            Outcome::Broker(BrokerError::Unavailable("it does not deliver the messages of this mailbox".to_owned()))
        };
        self.goes_on &= matches!(outcome, Outcome::Batch(_) | Outcome::Nothing);
        self.effects.push_back(Effect::Answer(seated.poll.id, outcome));
        self.last_activity = now;
        self.poll = None;
    }
}

#[cfg(test)]
mod tests;
