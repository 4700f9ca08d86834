//! Compares two embedded storage engines, fjall and redb, in the one way Postern would use them: a single writer that
//! commits everything that waits with one sync, readers that scan ranges, and retention that deletes from the old end.
//!
//! `cargo run --release --manifest-path bench/engines/Cargo.toml -- <command> [folder]`
//!
//! - `bench` (the default): both engines in turn, several rounds, medians and their ratio.
//! - `damage`: fills a store, damages one file, reads everything back, and classes what came of it.
//! - `kill`: kills a store at work again and again, and checks what was acknowledged.
//! - `full`: fills a small file system to its end (give a folder on one, e.g. a tmpfs of 40 MB).
//!
//! Every measurement and every check runs in a child process, so that memory, I/O counters, a panic or a hang belong to
//! one engine and one case.

mod bench;
mod damage;
mod event;
mod full;
mod kill;
mod process;
mod store;

use std::{env, path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [] | ["bench"] => bench::compare(&scratch()),
        ["bench", folder] => bench::compare(&PathBuf::from(folder)),
        ["damage"] => damage::compare(&scratch(), 100),
        ["damage", folder, tries] => {
            tries.parse().map_err(Into::into).and_then(|tries| damage::compare(&PathBuf::from(folder), tries))
        }
        ["kill"] => kill::compare(&scratch(), 40),
        ["kill", folder, rounds] => {
            rounds.parse().map_err(Into::into).and_then(|rounds| kill::compare(&PathBuf::from(folder), rounds))
        }
        ["full", folder] => full::compare(&PathBuf::from(folder)),
        ["child", "bench", rest @ ..] => bench::child(rest),
        ["child", "damage", rest @ ..] => damage::child(rest),
        ["child", "kill", rest @ ..] => kill::child(rest),
        ["child", "full", rest @ ..] => full::child(rest),
        _ => Err("usage: engines [bench [folder] | damage [folder tries] | kill [folder rounds] | full folder]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("engines: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Names a folder on the disk that builds use: the system's temporary folder may be memory, where a sync costs nothing.
fn scratch() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/stores")
}
