//! Records whose bytes follow from their number, so that a checker needs no copy of what was written.
//!
//! Each value ends with its own CRC-32: wrong bytes are noticed here even when an engine does not notice them.

/// One published event as the store gets it.
#[derive(Clone)]
pub struct Event {
    /// Its place in the log.
    pub offset: u64,
    /// Topic, size and time: what is scanned at start.
    pub head: Vec<u8>,
    /// Header and payload.
    pub body: Vec<u8>,
}

/// Bytes of a head: a topic, a size and a time.
const HEAD: usize = 40;

impl Event {
    /// Makes the event number `offset` with `size` bytes in its body.
    pub fn new(offset: u64, size: usize) -> Self {
        Self { offset, head: sealed(offset ^ 0x4845_4144, HEAD), body: sealed(offset, size) }
    }

    /// Makes one whose size also follows from its number: mostly small, some over a page.
    pub fn mixed(offset: u64) -> Self {
        let draw = Random::new(offset ^ 0x5349_5a45).next();
        let size = if draw.is_multiple_of(8) { 2000 + draw % 6000 } else { 40 + draw % 900 };
        Self::new(offset, usize::try_from(size).unwrap_or(40))
    }
}

/// Makes the mailbox record of `client` in its `version`.
pub fn mailbox(client: u64, version: u64) -> Vec<u8> {
    sealed(client << 32 | version, 60)
}

/// Fills `size` bytes from `seed` and closes them with their CRC-32.
fn sealed(seed: u64, size: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size.saturating_sub(4) {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(size.saturating_sub(4));
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// Splitmix64: a run can be repeated from its seed.
pub struct Random(u64);

impl Random {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Draws the next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Draws one below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}
