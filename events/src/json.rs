//! Whether bytes are JSON that every reader will take.
//!
//! A payload is spliced into a batch without being encoded again, so one that a parser refuses would take the whole
//! batch with it. The test is therefore the strict one of `serde_json`: one value, UTF-8, no lone surrogates, numbers
//! within a double, at most 128 levels deep. Nothing is kept, so nothing is allocated but for strings with escapes.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Returns the text if it is one JSON value (RFC 8259).
pub(crate) fn parse(payload: &[u8]) -> Option<&str> {
    serde_json::from_slice::<Checked>(payload).ok()?;
    std::str::from_utf8(payload).ok()
}

/// A value that was read to its end and found right.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Checker)
    }
}

struct Checker;

impl<'de> Visitor<'de> for Checker {
    type Value = Checked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_str<E>(self, _: &str) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Checked, A::Error> {
        while elements.next_element::<Checked>()?.is_some() {}
        Ok(Checked)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Checked, A::Error> {
        while members.next_entry::<Checked, Checked>()?.is_some() {}
        Ok(Checked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_what_everybody_takes() {
        for good in ["null", " {\"a\":[1,-2.5e3,true,\"\\u00e4\\n\"]} \n", "\"x\"", "18446744073709551615", "[]"] {
            assert_eq!(parse(good.as_bytes()), Some(good));
        }
    }

    #[test]
    fn refuses_what_would_spoil_a_batch() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for bad in ["", "{", "{}{}", "01", "NaN", "1e999", "\"\\ud800\"", "'x'", "\u{feff}{}", "\"a\nb\"", &deep] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse(b"\"\xff\""), None);
    }

    proptest! {
        /// Agrees with the parser that readers use, for any bytes near JSON.
        #[test]
        fn agrees_with_serde_json(text in "[\\[\\]{}:,\"\\\\a-fu0-9.eE+ tnrul-]{0,24}") {
            let value = serde_json::from_str::<serde_json::Value>(&text);
            prop_assert_eq!(parse(text.as_bytes()).is_some(), value.is_ok(), "{}", text);
        }
    }
}
