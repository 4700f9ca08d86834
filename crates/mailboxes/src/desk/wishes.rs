//! What other gateways want of a Session, and what they are told.
//!
//! A client that moves to another gateway leaves a Session behind. Its mailbox is given up at once when no poll is here
//! and the client shows that it has read here, or when it says itself that its poll there is the newer one. Otherwise the
//! Lease is kept until it is a second old; and a reader that is here has to go for another one only if that one still
//! waits when the Lease is offered to it. So two readers at two gateways, of which each comes back at once, move a
//! mailbox once a second, and not as fast as the network lets them.

use std::{collections::VecDeque, time::Duration};

use broker::handover::{Reply, Wanted};
use tokio::time::Instant;

use crate::{last_seen::LastSeen, poll::PollOrder};

/// How long a Lease is kept at least, so that a client that moves all the time costs the broker 20 Leases a second.
const MIN_TENURE: Duration = Duration::from_millis(50);

/// The same where nothing says that the other reader is the same client, or newer.
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
        // An equal number may be the same poll, which a proxy has brought to both gateways.
        let is_newer = self.order.as_ref().zip(highest).is_some_and(|(own, highest)| own.number > highest.number);
        let was_read_here = self.last_seen.as_ref().is_some_and(|token| token.is_of(reader.lease));
        if is_newer || self.offered == Some(reader.lease) || (!reader.is_here && (was_read_here || highest.is_some())) {
            (reader.since + MIN_TENURE, Verdict::HandOver)
        } else if !reader.is_here {
            (reader.since + MIN_TENURE_OF_READER, Verdict::HandOver)
        } else if highest.is_some() {
            (reader.since + MIN_TENURE, Verdict::Say(Reply::Offered(reader.lease)))
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
    pub(super) fn due(&self, reader: &Reader<'_>) -> Option<Instant> {
        self.0.iter().map(|wish| wish.judge(reader).0).min()
    }
}
