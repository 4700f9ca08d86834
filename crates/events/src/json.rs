//! Whether bytes are JSON that every reader will take.
//!
//! A payload is spliced into a batch without being encoded again, so one that a parser refuses would take the whole
//! batch with it. The test is therefore a strict one: what `serde_json` takes (one value, UTF-8, no lone surrogates,
//! numbers within a double), at most [`MAX_DEPTH`] levels deep. A number such as `1e999` is JSON by RFC 8259, but
//! section 6 leaves its range to the parser, and those of Rust and Go refuse it: their readers would get the same batch
//! for ever. Nothing is kept, so nothing is allocated but for strings with escapes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// How deep arrays and objects may be nested: the lowest default among common parsers is 64 (.NET's
/// `System.Text.Json`), and a batch puts three levels around a payload.
pub(crate) const MAX_DEPTH: u8 = 64 - 3;

/// Why bytes are not JSON that every reader takes, and where: the words and the position (line and column, from 1) of
/// the parser.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct JsonError(serde_json::Error);

/// Returns the text if it is one JSON value (RFC 8259).
pub(crate) fn parse(payload: &[u8]) -> Result<&str, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(payload);
    Check { levels_left: MAX_DEPTH }.deserialize(&mut deserializer).map_err(JsonError)?;
    deserializer.end().map_err(JsonError)?;
    std::str::from_utf8(payload).map_err(|error| JsonError(Error::custom(error)))
}

/// Reads a value to its end and keeps nothing of it.
#[derive(Clone, Copy)]
struct Check {
    levels_left: u8,
}

impl Check {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let levels_left = self.levels_left.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { levels_left })
    }
}

impl<'de> DeserializeSeed<'de> for Check {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let deeper = self.deeper()?;
        while elements.next_element_seed(deeper)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let deeper = self.deeper()?;
        while members.next_entry_seed(deeper, deeper)?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_what_every_parser_takes() {
        for good in ["null", " {\"a\":[1,-2.5e3,true,\"\\u00e4\\n\"]} \n", "\"x\"", "18446744073709551615", "[]"] {
            assert_eq!(parse(good.as_bytes()).unwrap(), good);
        }
    }

    #[test]
    fn refuses_what_would_spoil_a_batch() {
        let nested = |depth: u8| "[".repeat(depth.into()) + &"]".repeat(depth.into());
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        let deep = nested(MAX_DEPTH + 1);
        for bad in ["", "{", "{}{}", "01", "NaN", "1e999", "\"\\ud800\"", "'x'", "\u{feff}{}", "\"a\nb\"", &deep] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn says_where_it_stops() {
        let deep = "[".repeat(100);
        for (bad, said) in [
            ("{\n  \"a\": nope}", "line 2 column 9"),
            ("{} {}", "trailing characters at line 1 column 4"),
            ("[1e999]", "number out of range at line 1 column 6"),
            (&deep, "nested too deep at line 1 column 62"),
        ] {
            let error = parse(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(said), "{bad}: {error}");
        }
    }

    proptest! {
        /// Agrees with the parser that readers use, for any bytes near JSON.
        #[test]
        fn agrees_with_serde_json(text in "[\\[\\]{}:,\"\\\\a-fu0-9.eE+ tnrul-]{0,24}") {
            let value = serde_json::from_str::<serde_json::Value>(&text);
            prop_assert_eq!(parse(text.as_bytes()).is_ok(), value.is_ok(), "{}", text);
        }
    }
}
