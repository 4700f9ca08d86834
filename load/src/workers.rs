//! Worker processes that share the clients, because one process may not open so many files. Each runs this same program with the same
//! command line and a number of its own; it gets orders on its standard input and tells on its standard output what its clients do,
//! a line of JSON each time. A worker whose input ends ends itself, so that none is left behind.

pub(crate) mod message;
pub(crate) mod worker;

use std::{
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
    time::Duration,
};

use self::message::{Order, Told};
use crate::{
    crowd::Standing,
    record::{Counts, Latencies},
};

/// How many messages of one worker may wait to be read.
const MAX_WAITING: usize = 64;

/// How long a worker may take to end.
const END: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    all: Vec<Worker>,
    /// The number of the last order.
    order: u32,
    recent: Latencies,
    longest_turn: u64,
}

#[derive(Debug)]
struct Worker {
    process: Child,
    input: Option<ChildStdin>,
    told: Receiver<Told>,
    last: Told,
}

impl Workers {
    /// Starts so many.
    pub(crate) fn start(count: u32, run: u32) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let mut workers = Self::default();
        for number in 0..count {
            let mut command = Command::new(&program);
            command.args(std::env::args_os().skip(1)).args(["--worker", &format!("{number}/{count}/{run}")]);
            let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let (input, output) = (process.stdin.take(), process.stdout.take());
            let (sender, told) = sync_channel(MAX_WAITING);
            std::thread::spawn(move || {
                for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()).map_while(Result::ok) {
                    // What is no message was printed by another part of the program.
                    let Ok(told) = serde_json::from_str(&line) else { continue };
                    if sender.send(told).is_err() {
                        return;
                    }
                }
            });
            workers.all.push(Worker { process, input, told, last: Told::default() });
        }
        Ok(workers)
    }

    /// Tells whether there is none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Gives an order to all.
    pub(crate) fn order(&mut self, order: &Order) -> io::Result<()> {
        self.order += 1;
        // It can always be written.
        let line = serde_json::to_string(&(self.order, order)).unwrap_or_default();
        for worker in &mut self.all {
            let input = worker.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
            writeln!(input, "{line}")?;
            input.flush()?;
        }
        Ok(())
    }

    /// Takes what they have told. An error: one of them has ended.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        for worker in &mut self.all {
            loop {
                match worker.told.try_recv() {
                    Ok(told) => {
                        if let Some(recent) = told.recent() {
                            self.recent.add_histogram(&recent);
                        }
                        self.longest_turn = self.longest_turn.max(told.longest_turn);
                        worker.last = told;
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        let status = worker.process.wait()?;
                        return Err(io::Error::other(format!("a worker process has ended: {status}")));
                    }
                }
            }
        }
        Ok(())
    }

    /// Tells whether all have obeyed the last order.
    pub(crate) fn is_obeyed(&self) -> bool {
        self.all.iter().all(|worker| worker.last.order == self.order)
    }

    /// Returns how many clients do what.
    pub(crate) fn standing(&self) -> Standing {
        let mut sum = Standing::default();
        for Worker { last: Told { standing, .. }, .. } in &self.all {
            sum.wanted += standing.wanted;
            sum.established += standing.established;
            sum.waiting += standing.waiting;
            sum.away += standing.away;
            sum.missing += standing.missing;
        }
        sum
    }

    /// Returns what they have counted since the start.
    pub(crate) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.all.iter().for_each(|worker| sum.add(&worker.last.counts));
        sum
    }

    /// Takes the latencies since this was last called.
    pub(crate) fn take_recent(&mut self) -> Latencies {
        std::mem::take(&mut self.recent)
    }

    /// Takes the longest turn of any loop since this was last called, in nanoseconds.
    pub(crate) fn take_longest_turn(&mut self) -> u64 {
        std::mem::take(&mut self.longest_turn)
    }

    /// Returns how many events clients lack, once all have obeyed the last order.
    pub(crate) fn lost(&self) -> Option<u64> {
        self.is_obeyed().then(|| self.all.iter().map(|worker| worker.last.lost).sum())
    }

    /// Tells whether all clients have said that they leave.
    pub(crate) fn is_farewell_said(&self) -> bool {
        self.is_obeyed() && self.all.iter().all(|worker| worker.last.is_farewell_said)
    }

    /// Returns the CPU time of all, in nanoseconds.
    pub(crate) fn cpu(&self) -> u64 {
        self.all.iter().map(|worker| worker.last.cpu).sum()
    }

    /// Returns the process ids.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.all.iter().map(|worker| worker.process.id())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for Worker { process, input, told, .. } in &mut self.all {
            *input = None;
            // Its output ends when it does, and so what it tells.
            let ended = |told: &Receiver<Told>| loop {
                match told.recv_timeout(END) {
                    Ok(_) => {}
                    Err(error) => return error == std::sync::mpsc::RecvTimeoutError::Disconnected,
                }
            };
            if !ended(told) {
                let _ = process.kill();
            }
            let _ = process.wait();
        }
    }
}
