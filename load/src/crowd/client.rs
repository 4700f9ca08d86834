//! What is kept of one client: some 200 bytes, and what it is sent in parts.

use super::line::Line;
use crate::{http::body::Body, tally::Tally, target::place::Place};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) line: Option<Line>,
    pub(crate) state: State,
    /// When that began, or a stream said something last.
    pub(crate) since: u64,
    /// When it came, or came back after it had been away on purpose.
    pub(crate) came: u64,
    pub(crate) place: Place,
    /// What it has had of each of its streams; none until it waits for the first time.
    pub(crate) tallies: Box<[Tally]>,
    /// The stream that it reads, if that has begun.
    pub(crate) stream: Option<Box<Stream>>,
    /// Which timer to poll counts.
    pub(crate) poll_timer: u32,
    /// Which timer to leave counts.
    pub(crate) leave_timer: u32,
    /// How often it has failed in a row.
    pub(crate) failures: u8,
    /// The first request is answered.
    pub(crate) is_bound: bool,
    /// It hangs up when the next answer comes, without reading it.
    pub(crate) leaves_unread: bool,
    /// It belongs to those that are counted as starting.
    pub(crate) is_starting: bool,
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum State {
    /// It has not come yet, or is gone for good.
    #[default]
    Absent,
    /// It connects.
    Connecting,
    /// It waits for the answer to the first request.
    Binding,
    /// It waits for events.
    Waiting,
    /// It does nothing before it polls again.
    Paused,
    /// It is away, and comes back.
    Away,
    /// It has said that it leaves for good.
    Leaving,
}

/// A stream of Server-Sent Events.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) body: Body,
    /// The beginning of an event.
    pub(crate) rest: Vec<u8>,
    /// How long to stay away when it has ended, in milliseconds.
    pub(crate) retry: u64,
}
