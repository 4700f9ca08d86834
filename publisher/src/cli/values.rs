//! Values of flags that have units or limits. An error names what would do; clap names the flag.

use std::time::Duration;

use events::{ContentType, Topic};

use crate::{simulate, watch};

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("it must be longer than nothing".to_owned()),
        Ok(duration) if duration > Duration::from_hours(366 * 24) => Err("it is longer than a year".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("it is no time with a unit, such as 500ms, 30s or 10m".to_owned()),
    }
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if (0.001..=1e6).contains(&rate) { Ok(rate) } else { Err("it is not within 0.001 to 1000000".to_owned()) }
}

pub(super) fn prefix(text: &str) -> Result<Topic, String> {
    if text.len() > simulate::MAX_PREFIX {
        return Err(format!("it has more than {} bytes", simulate::MAX_PREFIX));
    }
    text.parse().map_err(|error: events::TopicError| error.to_string())
}

/// The type of a file's content; that of its absence would say the opposite.
pub(super) fn file_type(text: &str) -> Result<ContentType, String> {
    if text.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(watch::DELETED)) {
        return Err("it says that there is no file".to_owned());
    }
    ContentType::new(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_rates_have_units_and_limits() {
        for bad in ["0s", "5", "", "1000years"] {
            assert!(positive_duration(bad).is_err(), "{bad}");
        }
        for bad in ["0", "-1", "NaN", "inf", "x"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        assert!(prefix(&"p".repeat(200)).is_ok() && prefix(&"p".repeat(201)).is_err() && prefix("a.*").is_err());
    }
}
