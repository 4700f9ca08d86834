//! What came of a run. As JSON it is one object, whose fields are these.

pub(crate) mod html;
pub(crate) mod text;

use std::collections::BTreeMap;

use serde::Serialize;

pub use crate::record::Quantiles;

/// See the module. Times are in seconds since the start of the run, latencies in milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The version of this tool.
    pub version: &'static str,
    /// When the run began (RFC 3339).
    pub started: String,
    /// How it was asked for.
    pub command: String,
    /// The server, for people.
    pub target: String,
    /// How it was read.
    pub read: String,
    /// Each number of clients, or rate, in turn.
    pub steps: Vec<StepReport>,
    /// What was found, if a limit was looked for.
    pub limit: Option<Limit>,
    /// Each second of the run.
    pub series: Vec<Second>,
    /// Latencies of the whole run, by the share of events that had at most this.
    pub curve: Vec<(f64, f64)>,
    /// What the processes used that were looked at.
    pub watched: Vec<Watched>,
    /// What this tool used itself.
    pub own: Own,
    /// What a reader has to know, such as a limit that was met.
    pub notes: Vec<String>,
    /// Why the run did not pass.
    pub failures: Vec<String>,
    /// The run was ended by a signal.
    pub is_interrupted: bool,
}

/// One step.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StepReport {
    /// How many clients there were to be.
    pub clients: u32,
    /// How many of them had a place, or a first poll.
    pub established: u32,
    /// How many publishers there were.
    pub publishers: u32,
    /// Events a second that were to be sent, if that was fixed.
    pub rate: Option<f64>,
    /// When publishing began.
    pub began: f64,
    /// For how long it went on.
    pub seconds: f64,
    /// Events that were sent.
    pub sent: u64,
    /// Events that were confirmed.
    pub confirmed: u64,
    /// Events that were not confirmed: they may have been stored.
    pub not_confirmed: u64,
    /// Why, by kind.
    pub publish_errors: BTreeMap<String, u64>,
    /// Events that a client had for the first time, over all clients.
    pub received: u64,
    /// Events that a client never had.
    pub lost: u64,
    /// Events that a client had again, said to be repeats.
    pub repeated_flagged: u64,
    /// Events that a client had again, not said to be repeats.
    pub repeated_unflagged: u64,
    /// Events that came after a later one of their stream.
    pub out_of_order: u64,
    /// Events of other programs, or of another run.
    pub foreign: u64,
    /// Answers that told of events which are gone.
    pub resets: u64,
    /// From the time at which an event was to be sent until a client had it; its mean is the average receive time.
    pub latency: Quantiles,
    /// From sending an event to its confirm; its mean is the average send time.
    pub send: Quantiles,
    /// From publishing an event until every client that it concerns has had it and waits again, in lockstep.
    pub rounds: Option<Quantiles>,
    /// Bytes of an answer with events, or of an event of a stream, on average.
    pub bytes_received: f64,
    /// Polls, first ones included.
    pub polls: u64,
    /// Polls a second.
    pub polls_per_second: f64,
    /// Connections, first ones included.
    pub connections: u64,
    /// Connections a second.
    pub connections_per_second: f64,
    /// Events a second that clients had.
    pub received_per_second: f64,
    /// Answers that there is nothing, and polls without an answer by the deadline. They are no errors.
    pub timed_out: u64,
    /// What went wrong while receiving.
    pub receive_errors: u64,
    /// The share of that in all polls.
    pub receive_error_rate: f64,
    /// What went wrong, by kind.
    pub receive_errors_by_kind: BTreeMap<String, u64>,
    /// How often a client hung up, or went away.
    pub left: u64,
}

/// A limit that was looked for.
#[derive(Debug, Clone, Serialize)]
pub struct Limit {
    /// Of what: `clients` or `rate`.
    pub of: &'static str,
    /// The conditions.
    pub conditions: Vec<String>,
    /// The greatest number that met them.
    pub holds: Option<f64>,
    /// The smallest number that did not, with the reason.
    pub fails: Option<(f64, String)>,
}

/// One second of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Second {
    /// When it ended.
    pub at: f64,
    /// Clients that waited.
    pub waiting: u32,
    /// Clients with a place.
    pub established: u32,
    /// Events that were sent, in each second.
    pub sent: f64,
    /// Events that clients had, in each second.
    pub received: f64,
    /// What went wrong, in each second.
    pub errors: f64,
    /// Of the events of this second.
    pub latency: Quantiles,
}

/// A process that was looked at.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Watched {
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// What was seen, each second.
    pub samples: Vec<Sample>,
}

/// What a process used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Sample {
    /// When.
    pub at: f64,
    /// Cores that it kept busy since the sample before.
    pub cores: f64,
    /// Its share of memory in bytes (PSS; the resident memory where that cannot be read).
    pub memory: u64,
    /// Threads.
    pub threads: u64,
    /// Open files.
    pub files: u64,
    /// Bytes read from disks, a second.
    pub read: f64,
    /// Bytes written to disks, a second.
    pub written: f64,
    /// Context switches, a second.
    pub switches: f64,
}

/// What this tool used itself, while it published and until all was received.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Own {
    /// Processes that share the clients.
    pub workers: u32,
    /// Cores that each kept busy, on average.
    pub cores: f64,
    /// The same, in the busiest second.
    pub busiest: f64,
    /// CPU time for each event that a client had, in microseconds.
    pub cpu_micros_per_event: f64,
    /// Memory for each client in bytes: what came on top of that before the first one.
    pub memory_per_client: f64,
    /// How late events were sent, because the loop had something else to do.
    pub lateness: Quantiles,
    /// The longest turn of the loop, in which nothing else was read, in milliseconds.
    pub longest_turn: f64,
}

impl Report {
    /// Tells whether nothing was lost and every condition was met.
    #[must_use]
    pub const fn has_passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// Returns the whole as one line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        // Numbers and texts can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}
