//! How long a mailbox is kept without a reader.

use std::time::Duration;

use events::ClientId;

/// Spreads the expiry by ±10 %, so that mailboxes which were left together do not expire together; equal for a client
/// on every gateway and after every start.
#[must_use]
pub fn spread(expiry: Duration, client: &ClientId) -> Duration {
    let share = f64::from(crc32fast::hash(client.as_str().as_bytes())) / f64::from(u32::MAX);
    expiry.mul_f64(0.9 + 0.2 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_spread_but_the_same_for_a_client_everywhere() {
        let of = |client: &str| spread(Duration::from_hours(24), &client.parse().unwrap()).as_millis();
        assert_eq!(of("alice"), of("alice"));
        let all: Vec<u128> = (0..1000).map(|n| of(&format!("client-{n}"))).collect();
        let (low, high) = (all.iter().min().unwrap(), all.iter().max().unwrap());
        assert!((77_760_000..79_000_000).contains(low), "{low}");
        assert!((94_000_000..=95_040_000).contains(high), "{high}");
    }
}
