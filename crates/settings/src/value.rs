//! Values of settings. An error says what would do; clap names the flag, and [`Setting`] the variable.

use std::{ffi::OsStr, fmt::Display, ops::RangeInclusive, str::FromStr};

use bytesize::ByteSize;
use clap::{
    Arg, Command, Error,
    builder::{PossibleValue, TypedValueParser},
    error::{ContextKind, ContextValue},
    parser::ValueSource,
};

/// Reads the value of a setting with another parser, without the spaces around it: a variable in a file of settings, or
/// an item of a list, often has some.
///
/// If the value comes from an environment variable, the error names the variable.
#[derive(Debug, Clone)]
pub struct Setting<P>(pub P);

impl<P: TypedValueParser> TypedValueParser for Setting<P> {
    type Value = P::Value;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<P::Value, Error> {
        self.parse_ref_(command, arg, value, ValueSource::CommandLine)
    }

    fn parse_ref_(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<P::Value, Error> {
        let trimmed = value.to_str().map_or(value, |text| OsStr::new(text.trim()));
        self.0.parse_ref_(command, arg, trimmed, source).map_err(|mut error| {
            let variable = arg.and_then(Arg::get_env).filter(|_| source == ValueSource::EnvVariable);
            if let (Some(arg), Some(variable)) = (arg, variable) {
                let named = format!("{arg}, from the variable {}", variable.display());
                error.insert(ContextKind::InvalidArg, ContextValue::String(named));
            }
            error
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}

/// Reads a switch: `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`.
pub fn boolean(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err("it is neither true nor false (yes, no, on, off, 1 and 0 are taken as well)"),
    }
}

/// Makes a parser of whole numbers within a range.
pub fn whole_number<N>(range: RangeInclusive<N>) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("it is no whole number from {} to {}", range.start(), range.end())),
    }
}

/// Makes a parser of sizes within a range of bytes: `65536`, `500kB`, `64 MiB`, `1.5GiB`. A unit with `i` is a power of
/// 1024, one without it of 1000.
pub fn byte_size<N>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: TryFrom<u64> + Clone + Send + Sync + 'static,
{
    move |text| {
        // The library takes a number that is too large as the largest one.
        let size = text.parse().ok().map(|ByteSize(bytes)| bytes).filter(|bytes| range.contains(bytes));
        size.and_then(|bytes| N::try_from(bytes).ok()).ok_or_else(|| {
            let [least, most] = [range.start(), range.end()].map(|bytes| ByteSize(*bytes).display().iec().to_string());
            format!("it is no size from {least} to {most}, such as 65536, 500kB or 64MiB")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_limits() {
        let size = byte_size::<u64>(1..=1 << 62);
        for (text, bytes) in [
            ("7", 7),
            ("500kB", 500_000),
            ("64 MiB", 64 << 20),
            ("64mib", 64 << 20),
            ("1GiB", 1 << 30),
            ("1.5 KiB", 1536),
            ("9007199254740993B", 9_007_199_254_740_993),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "0", "-1", "MiB", "1XB", "1.5", "ü", "5EiB", "99999999999999999999", "99999999999 EiB"] {
            let error = size(wrong).unwrap_err();
            assert_eq!(error, "it is no size from 1 B to 4.0 EiB, such as 65536, 500kB or 64MiB", "{wrong}");
        }
        assert!(byte_size::<u16>(0..=1 << 62)("64KiB").is_err(), "it does not fit");
    }

    #[test]
    fn a_misspelled_switch_is_neither_on_nor_off() {
        assert_eq!(["true", "YES", "1", "on"].map(boolean), [Ok(true); 4]);
        assert_eq!(["false", "No", "0", "off"].map(boolean), [Ok(false); 4]);
        assert!(["", "ture", "2", "enabled"].map(boolean).iter().all(Result::is_err));
    }

    #[test]
    fn numbers_have_limits() {
        let number = whole_number(1..=100_u16);
        assert_eq!([number("1"), number("100")], [Ok(1), Ok(100)]);
        for wrong in ["0", "101", "-1", "1.5", "", "x", "99999"] {
            assert_eq!(number(wrong), Err("it is no whole number from 1 to 100".to_owned()), "{wrong}");
        }
    }
}
