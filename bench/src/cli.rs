//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{access, catchup, crowd, fanout, feed, feed_cache, fleet, hold, mailbox, publish, start, store, suite};

const EXAMPLES: &str = "\
Examples:
  tests/bench                                  all of them; takes some 40 minutes
  tests/bench all --only feed,mailbox --html report.html
  tests/bench crowd --clients 5000
  tests/bench feed --without-nchan --clients 1000 --rounds 1

How to read it:
  The machine's load moves every number, so both sides take turns, and only their ratio within one run counts.
  Each row has the medians of the rounds, and the median of the ratios of the rounds.";

/// Measures Postern beside other programs. tests/bench installs what it needs and builds it
#[derive(Debug, Parser)]
#[command(name = "bench", version, after_help = EXAMPLES, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) part: Part,

    /// Write the rows as JSON into this file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write them as a page into this file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Measure a debug build, whose figures mean little
    #[arg(long, global = true)]
    pub(crate) debug_build: bool,
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// All of the following but fanout, each in a process of its own, and one table
    All(suite::Options),
    Mailbox(mailbox::Options),
    Crowd(crowd::Options),
    Fleet(fleet::Options),
    Feed(feed::Options),
    FeedCache(feed_cache::Options),
    Hold(hold::Options),
    Catchup(catchup::Options),
    Start(start::Options),
    Publish(publish::Options),
    Store(store::Options),
    Access(access::Options),
    Fanout(fanout::Options),
}
