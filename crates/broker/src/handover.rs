//! How gateways on one broker hand mailboxes over to each other.
//!
//! A poll may come to any gateway, while the Lease of its mailbox is open at another one. Then [`Broker::open`] asks
//! the holder for it, with the [`Claim`] of the poll, and the holder decides: see [`Holder`].
//!
//! Only the broker says who holds a Lease. What gateways tell each other shortens the waiting and nothing else: a
//! question or an answer may be lost, late or repeated, and costs at most one handover that was not needed.
//!
//! [`Broker::open`]: super::Broker::open

use std::{fmt, num::ParseIntError, pin::Pin, str::FromStr};

use events::{ClientId, TopicPattern};

/// Names one process among all that share a broker: a random number, written as 8 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instance(pub u32);

impl Instance {
    /// Returns a new name.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for Instance {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u32::from_str_radix(text, 16).map(Self)
    }
}

/// What a poll says of itself. Brokers carry the texts to the holder of the mailbox and do not read them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// The process that made the client's last-seen token, and so may hold its mailbox.
    pub holder: Option<Instance>,
    /// The client's last-seen token.
    pub last_seen: Option<String>,
    /// Where the poll stands among those of its instance.
    pub poll: Option<String>,
}

/// What another gateway wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whose mailbox.
    pub client: ClientId,
    /// Of the poll that waits there.
    pub claim: Claim,
    /// That poll still waits after this Lease was offered to it.
    pub offered: Option<u64>,
}

/// What the holder of a mailbox says to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The Lease is released.
    Released {
        /// What the token of the [`Claim`] stands for is confirmed.
        is_seen_confirmed: bool,
    },
    /// The same instance of the client sent a newer poll here.
    Newer,
    /// Another reader is here. It has to go if the poll still waits: that is to be said with the number of this Lease.
    Offered(u64),
}

/// An answer that may take as long as a release. `None`: the other gateway does best to look for itself.
pub type Replying = Pin<Box<dyn Future<Output = Option<Reply>> + Send>>;

/// Ends when that is noted, and tells whether the Lease of the mailbox is open here.
pub type Noting = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Reads mailboxes, and gives them up for other gateways.
pub trait Holder: Send + Sync + 'static {
    /// Decides whether another gateway gets a mailbox; `None` if it is not read here.
    fn hand_over(&self, wanted: Wanted) -> Option<Replying>;

    /// Takes note that a mailbox was unbound from a pattern; `None` if it is not read here.
    fn unbound(&self, client: &ClientId, topic: &TopicPattern) -> Option<Noting>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_has_always_the_same_length() {
        for (number, text) in [(0, "00000000"), (0xab, "000000ab"), (u32::MAX, "ffffffff")] {
            assert_eq!(Instance(number).to_string(), text);
            assert_eq!(text.parse(), Ok(Instance(number)));
        }
    }
}
