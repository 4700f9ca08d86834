//! When a certificate expires (RFC 5280, section 4.1).
//!
//! Only the way to that field is read: a certificate is checked by its clients. What is malformed has no time.

use std::time::{Duration, SystemTime};

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, in which the version stands.
const VERSION: u8 = 0xa0;

/// Returns the time after which a certificate is no longer good.
pub(super) fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let mut outer = Der(certificate);
    let mut certificate = Der(outer.take(SEQUENCE)?);
    let mut fields = Der(certificate.take(SEQUENCE)?);
    // Version 1 is the default and left out.
    let _version = fields.take(VERSION);
    let _serial_number = fields.take(INTEGER)?;
    let _signature = fields.take(SEQUENCE)?;
    let _issuer = fields.take(SEQUENCE)?;
    let mut validity = Der(fields.take(SEQUENCE)?);
    let _not_before = validity.time()?;
    validity.time()
}

/// Elements that follow each other in Distinguished Encoding Rules (X.690).
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Takes the content of the next element, if it is of this kind.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&[found, length], rest) = self.0.split_first_chunk()?;
        if found != tag {
            return None;
        }
        // A length of 128 and more comes in the bytes that follow; their count stands in the first one.
        let (length, rest) = match length {
            ..=0x7f => (usize::from(length), rest),
            0x81..=0x83 => {
                let (length, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
                (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    fn time(&mut self) -> Option<SystemTime> {
        if let Some(text) = self.take(GENERALIZED_TIME) {
            return time(str::from_utf8(text).ok()?);
        }
        let text = str::from_utf8(self.take(UTC_TIME)?).ok()?;
        // Two digits of a year are from 1950 to 2049.
        time(&if text < "50" { format!("20{text}") } else { format!("19{text}") })
    }
}

/// Reads `YYYYMMDDHHMMSSZ`.
fn time(text: &str) -> Option<SystemTime> {
    if text.len() != 15 || !text.ends_with('Z') || !text[..14].bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let [date, clock] = [&text[..8], &text[8..14]];
    let written =
        format!("{}-{}-{}T{}:{}:{}Z", &date[..4], &date[4..6], &date[6..], &clock[..2], &clock[2..4], &clock[4..]);
    let time = humantime::parse_rfc3339(&written).ok()?;
    // What lies before 1970 has expired in any case.
    time.duration_since(SystemTime::UNIX_EPOCH).ok().filter(|since| *since > Duration::ZERO).map(|_| time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_time_are_read() {
        let read = |tag: u8, text: &str| {
            let element = [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
            Der(&element).time().map(|time| humantime::format_rfc3339_seconds(time).to_string())
        };
        assert_eq!(read(UTC_TIME, "261128210000Z").as_deref(), Some("2026-11-28T21:00:00Z"));
        assert_eq!(read(UTC_TIME, "990101000000Z").as_deref(), Some("1999-01-01T00:00:00Z"));
        assert_eq!(read(GENERALIZED_TIME, "20500228235959Z").as_deref(), Some("2050-02-28T23:59:59Z"));
        for wrong in ["", "Z", "2611282100Z", "261328210000Z", "2611282100000", "26112821000äZ"] {
            assert_eq!(read(UTC_TIME, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_time() {
        for wrong in [&b""[..], b"\x30", b"\x30\x83\xff\xff\xff", b"\x30\x80", b"\x30\x02\x30\x00", b"\x02\x01\x01"] {
            assert_eq!(not_after(wrong), None, "{wrong:?}");
        }
    }
}
