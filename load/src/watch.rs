//! What other processes use, looked at each second on a thread of its own: to read the memory of a large process takes a while.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

use procfs::process::Process;

use crate::{
    clock,
    number::{float, seconds},
    report::{Sample, Watched},
};

/// The maximum of samples of one process: a day.
const MAX_SAMPLES: usize = 86_400;

/// See the module.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Dropped to end it.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<Vec<Watched>>>,
}

/// Counters of a process, at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    at: u64,
    ticks: u64,
    read: u64,
    written: u64,
    switches: u64,
}

impl Watch {
    /// Begins to look at processes; times count from the start of the run.
    pub(crate) fn start(pids: &[u32], start: u64) -> Self {
        let watched: Vec<Watched> =
            pids.iter().map(|pid| Watched { pid: *pid, name: name(*pid), samples: Vec::new() }).collect();
        let (end, ended) = channel();
        let thread = (!pids.is_empty()).then(|| std::thread::spawn(move || look(watched, &ended, start)));
        Self { end: Some(end), thread }
    }

    /// Ends it and returns what was seen.
    pub(crate) fn finish(mut self) -> Vec<Watched> {
        self.end = None;
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

fn look(mut watched: Vec<Watched>, ended: &Receiver<()>, start: u64) -> Vec<Watched> {
    let mut before: BTreeMap<u32, Counters> = BTreeMap::new();
    loop {
        for one in &mut watched {
            let Some((counters, mut sample)) = sample(one.pid, start) else { continue };
            if let Some(before) = before.insert(one.pid, counters)
                && one.samples.len() < MAX_SAMPLES
            {
                let passed = seconds(counters.at - before.at).max(1e-3);
                let since = |now: u64, then: u64| float(now.saturating_sub(then)) / passed;
                sample.cores = since(counters.ticks, before.ticks) / float(procfs::ticks_per_second());
                sample.read = since(counters.read, before.read);
                sample.written = since(counters.written, before.written);
                sample.switches = since(counters.switches, before.switches);
                one.samples.push(sample);
            }
        }
        if ended.recv_timeout(Duration::from_secs(1)) != Err(RecvTimeoutError::Timeout) {
            return watched;
        }
    }
}

fn sample(pid: u32, start: u64) -> Option<(Counters, Sample)> {
    let process = process(pid)?;
    let at = clock::now();
    let state = process.stat().ok()?;
    // Of processes of other users these cannot be read.
    let io = process.io().ok();
    let switches = |status: procfs::process::Status| {
        status.voluntary_ctxt_switches.unwrap_or_default() + status.nonvoluntary_ctxt_switches.unwrap_or_default()
    };
    let tasks = process.tasks().into_iter().flatten().flatten();
    let counters = Counters {
        at,
        ticks: state.utime + state.stime,
        read: io.map_or(0, |io| io.read_bytes),
        written: io.map_or(0, |io| io.write_bytes),
        switches: tasks.filter_map(|task| task.status().ok()).map(switches).sum(),
    };
    let sample = Sample {
        at: seconds(at.saturating_sub(start)),
        memory: memory(pid).unwrap_or_default(),
        threads: u64::try_from(state.num_threads).unwrap_or_default(),
        files: process.fd_count().unwrap_or_default() as u64,
        ..Sample::default()
    };
    Some((counters, sample))
}

/// Returns the share of memory of a process in bytes; where it cannot be read, the resident memory.
pub(crate) fn memory(pid: u32) -> Option<u64> {
    let process = process(pid)?;
    let share = process.smaps_rollup().ok().and_then(|rollup| {
        let map = rollup.memory_map_rollup.0.into_iter().next()?;
        map.extension.map.get("Pss").copied()
    });
    share.or_else(|| Some(process.stat().ok()?.rss * procfs::page_size()))
}

/// Tells whether there is a process.
pub(crate) fn exists(pid: u32) -> bool {
    process(pid).is_some()
}

fn process(pid: u32) -> Option<Process> {
    Process::new(i32::try_from(pid).ok()?).ok()
}

fn name(pid: u32) -> String {
    process(pid).and_then(|process| Some(process.stat().ok()?.comm)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_seen() {
        let pid = std::process::id();
        assert!(exists(pid) && memory(pid).unwrap() > 100_000 && !name(pid).is_empty());
        let (_, sample) = sample(pid, 0).unwrap();
        assert!(sample.threads >= 1 && sample.files >= 3 && sample.at > 0.0, "{sample:?}");
    }
}
