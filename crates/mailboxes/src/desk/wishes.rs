//! What other gateways want of a Session, and what they are told.
//!
//! A client that moves to another gateway leaves a Session behind. Its mailbox is given up when no poll is here, or when
//! the client says itself that its poll there is the newer one. A reader that is here has to go for another one only if
//! that one still waits when the Lease is offered to it, and not before the Lease is a second old: so two readers at two
//! gateways, of which each comes back at once, move a mailbox once a second, and not as fast as the network lets them.

use std::{collections::VecDeque, time::Duration};

use broker::handover::{Reply, Wanted};
use tokio::time::Instant;

use super::{Desk, Effect, EndReason};
use crate::{last_seen::LastSeen, poll::PollOrder};

/// How long a Lease is kept at least, so that a client that moves all the time costs the broker 20 Leases a second.
const MIN_TENURE: Duration = Duration::from_millis(50);

/// The same where a reader is here and nothing says that the other one is newer.
const MIN_TENURE_OF_READER: Duration = Duration::from_secs(1);

/// How many wishes wait at once; of more, the oldest is dropped.
const MAX_WISHES: usize = 8;

/// Names a wish within one Session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WishId(pub(crate) u64);

/// What another gateway wants, for a poll that waits there.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(super) id: WishId,
    /// What its client saw last.
    pub(super) last_seen: Option<LastSeen>,
    order: Option<PollOrder>,
    /// The Lease that was offered to it.
    offered: Option<u64>,
}

impl Wish {
    /// What cannot be read is taken for not said: it comes from another version.
    pub(crate) fn new(id: WishId, wanted: &Wanted) -> Self {
        let claim = &wanted.claim;
        Self {
            id,
            last_seen: claim.last_seen.as_ref().and_then(|text| text.parse().ok()),
            order: claim.poll.as_ref().and_then(|text| text.parse().ok()),
            offered: wanted.offered,
        }
    }

    /// Returns what is to be done about it, and from when on.
    fn judge(&self, reader: &Reader<'_>) -> (Instant, Verdict) {
        let same_instance =
            |highest: &&PollOrder| self.order.as_ref().is_some_and(|own| own.instance == highest.instance);
        let highest = reader.highest.filter(same_instance);
        if let (Some(own), Some(highest)) = (&self.order, highest)
            && own.is_before(highest)
        {
            return (reader.since, Verdict::Say(Reply::Newer));
        }
        if !reader.is_here || highest.is_some() || self.offered == Some(reader.lease) {
            (reader.since + MIN_TENURE, Verdict::HandOver)
        } else {
            (reader.since + MIN_TENURE_OF_READER, Verdict::Say(Reply::Offered(reader.lease)))
        }
    }
}

/// The Lease that is wanted, and who reads here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    /// The number of the Lease.
    pub(super) lease: u64,
    /// When it was opened.
    pub(super) since: Instant,
    /// A poll is held, or a stream goes on.
    pub(super) is_here: bool,
    /// The highest poll that was seen of the last instance.
    pub(super) highest: Option<&'a PollOrder>,
}

enum Verdict {
    Say(Reply),
    HandOver,
}

/// What is to be done about a wish.
#[derive(Debug)]
pub(super) enum Decision {
    Say(WishId, Reply),
    HandOver(Wish),
}

/// The wishes that wait.
#[derive(Debug, Default)]
pub(super) struct Wishes(VecDeque<Wish>);

impl Wishes {
    /// Takes one in.
    pub(super) fn push(&mut self, wish: Wish) -> Option<Wish> {
        let dropped = if self.0.len() == MAX_WISHES { self.0.pop_front() } else { None };
        self.0.push_back(wish);
        dropped
    }

    /// Takes out the next one that is due.
    pub(super) fn decide(&mut self, reader: &Reader<'_>, now: Instant) -> Option<Decision> {
        for at in 0..self.0.len() {
            match self.0[at].judge(reader) {
                (due, _) if now < due => {}
                (_, Verdict::Say(reply)) => return self.0.remove(at).map(|wish| Decision::Say(wish.id, reply)),
                (_, Verdict::HandOver) => return self.0.remove(at).map(Decision::HandOver),
            }
        }
        None
    }

    /// Returns when [`Self::decide`] has something to say.
    fn due(&self, reader: &Reader<'_>) -> Option<Instant> {
        self.0.iter().map(|wish| wish.judge(reader).0).min()
    }
}

impl Desk {
    /// Another gateway wants the mailbox. It is answered when the Lease is open.
    pub(crate) fn wish(&mut self, wish: Wish, now: Instant) {
        if let Some(dropped) = self.wishes.push(wish) {
            self.effects.push_back(Effect::Reply(dropped.id, Reply::NotHeld));
        }
        self.consider_wishes(now);
    }

    pub(super) fn consider_wishes(&mut self, now: Instant) {
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
    pub(super) fn wishes_due(&self) -> Option<Instant> {
        self.wishes.due(&self.reader()?)
    }

    /// Confirms what the client has seen, and ends; a poll that is held here is an older one.
    fn hand_over(&mut self, wish: &Wish, now: Instant) {
        let confirmed = self.window.as_mut().zip(wish.last_seen.as_ref());
        if let Some(tag) = confirmed.and_then(|(window, token)| window.confirm_place(token)) {
            self.effects.push_back(Effect::Confirm(tag));
        }
        self.end(EndReason::HandedOver(wish.id));
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
}
