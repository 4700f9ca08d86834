//! How clients behave.

use std::time::Duration;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    /// Over how long the clients of a step come.
    pub(crate) ramp: Duration,
    /// How long a client does nothing between an answer and its next poll.
    pub(crate) think: Duration,
    /// Each poll has a connection of its own.
    pub(crate) is_connection_new: bool,
    /// HTTP/2, and how many clients share a connection; HTTP/1.1 without this.
    pub(crate) streams_per_connection: Option<usize>,
    /// How many percent of the clients hang up.
    pub(crate) hang_up: f64,
    /// How they do.
    pub(crate) hang_up_by: HangUp,
    /// How long a client stays before it hangs up, or goes away; all clients go away if this was asked for without `hang_up`.
    pub(crate) stay: Option<Duration>,
    /// How long it is away.
    pub(crate) away: Duration,
    /// How long a poll may take.
    pub(crate) deadline: Duration,
}

/// How a client hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum HangUp {
    /// In an orderly way, as a page that is closed.
    Fin,
    /// With a reset, as a device that crashes.
    Rst,
    /// Either, by turns.
    Both,
}

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// At once, with an orderly end.
    Orderly,
    /// At once, with a reset.
    Reset,
    /// When the next answer comes, unread: the kernel then resets the connection.
    Unread,
}

/// How long a client stays that hangs up, if that is not said.
const STAY: Duration = Duration::from_secs(5);

impl Behaviour {
    /// Returns how long a client stays, if it leaves at all.
    pub(crate) fn stays(&self, client: u32) -> Option<Duration> {
        let hangs_up = self.hangs_up(client);
        let stay = if hangs_up { Some(self.stay.unwrap_or(STAY)) } else { self.stay.filter(|_| self.hang_up == 0.0) };
        stay.map(|stay| stay.mul_f64(rand::random_range(0.5..1.5)))
    }

    /// Returns how a client leaves this time.
    pub(crate) fn leaves(&self, client: u32) -> Leaves {
        if !self.hangs_up(client) {
            return Leaves::Orderly;
        }
        if rand::random() {
            return Leaves::Unread;
        }
        match self.hang_up_by {
            HangUp::Fin => Leaves::Orderly,
            HangUp::Both if rand::random() => Leaves::Orderly,
            HangUp::Both | HangUp::Rst => Leaves::Reset,
        }
    }

    /// Tells whether a client is one of those that hang up, which are spread evenly.
    fn hangs_up(&self, client: u32) -> bool {
        let share = self.hang_up / 100.0;
        (f64::from(client + 1) * share).floor() > (f64::from(client) * share).floor()
    }
}

/// Returns how long a client waits after it has failed so many times in a row: 50 ms, doubled each time, up to 10 s, and spread.
pub(crate) fn backoff(failures: u8) -> Duration {
    let doubled = Duration::from_millis(50) * 2_u32.pow(u32::from(failures.clamp(1, 9)) - 1);
    doubled.min(Duration::from_secs(10)).mul_f64(rand::random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behaviour(hang_up: f64, stay: Option<Duration>) -> Behaviour {
        Behaviour {
            ramp: Duration::ZERO,
            think: Duration::ZERO,
            is_connection_new: false,
            streams_per_connection: None,
            hang_up,
            hang_up_by: HangUp::Both,
            stay,
            away: Duration::from_secs(1),
            deadline: Duration::from_mins(1),
        }
    }

    #[test]
    fn the_share_that_hangs_up_is_exact_and_spread() {
        for (share, expected) in [(0.0, 0), (10.0, 100), (2.5, 25), (100.0, 1000)] {
            let behaviour = behaviour(share, None);
            assert_eq!((0..1000).filter(|client| behaviour.hangs_up(*client)).count(), expected, "{share}");
            assert_eq!((0..1000).filter(|client| behaviour.stays(*client).is_some()).count(), expected, "{share}");
        }
    }

    #[test]
    fn all_go_away_where_none_hangs_up() {
        let behaviour = behaviour(0.0, Some(Duration::from_secs(10)));
        for client in 0..100 {
            let stays = behaviour.stays(client).unwrap().as_secs_f64();
            assert!((5.0..=15.0).contains(&stays), "{stays}");
            assert_eq!(behaviour.leaves(client), Leaves::Orderly);
        }
    }

    #[test]
    fn a_client_that_fails_again_waits_longer_up_to_a_bound() {
        for failures in 1..=u8::MAX {
            let wait = backoff(failures);
            let whole = Duration::from_millis(50 << u32::from(failures - 1).min(8)).min(Duration::from_secs(10));
            assert!(wait <= whole && wait * 2 >= whole, "{failures}: {wait:?}");
        }
    }
}
