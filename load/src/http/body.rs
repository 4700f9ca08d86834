//! The body of an answer, as it comes (RFC 9112, sections 6 and 7).

use super::Malformed;

/// The maximum length of the line before a chunk.
const MAX_LINE: usize = 4096;

/// Where a body ends, and how far it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// After so many bytes more.
    Length(usize),
    /// With an empty chunk.
    Chunked(Chunk),
    /// With the connection.
    ToEnd,
}

/// What comes next of a body in chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// The line with a size.
    Size,
    /// So many bytes of a chunk.
    Bytes(usize),
    /// The line end after them.
    LineEnd,
    /// Fields after the last chunk.
    Trailer,
}

impl Body {
    /// Takes what has come: appends content to `content`, and returns how many bytes it took and whether the body has ended. What
    /// it did not take has to be given again, with more.
    pub(crate) fn take(&mut self, come: &[u8], content: &mut Vec<u8>) -> Result<(usize, bool), Malformed> {
        match self {
            Self::ToEnd => {
                content.extend_from_slice(come);
                Ok((come.len(), false))
            }
            Self::Length(left) => {
                let count = come.len().min(*left);
                content.extend_from_slice(&come[..count]);
                *left -= count;
                Ok((count, *left == 0))
            }
            Self::Chunked(chunk) => chunk.take(come, content),
        }
    }
}

impl Chunk {
    fn take(&mut self, come: &[u8], content: &mut Vec<u8>) -> Result<(usize, bool), Malformed> {
        let mut taken = 0;
        loop {
            let rest = &come[taken..];
            if let Self::Bytes(left) = self {
                let count = rest.len().min(*left);
                content.extend_from_slice(&rest[..count]);
                taken += count;
                *left -= count;
                if *left > 0 {
                    return Ok((taken, false));
                }
                *self = Self::LineEnd;
                continue;
            }
            let Some(end) = memchr::memchr(b'\n', rest) else {
                return if rest.len() > MAX_LINE {
                    Err(Malformed("a chunk without a size"))
                } else {
                    Ok((taken, false))
                };
            };
            let line = rest[..end].trim_ascii_end();
            taken += end + 1;
            match self {
                Self::Trailer if line.is_empty() => return Ok((taken, true)),
                Self::LineEnd if line.is_empty() => *self = Self::Size,
                Self::LineEnd => return Err(Malformed("a chunk is longer than its size")),
                Self::Size => {
                    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                    let size = str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
                    *self = match size.ok_or(Malformed("the size of a chunk is no number"))? {
                        0 => Self::Trailer,
                        size => Self::Bytes(size),
                    };
                }
                Self::Trailer | Self::Bytes(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKS: &[u8] = b"5\r\nhello\r\n6;x=y\r\n, you!\r\n0\r\nx-sum: 1\r\n\r\nHTTP";

    #[test]
    fn chunks_are_read_however_they_are_cut() {
        for cut in 0..CHUNKS.len() - 4 {
            let (mut body, mut content) = (Body::Chunked(Chunk::Size), Vec::new());
            let (taken, ended) = body.take(&CHUNKS[..cut], &mut content).unwrap();
            assert!(!ended && taken <= cut, "{cut}");
            let (more, ended) = body.take(&CHUNKS[taken..], &mut content).unwrap();
            assert_eq!((taken + more, ended, &content[..]), (CHUNKS.len() - 4, true, &b"hello, you!"[..]), "{cut}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for wrong in [&b"x\r\n"[..], b"2\r\nabc\r\n", b"-1\r\n", &[b'1'; 5000]] {
            assert!(Body::Chunked(Chunk::Size).take(wrong, &mut Vec::new()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_length_ends_a_body() {
        let (mut body, mut content) = (Body::Length(3), Vec::new());
        assert_eq!(body.take(b"ab", &mut content), Ok((2, false)));
        assert_eq!(body.take(b"cd", &mut content), Ok((1, true)));
        assert_eq!(Body::ToEnd.take(b"ef", &mut content), Ok((2, false)));
        assert_eq!(content, b"abcef");
    }
}
