//! Finding the frames in a stream, and repairing those that need it.
//!
//! A frame is its type (1 byte), channel (2), the size of its payload (4), the payload, and an end mark (AMQP 0-9-1,
//! section 4.2.3). Only content headers, and the few methods that carry foreign text, are looked at, and those must be
//! there whole; bodies and everything else are not even touched. A stream that is not AMQP is left alone.

use std::collections::HashSet;

use super::{
    fields::{has_foreign_text, repair_method, repair_properties, strip_headers},
    method::{CHANNEL_CLOSE, CHANNEL_CLOSE_OK, CHANNEL_OPEN_OK, TUNE, method},
};

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const END: u8 = 0xCE;

/// Type, channel and size.
const HEAD: usize = 1 + 2 + 4;

/// What a frame has besides its payload.
const OVERHEAD: usize = HEAD + 1;

/// The class of all messages.
const BASIC: [u8; 2] = 60_u16.to_be_bytes();

/// If the broker allows less than this, the library takes this for the largest frame.
const LEAST_ALLOWED: u32 = 8192;

/// A larger frame is not repaired: 16 MiB is the largest message that RabbitMQ 4 takes unless told otherwise.
const MAX_KEPT: usize = 16 << 20;

/// What a look at the next bytes of the stream came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// So many bytes are ready for the library.
    pub(super) ready: usize,
    /// The others are to be looked at again, once there are exactly so many of them; 0 if there are none.
    pub(super) needed: usize,
    /// Whether anything was repaired.
    pub(super) repaired: bool,
}

/// A place in the stream.
#[derive(Debug)]
pub(super) struct Frames {
    /// What is left of a frame that needs no look.
    passing: usize,
    /// The size in bytes of the largest frame that the library takes.
    largest: u32,
    /// The channels that the broker has closed, by number, until one of the same number is open.
    closed: HashSet<u16>,
    /// The stream is not AMQP, or this lost its place in it.
    foreign: bool,
}

/// What to do with what begins with a frame.
enum Next {
    Pass(usize),
    Want(usize),
    LeaveAlone,
}

impl Frames {
    /// Starts at the beginning of a connection that allows frames of this size, unless the broker allows less; none and
    /// 0 leave it to the broker.
    pub(super) fn new(frame_max: Option<u32>) -> Self {
        let largest = frame_max.filter(|size| *size > 0).unwrap_or(u32::MAX);
        Self { passing: 0, largest, closed: HashSet::new(), foreign: false }
    }

    /// Repairs what it can of the next bytes of the stream.
    ///
    /// They begin where the last call stopped passing. If they are exactly as many as that one wanted, then either all
    /// of them pass now, or none, and more are wanted.
    pub(super) fn sanitize(&mut self, bytes: &mut [u8]) -> Progress {
        let mut progress = Progress { ready: 0, needed: 0, repaired: false };
        while !self.foreign && progress.ready < bytes.len() {
            if self.passing == 0 {
                match self.next(&mut bytes[progress.ready..], &mut progress.repaired) {
                    Next::Pass(size) => self.passing = size,
                    Next::Want(size) => return Progress { needed: size, ..progress },
                    Next::LeaveAlone => self.foreign = true,
                }
            }
            let passed = self.passing.min(bytes.len() - progress.ready);
            self.passing -= passed;
            progress.ready += passed;
        }
        Progress { ready: bytes.len(), ..progress }
    }

    fn next(&mut self, bytes: &mut [u8], repaired: &mut bool) -> Next {
        let kind = bytes[0];
        if !matches!(kind, METHOD | HEADER | BODY | HEARTBEAT) {
            return Next::LeaveAlone;
        }
        let Some([_, _, _, size @ ..]) = bytes.first_chunk::<HEAD>() else { return Next::Want(HEAD) };
        let Ok(size) = usize::try_from(u32::from_be_bytes(*size)) else { return Next::LeaveAlone };
        let whole = size.saturating_add(OVERHEAD);
        let looks_at = match kind {
            METHOD if size < 4 => false,
            METHOD => match bytes.get(HEAD..HEAD + 4) {
                Some(id) => {
                    let id = method(id);
                    has_foreign_text(id) || matches!(id, TUNE | CHANNEL_OPEN_OK | CHANNEL_CLOSE | CHANNEL_CLOSE_OK)
                }
                None => return Next::Want(HEAD + 4),
            },
            kind => kind == HEADER,
        };
        if !looks_at || whole > MAX_KEPT {
            return Next::Pass(whole);
        }
        let Some(frame) = bytes.get_mut(..whole) else { return Next::Want(whole) };
        if frame.ends_with(&[END]) {
            *repaired |= self.repair(frame);
        }
        Next::Pass(whole)
    }

    /// Repairs a whole frame; returns whether it changed anything.
    fn repair(&mut self, frame: &mut [u8]) -> bool {
        let (whole, kind, channel) = (frame.len(), frame[0], u16::from_be_bytes([frame[1], frame[2]]));
        let payload = &mut frame[HEAD..whole - 1];
        if kind == METHOD {
            let (id, arguments) = payload.split_at_mut(4);
            match method(id) {
                TUNE => self.tune(arguments),
                CHANNEL_CLOSE => _ = self.closed.insert(channel),
                CHANNEL_OPEN_OK => _ = self.closed.remove(&channel),
                CHANNEL_CLOSE_OK if self.closed.contains(&channel) => {
                    fill(frame, self.largest);
                    return true;
                }
                _ => {}
            }
            return repair_method(method(id), arguments);
        }
        if !payload.starts_with(&BASIC) {
            return false;
        }
        let (changed, headers) = repair_properties(payload);
        let too_large = u32::try_from(whole).is_ok_and(|whole| whole > self.largest);
        match headers {
            // What takes the place of the headers is a frame of its own and cannot be smaller than one.
            Some(headers) if (too_large || !headers.readable) && headers.place.len() >= OVERHEAD => {
                let size = strip_headers(payload, headers.place);
                write_head(frame, size);
                fill(&mut frame[size + OVERHEAD..], self.largest);
                true
            }
            _ => changed,
        }
    }

    /// Concludes from the broker's offer (most channels, largest frame, heartbeat) what the library does.
    fn tune(&mut self, arguments: &[u8]) {
        if let [_, _, a, b, c, d, ..] = *arguments {
            let offered = u32::from_be_bytes([a, b, c, d]);
            if offered != 0 && offered < self.largest {
                self.largest = offered.max(LEAST_ALLOWED);
            }
        }
    }
}

/// Writes the size of the payload, and the mark after it.
fn write_head(frame: &mut [u8], size: usize) {
    let size_bytes = u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
    frame[HEAD - size_bytes.len()..HEAD].copy_from_slice(&size_bytes);
    frame[HEAD + size] = END;
}

/// Fills at least [`OVERHEAD`] bytes with frames that say nothing: heartbeats, whose payload is not read.
fn fill(mut gap: &mut [u8], largest: u32) {
    let largest = usize::try_from(largest).unwrap_or(usize::MAX);
    while !gap.is_empty() {
        let mut whole = gap.len().min(largest);
        // The last one needs as much as a frame needs.
        if (1..OVERHEAD).contains(&(gap.len() - whole)) {
            whole -= OVERHEAD;
        }
        let (frame, rest) = gap.split_at_mut(whole);
        frame[..HEAD - 4].copy_from_slice(&[HEARTBEAT, 0, 0]);
        write_head(frame, whole - OVERHEAD);
        gap = rest;
    }
}

#[cfg(test)]
mod tests;
