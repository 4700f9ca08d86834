//! Metrics by labels that have few values, each of which is looked up once.
//!
//! A request counts in several of them, and a lookup is a lock and a hash of the labels.

use std::{hash::Hash, sync::OnceLock};

use prometheus_client::metrics::family::Family;

use super::label::{Labels, Words};

/// See the module.
#[derive(Debug)]
pub(super) struct By<L, M> {
    family: Family<L, M, fn() -> M>,
    found: Box<[OnceLock<M>]>,
}

impl<L: Labels, M: Clone> By<L, M> {
    /// Has each series begin when it is first asked for.
    pub(super) fn new(new: fn() -> M) -> Self {
        Self { family: Family::new_with_constructor(new), found: (0..L::COUNT).map(|_| OnceLock::new()).collect() }
    }

    /// Returns the metric of these values.
    pub(super) fn of(&self, labels: &L) -> &M {
        self.found[labels.index()].get_or_init(|| self.family.get_or_create(labels).clone())
    }

    /// Returns all of them, to be registered.
    pub(super) fn family(&self) -> Family<L, M, fn() -> M> {
        self.family.clone()
    }
}

/// Makes metrics by a label whose series are all there from the start.
pub(super) fn by<V: Words + Eq + Hash, M: Clone>(label: &'static str, new: fn() -> M) -> By<[(&'static str, V); 1], M> {
    let metrics = By::new(new);
    for value in V::ALL {
        metrics.of(&[(label, *value)]);
    }
    metrics
}
