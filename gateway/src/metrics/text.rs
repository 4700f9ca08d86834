//! The two text formats of metrics: OpenMetrics 1.0, and the classic one of Prometheus, 0.0.4.

/// A format of `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// Prometheus' own, version 0.0.4.
    Classic,
    /// OpenMetrics 1.0, to those that ask for it.
    OpenMetrics,
}

impl TextFormat {
    /// Returns its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes OpenMetrics in the classic format. Samples are the same in both. In OpenMetrics a family of counters is named
/// without the suffix of its samples, and so is one of kind info; the classic format names each family as its samples
/// are named, and has no kind info.
///
/// The library can write the classic format, too, but then the bounds of buckets are written in another way: `10` for
/// `10.0`, which is another series to those that read it.
pub(super) fn classic(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines();
    while let Some(line) = lines.next() {
        let described = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '));
        // The kind follows the help.
        let kind = described.and_then(|_| lines.next()).and_then(|line| line.rsplit_once(' '));
        if let (Some((family, help)), Some((_, kind))) = (described, kind) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            text.extend(["# HELP ", family, suffix, " ", help, "\n# TYPE ", family, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_named_as_their_samples() {
        let open_metrics = "\
# HELP a_requests Requests, a # in between.
# TYPE a_requests counter
a_requests_total{by=\"x y\"} 1
# HELP a_held_seconds How long.
# TYPE a_held_seconds gauge
# UNIT a_held_seconds seconds
a_held_seconds 0.5
# HELP a_build Which.
# TYPE a_build info
a_build_info{version=\"1\"} 1
# EOF
";
        let expected = "\
# HELP a_requests_total Requests, a # in between.
# TYPE a_requests_total counter
a_requests_total{by=\"x y\"} 1
# HELP a_held_seconds How long.
# TYPE a_held_seconds gauge
a_held_seconds 0.5
# HELP a_build_info Which.
# TYPE a_build_info gauge
a_build_info{version=\"1\"} 1
";
        assert_eq!(classic(open_metrics), expected);
    }
}
