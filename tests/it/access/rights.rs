//! Rights that shrink, and grow again.
