//! One client: it polls, checks what it gets, and polls again from there.

use anyhow::ensure;

use super::{
    answer::Answer,
    connection::Connection,
    target::{Place, Style},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Watcher {
    connection: Connection,
    style: Style,
    path: Box<str>,
    /// `None` until the first answer, which tells it.
    place: Option<Place>,
    seen: u32,
}

/// Memory that all clients use, one after the other.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) answer: Vec<u8>,
    pub(crate) request: Vec<u8>,
}

impl Scratch {
    /// Has room for most answers.
    pub(crate) fn new() -> Self {
        Self { answer: Vec::with_capacity(64 * 1024), request: Vec::new() }
    }
}

impl Watcher {
    /// Asks for a place to begin at.
    pub(crate) fn start(
        mut connection: Connection,
        style: Style,
        path: String,
        scratch: &mut Scratch,
    ) -> anyhow::Result<Self> {
        style.ask_first(&path, &mut scratch.request);
        connection.send(&scratch.request)?;
        Ok(Self { connection, style, path: path.into(), place: None, seen: 0 })
    }

    /// Returns how many events it has had: all up to this number.
    pub(crate) const fn seen(&self) -> u32 {
        self.seen
    }

    /// Reads what has come, checks it, and polls again if that was an answer. Tells whether it was the first.
    pub(crate) fn read(&mut self, scratch: &mut Scratch) -> anyhow::Result<bool> {
        let Some(answer) = self.connection.read(&mut scratch.answer)? else { return Ok(false) };
        ensure!([200, 204, 304].contains(&answer.status), "not an answer of a feed: {}", answer.text());
        let is_first = self.place.is_none();
        if !is_first {
            self.check(&answer)?;
        }
        let place = self.place.get_or_insert_default();
        self.style.note(&answer, place)?;
        self.style.ask(&self.path, place, &mut scratch.request);
        self.connection.send(&scratch.request)?;
        Ok(is_first)
    }

    /// Nothing is missing, nothing comes twice, nothing is out of order: each number is that before it and one.
    fn check(&mut self, answer: &Answer) -> anyhow::Result<()> {
        for number in answer.numbers() {
            let expected = self.seen + 1;
            ensure!(
                number == expected,
                "a client of {} got {number} instead of {expected}: {}",
                self.path,
                answer.text()
            );
            self.seen = number;
        }
        Ok(())
    }
}
