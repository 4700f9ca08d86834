//! What the client says on standard output.

use std::time::Duration;

use serde_json::json;

/// Says a line at once: another program waits for it.
#[expect(clippy::print_stdout, reason = "the output of a program")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Returns what came of a run, as a line. A round is from the publishing of an event until every client that it
/// concerns has had it and waits again.
pub(crate) fn json(deliveries: u64, rounds: &mut [Duration]) -> String {
    rounds.sort_unstable();
    let seconds: f64 = rounds.iter().map(Duration::as_secs_f64).sum();
    let quantile = |share: usize| rounds.get(rounds.len() * share / 100).map(|round| round.as_secs_f64() * 1e6);
    json!({
        "deliveries": deliveries,
        "seconds": seconds,
        "round_p50_us": quantile(50),
        "round_p99_us": quantile(99),
    })
    .to_string()
}
