//! The limits of this machine, and what to do about them.

use std::net::IpAddr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    addresses::local_ports,
    options::{LimitOf, Options},
};

/// Open files of a process besides its clients and publishers.
const OTHERS: u64 = 64;

/// The maximum of events a second that are tried.
const MAX_RATE: f64 = 1e7;

/// The maximum of processes that share the clients.
const MAX_WORKERS: u32 = 64;

/// Raises the limit of open files as far as the system allows. Returns what a reader has to know.
pub(crate) fn raise(options: &Options) -> Vec<String> {
    let limit = getrlimit(Resource::Nofile);
    // What fails here is told by the clients that cannot connect.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let mut notes = Vec::new();
    let clients = highest(options);
    let share = u32::try_from(options.behaviour.streams_per_connection.unwrap_or(1)).unwrap_or(u32::MAX);
    let connections = clients.div_ceil(share);
    let (files, workers) = (files(), u64::from(options.workers));
    if files.saturating_mul(workers) < u64::from(connections) {
        notes.push(format!(
            "{clients} clients need more open files than {workers} processes may have ({files} each): raise the limit \
             (ulimit -Hn), or give more --workers"
        ));
    }
    let is_loopback = matches!(options.address.ip(), IpAddr::V4(address) if address.is_loopback());
    if !is_loopback && connections > local_ports() {
        notes.push(format!(
            "{clients} clients need more ports than this address has for one server ({}): raise \
             net.ipv4.ip_local_port_range, or run this tool on several machines",
            local_ports()
        ));
    }
    notes
}

/// Returns how many processes so many clients need.
pub(crate) fn workers(clients: u32) -> u32 {
    let needed = u64::from(clients).div_ceil(files().max(1));
    u32::try_from(needed).unwrap_or(MAX_WORKERS).clamp(1, MAX_WORKERS)
}

/// Returns how many clients so many processes can have.
pub(crate) fn of_processes(workers: u32) -> u32 {
    u32::try_from(files().saturating_mul(u64::from(workers))).unwrap_or(u32::MAX)
}

/// Returns how far a search goes.
pub(crate) fn max(options: &Options, of: LimitOf) -> f64 {
    match of {
        LimitOf::Rate => MAX_RATE,
        LimitOf::Clients => f64::from(highest(options)),
    }
}

fn highest(options: &Options) -> u32 {
    options.max_clients.max(options.clients.iter().copied().max().unwrap_or_default())
}

/// Returns how many clients one process can have.
fn files() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(1 << 20).saturating_sub(OTHERS)
}
