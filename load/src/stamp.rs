//! What an event says of itself: `{"n":17,"r":4711,"s":3,"t":81623000123,"x":"…"}`.
//!
//! `n` is its number within its stream, from 1; `r` the run that it belongs to, so that what an earlier run left behind is told
//! apart; `s` its stream; `t` the time at which it was to be sent (see `clock`); `x` fills it up to the size that is asked for.
//! The names are in the order of the alphabet, for servers that sort them. A server may have put the payload into a string of
//! its own, or spaces between the parts: both are understood. An event of another program may have `n` alone.

use std::io::Write;

use memchr::memmem;

/// What stands before the number of an event.
const MARK: &[u8] = b"\"n";

/// The stamp of an event that this tool has published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The number within its stream, from 1.
    pub(crate) number: u32,
    /// The run.
    pub(crate) run: u32,
    /// The stream.
    pub(crate) stream: u32,
    /// When it was to be sent.
    pub(crate) time: u64,
}

/// An event in what a client has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Published by this tool, in this run or another.
    Stamped(Stamp),
    /// Published by another program, with a number alone.
    Numbered(u32),
}

impl Stamp {
    /// Writes a payload of at least `size` bytes.
    pub(crate) fn write(&self, size: usize, payload: &mut Vec<u8>) {
        payload.clear();
        let Self { number, run, stream, time } = self;
        // Writing to memory cannot fail.
        let _ = write!(payload, r#"{{"n":{number},"r":{run},"s":{stream},"t":{time},"x":""#);
        payload.resize(payload.len().max(size.saturating_sub(2)), b'.');
        payload.extend_from_slice(b"\"}");
    }
}

/// Returns the events in a text, each with the place in the text where it ends.
pub(crate) fn find(text: &[u8]) -> impl Iterator<Item = (Found, usize)> {
    memmem::find_iter(text, MARK).filter_map(|at| {
        let (number, at) = value(text, at + MARK.len())?;
        let number = u32::try_from(number).ok()?;
        let stamped = || {
            let (run, at) = field(text, at, b'r')?;
            let (stream, at) = field(text, at, b's')?;
            let (time, at) = field(text, at, b't')?;
            let stamp = Stamp { number, run: run.try_into().ok()?, stream: stream.try_into().ok()?, time };
            Some((Found::Stamped(stamp), at))
        };
        Some(stamped().unwrap_or((Found::Numbered(number), at)))
    })
}

/// Reads `,"name":value`.
fn field(text: &[u8], at: usize, name: u8) -> Option<(u64, usize)> {
    let at = space(text, at);
    let at = quote(text, space(text, expect(text, at, b',')?))?;
    value(text, expect(text, at, name)?)
}

/// Reads `":value`, the rest of a name and a number.
fn value(text: &[u8], at: usize) -> Option<(u64, usize)> {
    let at = space(text, quote(text, at)?);
    let start = space(text, expect(text, at, b':')?);
    let digits = text[start..].iter().take_while(|byte| byte.is_ascii_digit());
    let (number, count) = digits.fold((0_u64, 0), |(number, count), digit| {
        (number.saturating_mul(10).saturating_add(u64::from(digit - b'0')), count + 1)
    });
    (count > 0).then_some((number, start + count))
}

fn quote(text: &[u8], at: usize) -> Option<usize> {
    let escapes = text.get(at..)?.iter().take_while(|byte| **byte == b'\\').count();
    expect(text, at + escapes, b'"')
}

fn space(text: &[u8], at: usize) -> usize {
    at + text.get(at..).map_or(0, |rest| rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count())
}

fn expect(text: &[u8], at: usize, byte: u8) -> Option<usize> {
    (text.get(at) == Some(&byte)).then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { number: 17, run: 4711, stream: 3, time: 81_623_000_123 };

    fn found(text: &str) -> Vec<Found> {
        find(text.as_bytes()).map(|(found, _)| found).collect()
    }

    #[test]
    fn a_payload_has_the_size_asked_for_and_is_json() {
        for (size, length) in [(0, 46), (46, 46), (100, 100)] {
            let mut payload = Vec::new();
            STAMP.write(size, &mut payload);
            assert_eq!(payload.len(), length, "{}", String::from_utf8_lossy(&payload));
            let json: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!((json["n"].as_u64(), json["t"].as_u64()), (Some(17), Some(81_623_000_123)));
            assert_eq!(find(&payload).map(|(found, _)| found).collect::<Vec<_>>(), [Found::Stamped(STAMP)]);
        }
    }

    #[test]
    fn a_payload_is_found_however_a_server_wraps_it() {
        let mut payload = Vec::new();
        STAMP.write(0, &mut payload);
        let payload = String::from_utf8(payload).unwrap();
        let once = serde_json::to_string(&payload).unwrap();
        let twice = serde_json::to_string(&once).unwrap();
        let pretty = payload.replace(':', " : ").replace(',', ",\n  ");
        for text in [&payload, &once, &twice, &pretty] {
            assert_eq!(found(text), [Found::Stamped(STAMP)], "{text}");
        }
        assert_eq!(found(&format!("[{payload},{{\"n\":2}},{payload}]")).len(), 3);
    }

    #[test]
    fn a_number_alone_is_found_and_what_is_none_is_not() {
        assert_eq!(found(r#"[{"n":7},{"n":12,"r":1},{}]"#), [Found::Numbered(7), Found::Numbered(12)]);
        assert!(found(r#"{"n":"x","no":1,"n":,"n"#).is_empty());
        assert_eq!(find(br#"{"n":123}"#).next(), Some((Found::Numbered(123), 8)));
    }
}
