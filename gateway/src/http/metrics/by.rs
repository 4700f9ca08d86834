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

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;
    use crate::http::metrics::{Method, Operation, Reading, Request, Source, Status, Transport};

    /// Counts once for each of these, which are all values that there are.
    fn each_counts_for_itself<L: Labels + std::fmt::Debug>(all: &[L]) {
        let metrics = By::<L, Counter>::new(Counter::default);
        assert_eq!(all.len(), L::COUNT);
        for labels in all {
            metrics.of(labels).inc();
        }
        for labels in all {
            assert_eq!(metrics.of(labels).get(), 1, "{labels:?}");
            assert_eq!(metrics.family().get_or_create(labels).get(), 1, "{labels:?}");
        }
    }

    #[test]
    fn values_of_labels_do_not_count_for_each_other() {
        each_counts_for_itself(&Source::ALL.iter().map(|source| [("source", *source)]).collect::<Vec<_>>());
        let readings =
            |source: &Source| Transport::ALL.iter().map(|transport| Reading::of(*source, *transport)).collect();
        each_counts_for_itself(&Source::ALL.iter().flat_map::<Vec<_>, _>(readings).collect::<Vec<_>>());
        let mut requests = Vec::new();
        for route in Operation::ALL {
            for method in Method::ALL {
                requests.extend(Status::ALL.iter().map(|status| Request {
                    route: *route,
                    method: *method,
                    status: *status,
                }));
            }
        }
        each_counts_for_itself(&requests);
    }
}
