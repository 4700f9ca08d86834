use super::*;
use crate::report::{Limit, Quantiles, Watched};

fn report() -> Report {
    let latency = Quantiles { count: 100, p50: 1.5, p90: 3.0, p99: 20.0, p999: 40.0, max: 55.0, mean: 2.0 };
    let second = |at: u32| Second {
        at: f64::from(at),
        waiting: 900,
        established: 1000,
        sent: 10.0,
        received: 9e3,
        errors: 0.0,
        latency,
    };
    let sample =
        |at: u32| Sample { at: f64::from(at), cores: 0.4, memory: 30 << 20, written: 1e4, ..Sample::default() };
    Report {
        target: "<b>mine</b> at 127.0.0.1:8080".to_owned(),
        steps: vec![StepReport { clients: 1000, latency, received: 90_000, seconds: 10.0, ..StepReport::default() }],
        series: (0..2000).map(second).collect(),
        curve: vec![(0.0, 0.2), (0.5, 1.5), (0.99, 20.0), (1.0, 55.0)],
        watched: vec![Watched { pid: 7, name: "gateway".to_owned(), samples: (0..30).map(sample).collect() }],
        ..Report::default()
    }
}

#[test]
fn a_page_needs_nothing_else_and_escapes_what_it_shows() {
    let page = html(&report());
    for part in ["<script", "src=", "href=", "url(", "@import", "<b>mine"] {
        assert!(!page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<svg").count(), 9);
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("Passed"));
    assert!(page.len() < 400_000, "{}", page.len());
}

#[test]
fn a_page_tells_a_limit_and_what_failed() {
    let mut report = report();
    report.failures.push("1000 clients: 3 events lost".to_owned());
    let (of, conditions) = ("clients", vec!["p99=50ms".to_owned()]);
    report.limit =
        Some(Limit { of, conditions, holds: Some(1900.0), fails: Some((2000.0, "p99=50ms: it was 61 ms".to_owned())) });
    let page = html(&report);
    assert!(
        page.contains("<b>1900 clients</b> with p99=50ms") && page.contains("2000 failed: p99=50ms: it was 61 ms"),
        "{page}"
    );
    assert!(page.contains("Failed: 1000 clients: 3 events lost") && !page.contains("Passed"));
}

#[test]
fn a_page_of_a_run_that_saw_nothing_is_a_page() {
    let page = html(&Report::default());
    assert!(page.ends_with("</html>\n") && !page.contains("<svg"));
}
