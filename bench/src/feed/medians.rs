//! What several servers did, in columns.

use postern_tests::{Table, median};

use crate::{output::print, server::Kind};

/// A figure: its name, where it is in what was measured, and how many digits after the point are shown.
pub(crate) type Figure<M> = (&'static str, fn(&M) -> f64, usize);

/// Prints the medians of the rounds of each server.
pub(crate) fn print_medians<M>(title: String, kinds: &[Kind], measured: &[Vec<M>], figures: &[Figure<M>]) {
    let mut table = Table::new(title);
    table.row("", kinds.iter().map(|kind| kind.name().to_owned()));
    for (name, figure, digits) in figures {
        let medians = measured.iter().map(|rounds| median(rounds.iter().map(figure).collect()));
        table.row(name, medians.map(|value| format!("{value:.digits$}")));
    }
    print(&table);
}
