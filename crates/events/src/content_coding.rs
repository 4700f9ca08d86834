//! Payloads that come compressed.

use std::io::{self, Read};

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

/// What was done to a payload before it was sent (RFC 9110, section 8.4; AMQP's `content_encoding`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentCoding {
    /// Nothing.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
    /// zlib (RFC 1950), which HTTP calls deflate.
    Deflate,
    /// Something else, or more than one thing.
    Other,
}

/// Why a payload could not be inflated.
#[derive(Debug, thiserror::Error)]
pub enum InflateError {
    /// It is larger than it may be.
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    /// It is not what its coding says, or ends early.
    #[error("it is no such data ({0})")]
    Damaged(io::Error),
}

impl ContentCoding {
    /// Reads the value of a header or property.
    ///
    /// AMQP libraries also write the charset of the text there (`utf-8`), or that it has none (`binary`), alone or
    /// beside a coding (`gzip:UTF-8`). Neither changes a byte.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut coding = Self::Identity;
        for part in text.split([',', ':']) {
            let part = part.trim().to_ascii_lowercase();
            let next = match part.as_str() {
                "" | "identity" | "binary" | "7bit" | "8bit" | "utf-8" | "utf8" | "us-ascii" | "ascii" => continue,
                // RFC 9110, section 8.4.1.3: x-gzip is the same.
                "gzip" | "x-gzip" => Self::Gzip,
                "deflate" => Self::Deflate,
                _ => Self::Other,
            };
            coding = if coding == Self::Identity { next } else { Self::Other };
        }
        coding
    }

    /// Returns the payload as it was before; `None` if this is not known to be undone here. Never holds more than
    /// `most` bytes of it.
    #[must_use]
    pub fn inflate(self, payload: &[u8], most: usize) -> Option<Result<Vec<u8>, InflateError>> {
        match self {
            Self::Identity | Self::Other => None,
            Self::Gzip => Some(read_to(MultiGzDecoder::new(payload), most)),
            Self::Deflate => Some(read_to(ZlibDecoder::new(payload), most)),
        }
    }
}

fn read_to(decoder: impl Read, most: usize) -> Result<Vec<u8>, InflateError> {
    let mut inflated = Vec::new();
    // One byte more tells that there is more.
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(limit).read_to_end(&mut inflated).map_err(InflateError::Damaged)?;
    if inflated.len() > most { Err(InflateError::TooLarge(most)) } else { Ok(inflated) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };

    use super::*;

    fn gzip(payload: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(payload).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_charset_is_no_coding() {
        let table = [
            ("gzip", ContentCoding::Gzip),
            (" X-GZIP ", ContentCoding::Gzip),
            ("deflate", ContentCoding::Deflate),
            ("gzip:UTF-8", ContentCoding::Gzip),
            ("identity, gzip", ContentCoding::Gzip),
            ("utf-8", ContentCoding::Identity),
            ("", ContentCoding::Identity),
            ("gzip, gzip", ContentCoding::Other),
            ("br", ContentCoding::Other),
            ("zstd:utf-8", ContentCoding::Other),
        ];
        for (text, coding) in table {
            assert_eq!(ContentCoding::of(text), coding, "{text:?}");
        }
    }

    #[test]
    fn what_was_compressed_comes_back() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(b"{}").unwrap();
        let inflate = |coding: ContentCoding, payload: &[u8]| coding.inflate(payload, 100).unwrap().unwrap();
        assert_eq!(inflate(ContentCoding::Gzip, &gzip(b"{}")), b"{}");
        assert_eq!(inflate(ContentCoding::Gzip, &[gzip(b"[1,"), gzip(b"2]")].concat()), b"[1,2]");
        assert_eq!(inflate(ContentCoding::Deflate, &zlib.finish().unwrap()), b"{}");
        assert!(ContentCoding::Identity.inflate(b"{}", 100).is_none());
    }

    #[test]
    fn what_is_damaged_or_too_large_is_told() {
        let whole = gzip(b"0123456789");
        let inflate = |payload: &[u8], most| ContentCoding::Gzip.inflate(payload, most).unwrap();
        assert_eq!(inflate(&whole, 10).unwrap(), b"0123456789");
        assert!(matches!(inflate(&whole, 9), Err(InflateError::TooLarge(9))));
        for damaged in [&whole[..whole.len() - 1], &[&whole, &b"x"[..]].concat(), b"{}", b""] {
            assert!(matches!(inflate(damaged, 100), Err(InflateError::Damaged(_))), "{damaged:?}");
        }
        let bomb = gzip(&vec![0; 64 << 20]);
        let mut decoder = MultiGzDecoder::new(&bomb[..]);
        assert!(matches!(read_to(&mut decoder, 1000), Err(InflateError::TooLarge(1000))));
        assert!(decoder.into_inner().len() > bomb.len() / 2, "the rest was not even looked at");
    }
}
