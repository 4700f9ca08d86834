//! What is written of the rows.

use std::{fmt::Write as _, fs, path::Path, thread};

use anyhow::Context;
use postern_tests::Table;
use serde::{Deserialize, Serialize};

use crate::row::{Better, Row};

/// All rows, and what was measured on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    version: String,
    /// Processors that this program may use.
    processors: usize,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    pub(crate) fn of(rows: Vec<Row>) -> Self {
        let processors = thread::available_parallelism().map_or(0, usize::from);
        Self { version: env!("CARGO_PKG_VERSION").to_owned(), processors, rows }
    }

    /// Returns the rows in columns.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(format!("Postern {}, {} processors: medians", self.version, self.processors));
        table.row("", ["Postern", "beside", "ratio", ""].map(str::to_owned).into_iter());
        for row in &self.rows {
            let values = [figure(row.ours), figure(row.theirs), ratio(row), row.beside.clone()];
            table.row(&title(row), values.into_iter());
        }
        table
    }

    pub(crate) fn write_json(&self, file: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_vec_pretty(self)?;
        fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Writes a page that needs nothing else.
    pub(crate) fn write_html(&self, file: &Path) -> anyhow::Result<()> {
        fs::write(file, self.html()).with_context(|| format!("cannot write {}", file.display()))
    }

    fn html(&self) -> String {
        let mut rows = String::new();
        for row in &self.rows {
            let is_better = match row.better {
                Better::Higher => row.ratio.is_some_and(|ratio| ratio >= 1.0),
                // Beside nothing at all there is no ratio, but less is still better.
                Better::Lower => row.ratio.map_or(row.ours <= row.theirs, |ratio| ratio <= 1.0),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                rows,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"{}\">{}</td></tr>",
                escaped(&title(row)),
                figure(row.ours),
                escaped(&row.beside),
                figure(row.theirs),
                if is_better { "better" } else { "worse" },
                ratio(row)
            );
        }
        include_str!("report.html")
            .replace("{version}", &self.version)
            .replace("{processors}", &self.processors.to_string())
            .replace("{rows}", &rows)
    }
}

fn title(row: &Row) -> String {
    if row.unit.is_empty() { row.what.clone() } else { format!("{}, {}", row.what, row.unit) }
}

fn ratio(row: &Row) -> String {
    figure(row.ratio.unwrap_or(f64::NAN))
}

/// Returns a number with as many digits as mean something.
fn figure(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "-".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let row = Row::of("broadcast <x>", ("1/s", Better::Higher), "nchan", vec![90.0], vec![100.0]);
        Report::of(vec![row])
    }

    #[test]
    fn json_is_read_as_it_is_written() {
        let written = serde_json::to_string(&report()).unwrap();
        let read: Report = serde_json::from_str(&written).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), written);
    }

    #[test]
    fn a_page_has_every_row_and_no_place_left() {
        let html = report().html();
        assert!(html.contains("broadcast &lt;x&gt;, 1/s") && html.contains("<td class=\"worse\">0.90</td>"), "{html}");
        assert!(!html.contains("{rows}") && !html.contains("{version}") && !html.contains("{processors}"), "{html}");
    }

    #[test]
    fn a_figure_has_as_many_digits_as_mean_something() {
        assert_eq!([1234.5, 12.34, 1.234, 0.0, f64::NAN].map(figure), ["1234", "12.3", "1.23", "0.00", "-"]);
    }
}
