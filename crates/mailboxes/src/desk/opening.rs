//! What a Session decides while its Lease is being opened, which can wait for the Leases of many others.
//!
//! A poll waits for that until its deadline, and a short one for as long as it would wait for messages. Then it fails: an
//! answer with nothing would say that the mailbox is empty. The opening keeps its place for the linger, as a Lease would
//! be kept, so a client that comes back within that time does not begin to wait anew.

use tokio::time::Instant;

use super::{Desk, Effect, EndReason, MAX_LATENESS, Seated};
use crate::poll::Outcome;

impl Seated {
    /// Returns until when it waits for the Lease.
    fn waits_until(&self) -> Instant {
        self.poll.deadline.max(self.since + MAX_LATENESS)
    }
}

impl Desk {
    /// Looks at the clock, as [`Desk::tick`] does once the Lease is open.
    pub(crate) fn tick_opening(&mut self, now: Instant) {
        while let Some((_, poll)) = self.slowed.pop_front_if(|(due, _)| *due <= now) {
            self.effects.push_back(Effect::Answer(poll, Outcome::Replaced));
        }
        if let Some(seated) = self.poll.take_if(|seated| seated.waits_until() <= now) {
            self.effects.push_back(Effect::Answer(seated.poll.id, Outcome::Broker(broker::BrokerError::Busy)));
            self.last_activity = now;
        } else if self.poll.is_none() && now >= self.last_activity + self.timeouts.linger {
            self.end(EndReason::Lingered);
        }
    }

    /// Returns when [`Self::tick_opening`] is due.
    pub(crate) fn opening_wakeup(&self) -> Instant {
        let due = self.poll.as_ref().map_or(self.last_activity + self.timeouts.linger, Seated::waits_until);
        self.slowed.front().map_or(due, |(slowed, _)| due.min(*slowed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use broker::BrokerError;

    use super::*;
    use crate::{
        desk::Timeouts,
        poll::{Continuation, Poll, PollId},
        window::Window,
    };

    const LINGER: Duration = Duration::from_secs(15);

    /// A desk whose Lease is not open yet.
    fn opening_desk(now: Instant) -> Desk {
        Desk::new(Timeouts { linger: LINGER, confirm_deadline: Duration::from_mins(5) }, now)
    }

    fn poll(id: u64, deadline: Instant) -> Poll {
        Poll::resumed(PollId(id), &Continuation { after: None, limit: 100, deadline, may_see: None })
    }

    fn is_busy(answer: Option<&(PollId, Outcome)>, id: u64) -> bool {
        matches!(answer, Some((PollId(answered), Outcome::Broker(BrokerError::Busy))) if *answered == id)
    }

    #[test]
    fn a_poll_waits_for_the_lease_as_long_as_it_says_and_a_short_one_for_a_while() {
        let now = Instant::now();
        for (wait, patience) in [(25, 25), (0, 10)] {
            let mut desk = opening_desk(now);
            desk.attach(poll(1, now + Duration::from_secs(wait)), now);
            let due = now + Duration::from_secs(patience);
            assert_eq!(desk.opening_wakeup(), due);
            desk.tick_opening(due - Duration::from_millis(1));
            assert!(desk.take_answer().is_none());
            desk.tick_opening(due);
            assert!(is_busy(desk.take_answer().as_ref(), 1));
            assert!(!desk.has_ended(), "it keeps its place");
        }
    }

    #[test]
    fn the_opening_goes_on_for_the_linger_and_serves_a_client_that_comes_back() {
        let now = Instant::now();
        let mut desk = opening_desk(now);
        desk.attach(poll(1, now), now);
        let answered = now + MAX_LATENESS;
        desk.tick_opening(answered);
        assert!(is_busy(desk.take_answer().as_ref(), 1));
        assert_eq!(desk.opening_wakeup(), answered + LINGER);
        let back = answered + Duration::from_secs(5);
        desk.attach(poll(2, back), back);
        desk.tick_opening(answered + LINGER);
        assert!(is_busy(desk.take_answer().as_ref(), 2) && !desk.has_ended());
        desk.attach(poll(3, back), answered + LINGER);
        desk.open(Window::new(1, 8, 0), answered + LINGER);
        assert!(desk.take_effect().is_some(), "the broker is asked, or the poll is answered");
        let mut desk = opening_desk(now);
        desk.attach(poll(1, now), now);
        desk.tick_opening(answered);
        desk.tick_opening(answered + LINGER);
        assert!(desk.has_ended());
    }
}
