//! When the end of what a client sends is told to hyper.
//!
//! A client may end its side of the connection when its request is out, and read on (`nc -N`, socat; a half-closed
//! connection, RFC 9293, section 3.6). hyper takes the end for a client that is gone and drops the handler. For a poll
//! or a stream that is right: a client that hangs up looks the same. Any other request is answered in a moment, so the
//! end is kept from hyper until the answer is written. An end in the middle of a body is told.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    task::{Context, Waker},
};

/// The end is told at once: nothing was asked, or a poll, or the answer is written.
const TOLD: u8 = 0;
/// The handler reads a body, which may be whole already.
const BODY: u8 = 1;
/// The request is whole, and is being answered.
const ANSWERING: u8 = 2;
/// The answer is there, and is to be written.
const WRITING: u8 = 3;

/// How far the request of a connection of HTTP/1 is.
#[derive(Debug, Default)]
pub(crate) struct HalfClose(AtomicU8);

impl HalfClose {
    /// A request came for which the end means that its client is gone.
    pub(crate) fn tell(&self) {
        self.0.store(TOLD, Ordering::Release);
    }

    /// A request came whose body is to be read.
    pub(crate) fn await_body(&self) {
        self.0.store(BODY, Ordering::Release);
    }

    /// A whole request came, or the rest of one.
    pub(crate) fn await_answer(&self) {
        self.0.store(ANSWERING, Ordering::Release);
    }

    /// The answer is handed to hyper.
    pub(crate) fn answered(&self) {
        // A poll stays as it is: what became of its answer matters.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |at| (at != TOLD).then_some(WRITING));
    }

    /// All that hyper had was written out.
    fn written(&self) {
        let _ = self.0.compare_exchange(WRITING, TOLD, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// The end of a client's side, once it was seen.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    was_kept: bool,
    reader: Option<Waker>,
}

impl Ending {
    /// Tells whether the end, which was read just now, is kept from hyper.
    ///
    /// hyper reads on as soon as it has handed the last of a body to the handler, which has not seen it yet. So the
    /// first time the handler gets its turn, in this same task. If the body is not whole after that, it never will be.
    pub(crate) fn is_kept(&mut self, from: &HalfClose, cx: &Context<'_>) -> bool {
        match from.0.load(Ordering::Acquire) {
            TOLD => false,
            BODY if self.was_kept => false,
            BODY => {
                self.was_kept = true;
                cx.waker().wake_by_ref();
                true
            }
            _ => {
                self.reader = Some(cx.waker().clone());
                true
            }
        }
    }

    /// Has hyper read the end, if it was kept for an answer that is written now.
    pub(crate) fn written(&mut self, from: &HalfClose) {
        from.written();
        if from.0.load(Ordering::Acquire) == TOLD
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_as_long_as_an_answer_is_due() {
        let cx = Context::from_waker(Waker::noop());
        let (half_close, mut ending) = (HalfClose::default(), Ending::default());
        let mut kept_after = |step: fn(&HalfClose)| {
            step(&half_close);
            let is_kept = ending.is_kept(&half_close, &cx);
            ending.written(&half_close);
            is_kept
        };
        assert!(!kept_after(|_| ()), "nothing was asked");
        assert!(!kept_after(HalfClose::tell));
        assert!(!kept_after(HalfClose::answered), "a poll");
        assert!(kept_after(HalfClose::await_body), "the handler has its turn");
        assert!(!kept_after(|_| ()), "the body is not whole");
        assert!(kept_after(HalfClose::await_answer));
        assert!(kept_after(|_| ()), "what was written was no answer");
        assert!(kept_after(HalfClose::answered));
        assert!(!kept_after(|_| ()), "the answer is written");
    }
}
