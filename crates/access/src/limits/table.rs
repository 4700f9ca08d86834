//! The senders that are remembered, from the one that was seen last to the one that was not seen for longest.
//!
//! A list that runs through a vector: to look one up, to move it to the front and to replace the oldest takes the same
//! time however many there are.

use std::collections::HashMap;

use super::{principal::Principal, usage::Usage};

/// How many of the oldest are looked at for one that may be forgotten.
pub(super) const MAX_LOOKED_AT: usize = 16;

/// The end of the list.
const NONE: usize = usize::MAX;

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    max: usize,
    rows: Vec<Row>,
    /// Where each has its row.
    places: HashMap<Principal, usize>,
    newest: usize,
    oldest: usize,
}

#[derive(Debug)]
struct Row {
    principal: Principal,
    usage: Usage,
    newer: usize,
    older: usize,
}

impl Table {
    /// Makes an empty one, which remembers so many.
    pub(super) fn new(max: usize) -> Self {
        Self { max, rows: Vec::new(), places: HashMap::new(), newest: NONE, oldest: NONE }
    }

    /// Returns what a sender has used; nothing of one that is not remembered.
    pub(super) fn get(&self, principal: &Principal) -> Option<&Usage> {
        self.places.get(principal).map(|at| &self.rows[*at].usage)
    }

    /// Returns what a sender has used, which makes it the newest.
    pub(super) fn usage(&mut self, principal: &Principal, now: u64) -> &mut Usage {
        let at = match self.places.get(principal) {
            Some(at) => {
                let at = *at;
                self.take_out(at);
                at
            }
            None => self.add(principal, now),
        };
        self.put_first(at);
        &mut self.rows[at].usage
    }

    /// Gives a sender a row, that of another one if there are as many as there may be. It is not in the list yet.
    fn add(&mut self, principal: &Principal, now: u64) -> usize {
        let forgotten = if self.rows.len() < self.max { None } else { self.forgettable(now) };
        let row = Row { principal: principal.clone(), usage: Usage::default(), newer: NONE, older: NONE };
        let at = if let Some(at) = forgotten {
            self.take_out(at);
            let old = std::mem::replace(&mut self.rows[at], row);
            self.places.remove(&old.principal);
            at
        } else {
            self.rows.push(row);
            self.rows.len() - 1
        };
        self.places.insert(principal.clone(), at);
        at
    }

    /// Returns the oldest that is idle, else the oldest that holds no place. Those that hold one go to the front, or at
    /// the end of the list they would be in the way for as long as they hold it.
    fn forgettable(&mut self, now: u64) -> Option<usize> {
        for _ in 0..=self.rows.len() / MAX_LOOKED_AT {
            let looked_at = self.oldest();
            let idle = looked_at.iter().find(|at| self.rows[**at].usage.is_idle(now));
            let found = idle.or_else(|| looked_at.iter().find(|at| !self.rows[**at].usage.has_places()));
            if let Some(at) = found {
                return Some(*at);
            }
            for at in looked_at {
                self.take_out(at);
                self.put_first(at);
            }
        }
        None
    }

    /// Returns some of the oldest, the oldest first.
    fn oldest(&self) -> Vec<usize> {
        let next = |at: &usize| Some(self.rows[*at].newer).filter(|newer| *newer != NONE);
        let first = Some(self.oldest).filter(|at| *at != NONE);
        std::iter::successors(first, next).take(MAX_LOOKED_AT).collect()
    }

    fn take_out(&mut self, at: usize) {
        let (newer, older) = (self.rows[at].newer, self.rows[at].older);
        match self.rows.get_mut(newer) {
            Some(row) => row.older = older,
            None => self.newest = older,
        }
        match self.rows.get_mut(older) {
            Some(row) => row.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn put_first(&mut self, at: usize) {
        (self.rows[at].newer, self.rows[at].older) = (NONE, self.newest);
        match self.rows.get_mut(self.newest) {
            Some(row) => row.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}
