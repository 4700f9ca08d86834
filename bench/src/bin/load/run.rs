//! What happens, in which order.

use std::io::stdin;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::Instant;

use super::{crowd::Crowd, options::Options, report};

/// Runs as asked for; fails at the first mistake of the server.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    raise_open_files();
    let mut crowd = Crowd::gather(options)?;
    report::say("waiting");
    if options.events == 0 {
        return crowd.hold();
    }
    let mut rounds = Vec::new();
    if options.publish.is_some() {
        stdin().read_line(&mut String::new()).context("a line on standard input starts the publishing")?;
        for event in 0..options.events {
            let started = Instant::now();
            if options.is_each_its_own() {
                let among = options.among.unwrap_or(options.clients).min(options.clients);
                crowd.publish((event % among) as usize, false)?;
            } else {
                crowd.publish(0, true)?;
            }
            rounds.push(started.elapsed());
        }
        report::say("done");
    } else {
        let started = Instant::now();
        while crowd.reached() < options.events {
            crowd.wait_reached(crowd.reached() + 1)?;
            report::say(&format!("reached {}", crowd.reached()));
        }
        rounds.push(started.elapsed());
    }
    crowd.expect_silence()?;
    report::say(&report::json(crowd.deliveries(), &mut rounds));
    Ok(())
}

/// Raises the limit of open files as far as the system allows; if that is not enough, connecting fails and says so.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
