//! Values of flags. An error says what would do.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

/// How events come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Transport {
    /// One answer after the other.
    LongPoll,
    /// A stream of Server-Sent Events.
    Sse,
}

/// What becomes of a connection after an answer, and which HTTP it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ConnectionUse {
    /// HTTP/1.1; the client keeps it.
    KeepAlive,
    /// HTTP/1.1; each poll has a new one.
    New,
    /// HTTP/2.
    Http2,
}

/// How publishers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum PublishBy {
    /// To the server.
    Http,
    /// To the broker before it.
    Amqp,
}

/// How events follow each other without a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum PaceKind {
    /// When the last one is confirmed.
    Confirmed,
    /// When every client has had the last one.
    Lockstep,
}

/// Reads how fast something is: `500/s`, `500` or `30/m`.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let per = match unit.trim() {
        "s" => 1.0,
        "m" | "min" => 60.0,
        _ => return Err(wrong_rate()),
    };
    let number: f64 = number.trim().parse().map_err(|_| wrong_rate())?;
    if number.is_finite() && number > 0.0 && number <= 1e7 { Ok(number / per) } else { Err(wrong_rate()) }
}

fn wrong_rate() -> String {
    "it is no rate such as 500/s or 30/m".to_owned()
}

/// Reads a share: `10%` or `10`.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').unwrap_or(text).trim().parse();
    match number {
        Ok(number) if (0.0..=100.0).contains(&number) => Ok(number),
        _ => Err("it is no share such as 10%".to_owned()),
    }
}

/// Reads a time: `500ms`, `30s`, `2m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim()).map_err(|_| "it is no time such as 500ms, 30s or 2m".to_owned())
}

/// How many topics there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topics {
    /// One for each client.
    Own,
    /// So many.
    Count(u32),
}

/// Reads how many topics there are.
pub(super) fn topics(text: &str) -> Result<Topics, String> {
    match text.trim() {
        "own" => Ok(Topics::Own),
        number => match number.parse() {
            Ok(number) if number > 0 => Ok(Topics::Count(number)),
            _ => Err("it is neither a number from 1 nor `own`".to_owned()),
        },
    }
}

/// Reads where a server listens.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let plain = text.trim();
    if plain.starts_with("https://") {
        return Err("this tool speaks no TLS: give it the address behind the TLS, without https://".to_owned());
    }
    let plain = plain.strip_prefix("http://").unwrap_or(plain).trim_end_matches('/');
    let with_port = if plain.parse::<SocketAddr>().is_ok() || plain.rsplit_once(':').is_some() {
        plain.to_owned()
    } else {
        format!("{plain}:80")
    };
    let found = with_port.to_socket_addrs().map_err(|error| format!("{error}; it must be HOST:PORT"))?;
    // What listens on a name such as localhost most often listens on its IPv4 address.
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| "the name has no address".to_owned())
}

/// Reads a header: `authorization: Bearer x`.
pub(super) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("it is no header such as `authorization: Bearer x`")?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) || value.contains(['\r', '\n']) {
        return Err("it is no header such as `authorization: Bearer x`".to_owned());
    }
    Ok((name.to_owned(), value.trim().to_owned()))
}

/// Reads the number of a worker, of all workers, and of the run.
pub(super) fn worker(text: &str) -> Result<(u32, u32, u32), String> {
    let numbers: Result<Vec<u32>, _> = text.split('/').map(str::parse).collect();
    match numbers.as_deref() {
        Ok([worker, workers, run]) if worker < workers => Ok((*worker, *workers, *run)),
        _ => Err("it is for this program alone".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "these are exact")]
    fn values_have_units() {
        assert_eq!([rate("500/s"), rate("500"), rate("30/m")].map(Result::unwrap), [500.0, 500.0, 0.5]);
        assert_eq!([percent("10%"), percent("2.5")].map(Result::unwrap), [10.0, 2.5]);
        assert_eq!((topics("own"), topics("3")), (Ok(Topics::Own), Ok(Topics::Count(3))));
        assert_eq!(address("http://127.0.0.1:8080/").unwrap().to_string(), "127.0.0.1:8080");
        assert_eq!(address("127.0.0.1").unwrap().to_string(), "127.0.0.1:80");
        assert_eq!(header("a-b: c:d").unwrap(), ("a-b".to_owned(), "c:d".to_owned()));
        assert_eq!(worker("1/3/99"), Ok((1, 3, 99)));
    }

    #[test]
    fn what_is_none_is_told() {
        for wrong in ["", "0", "-1/s", "5/h", "x/s", "inf"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        for wrong in ["101%", "x", "-1"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
        assert!(topics("0").is_err() && address("https://x").unwrap_err().contains("TLS"));
        assert!(header("a b: c").is_err() && header("ab").is_err() && worker("3/3/1").is_err());
    }
}
