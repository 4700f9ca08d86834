//! Lines of bytes, none of them longer than a limit.
//!
//! Invariant: at most the limit and one chunk of the reader are in memory; what is over the limit is read past and
//! dropped. [`Lines::next`] is cancel-safe: a line's beginning is kept here, not in the future.

use std::{io, mem};

use bytes::Bytes;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// One line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole(Bytes),
    TooLong,
}

/// Splits a reader at `\n`.
pub(super) struct Lines<R> {
    reader: R,
    max: usize,
    beginning: Vec<u8>,
    too_long: bool,
    number: u64,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(super) const fn new(reader: R, max: usize) -> Self {
        Self { reader, max, beginning: Vec::new(), too_long: false, number: 0 }
    }

    /// Returns the longest line, in bytes.
    pub(super) const fn max(&self) -> usize {
        self.max
    }

    /// Returns the number of the line that came last, from 1; 0 before the first.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Returns the next line; the last one needs no `\n`.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                let nothing_left = self.beginning.is_empty() && !self.too_long;
                return Ok(if nothing_left { None } else { Some(self.finish()) });
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            // One more than the limit: it may be the `\r` of the line's end.
            if self.too_long || self.beginning.len() + part.len() > self.max.saturating_add(1) {
                self.too_long = true;
                self.beginning = Vec::new();
            } else {
                self.beginning.extend_from_slice(part);
            }
            let taken = part.len() + usize::from(end.is_some());
            self.reader.consume(taken);
            if end.is_some() {
                return Ok(Some(self.finish()));
            }
        }
    }

    fn finish(&mut self) -> Line {
        self.number += 1;
        let mut line = mem::take(&mut self.beginning);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if mem::take(&mut self.too_long) || line.len() > self.max { Line::TooLong } else { Line::Whole(line.into()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::BufReader;

    use super::*;

    /// Reads in chunks of `chunk` bytes.
    fn split(input: &[u8], max: usize, chunk: usize) -> Vec<Line> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut lines = Lines::new(BufReader::with_capacity(chunk, input), max);
            let mut all = Vec::new();
            while let Some(line) = lines.next().await.unwrap() {
                all.push(line);
            }
            assert_eq!(lines.number(), all.len() as u64);
            all
        })
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(text.into())
    }

    #[test]
    fn only_the_lines_end_is_taken_off() {
        assert_eq!(split(b"a\r\n b \n\n\rc\r\r\n", 9, 2), [whole("a"), whole(" b "), whole(""), whole("\rc\r")]);
        assert_eq!(split(b"a\nb", 9, 2), [whole("a"), whole("b")]);
        assert_eq!(split(b"", 9, 2), []);
    }

    #[test]
    fn a_line_over_the_limit_is_read_past_and_the_next_is_whole() {
        assert_eq!(
            split(b"1234\n12345\n123456\r\n1\n", 4, 3),
            [whole("1234"), Line::TooLong, Line::TooLong, whole("1")]
        );
        assert_eq!(split(b"1234\r\n12345", 4, 64), [whole("1234"), Line::TooLong]);
    }

    proptest! {
        /// However the bytes arrive, the lines are the same.
        #[test]
        fn chunks_do_not_matter(input in "[a\r\n]{0,40}", chunk in 1_usize..9) {
            prop_assert_eq!(split(input.as_bytes(), 5, chunk), split(input.as_bytes(), 5, 64));
        }
    }
}
