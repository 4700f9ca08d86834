//! How many messages the broker may send a reader that it has not asked for one by one (AMQP's prefetch).
//!
//! The broker counts messages and no bytes. So that many readers stay within a bound of bytes, each gets as many
//! messages as fit its share, by what messages of the log have measured so far: an average, which a run of far larger
//! ones exceeds.

use std::sync::atomic::{AtomicU64, Ordering};

/// Of the one reader that follows the log, which has to keep up with every publisher.
pub(super) const TAIL: u16 = 1000;

/// The most of a reader that searches: as many as the largest batch. A replay with 200 took more than twice as long on
/// RabbitMQ 4.0, and no longer on 3.10.
const MOST: u16 = 500;

/// Fewer would have every message wait for the acknowledgement of the one before.
const LEAST: u16 = 4;

/// What the payloads on their way to one reader should have at most, in bytes.
const BYTES: u64 = 1024 * 1024;

/// How fast the average forgets: a message counts for one part in so many.
const MEMORY: u64 = 256;

/// What is taken for the size of a message until some were seen, in bytes.
const UNKNOWN: u64 = 1024;

/// The average size of a message, in bytes; fractions are kept.
#[derive(Debug)]
pub(super) struct MessageSize(AtomicU64);

impl Default for MessageSize {
    fn default() -> Self {
        Self(AtomicU64::new(UNKNOWN * MEMORY))
    }
}

impl MessageSize {
    /// Takes note of a message's payload. Two at once may count as one.
    pub(super) fn note(&self, payload: usize) {
        let sum = self.0.load(Ordering::Relaxed);
        self.0.store(sum - sum / MEMORY + payload as u64, Ordering::Relaxed);
    }

    /// Returns the prefetch of one more reader.
    pub(super) fn prefetch(&self) -> u16 {
        let average = (self.0.load(Ordering::Relaxed) / MEMORY).max(1);
        u16::try_from(BYTES / average).unwrap_or(MOST).clamp(LEAST, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_messages_come_by_the_handful_and_small_ones_by_the_hundred() {
        let size = MessageSize::default();
        assert_eq!(size.prefetch(), MOST);
        for (payload, prefetch) in [(1 << 20, LEAST), (32 << 10, 32), (0, MOST), (u32::MAX as usize, LEAST)] {
            (0..10_000).for_each(|_| size.note(payload));
            assert_eq!(size.prefetch(), prefetch, "{payload} bytes");
        }
    }
}
