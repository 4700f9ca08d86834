//! Children of this program, and what the kernel counts for a process and a folder.

use crate::store::Failure;
use std::{
    collections::BTreeMap,
    env, fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Stdio},
};

/// Makes the command that runs this program as a child.
pub fn child(words: &[&str]) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("child").args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command)
}

/// Runs a child to its end and reads its `name value` lines.
pub fn figures(words: &[&str]) -> Result<BTreeMap<String, f64>, Failure> {
    let output = child(words)?.output()?;
    if !output.status.success() {
        return Err(
            format!("{words:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into()
        );
    }
    String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, value)| Ok((name.to_owned(), value.parse()?)))
        .collect()
}

/// Bytes this process has handed to `write` and caused to be written to a disk.
#[derive(Clone, Copy)]
pub struct Written {
    /// Bytes passed to write calls.
    pub asked: u64,
    /// Bytes of pages that became dirty on a real file system.
    pub disk: u64,
}

impl Written {
    /// Reads the counters of this process.
    pub fn now() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/self/io")?;
        Ok(Self { asked: field(&text, "wchar:"), disk: field(&text, "write_bytes:") })
    }
}

/// Reads the memory that this process holds, and the most it held, in MiB.
pub fn memory() -> io::Result<(f64, f64)> {
    let text = fs::read_to_string("/proc/self/status")?;
    Ok((field(&text, "VmRSS:") as f64 / 1024.0, field(&text, "VmHWM:") as f64 / 1024.0))
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Adds up the disk blocks of a folder, in bytes; a hole in a file counts nothing.
pub fn disk(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A file may go while the folder is read: the engine is at work.
        let Ok(metadata) = entry.metadata() else { continue };
        sum += if metadata.is_dir() { disk(&entry.path()).unwrap_or(0) } else { metadata.blocks() * 512 };
    }
    Ok(sum)
}
