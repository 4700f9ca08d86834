//! All benchmarks, one after the other.
//!
//! Each is a process of its own: what one has freed would hide what the next takes, and one that fails leaves the figures of
//! the others.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};
use clap::Parser;
use postern_tests::{Folder, note};

use crate::{report::Report, row::Row};

/// What is measured, in this order. Fan-out is not: it needs another build to compare with.
const PARTS: [&str; 11] =
    ["mailbox", "crowd", "fleet", "feed", "feed-cache", "hold", "catchup", "start", "publish", "store", "access"];

/// Runs all benchmarks with their own settings.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// Only these, with commas between them
    #[arg(long, value_name = "PARTS", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(PARTS))]
    only: Vec<String>,
}

/// Returns the rows, and the benchmarks that have failed.
pub(crate) fn run(options: &Options) -> (Vec<Row>, Vec<&'static str>) {
    let folder = Folder::new("bench");
    let chosen = PARTS.iter().filter(|part| options.only.is_empty() || options.only.iter().any(|only| only == *part));
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for part in chosen {
        note(&format!("== {part}"));
        match measure(part, folder.path()) {
            Ok(measured) => rows.extend(measured),
            Err(error) => {
                note(&format!("{part} has failed: {error:#}"));
                failed.push(*part);
            }
        }
    }
    (rows, failed)
}

fn measure(part: &str, folder: &Path) -> anyhow::Result<Vec<Row>> {
    let file = folder.join(part).with_extension("json");
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(part).arg("--json").arg(&file);
    if cfg!(debug_assertions) {
        command.arg("--debug-build");
    }
    let status = command.status()?;
    ensure!(status.success(), "{status}");
    let report: Report = serde_json::from_slice(&fs::read(&file)?).context("the rows of a part are JSON")?;
    Ok(report.rows)
}
