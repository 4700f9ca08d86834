//! What a process has used, by proc(5).

use std::fs;

/// Ticks per second in which the kernel counts CPU time towards programs (`USER_HZ`): 100 on every common machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// Returns the CPU seconds that a process has used, in user and kernel mode, over all its threads.
pub fn cpu_seconds(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold anything; after it come field 3 and so on, of which 14 and 15 are the times.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(14 - 3);
    let (user, kernel): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + kernel) / TICKS_PER_SECOND)
}

/// Returns the children of a process.
pub fn children(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Returns the resident memory of a process in bytes.
pub fn resident_bytes(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0)
}
