//! Which mailboxes are noted, by their node: if one of a node cannot be reached yet, the others cannot either.

use std::collections::{HashMap, HashSet};

use events::ClientId;

/// How many mailboxes are noted; about 20 MB if all of them have the longest names.
pub(super) const MAX_NOTES: usize = 100_000;

/// Which gateway has met a mailbox out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    Here,
    Elsewhere,
}

/// A mailbox that is noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) client: ClientId,
    /// Its node; empty if the broker did not name one.
    pub(super) node: Box<str>,
    pub(super) origin: Origin,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Each mailbox is in one of them.
    groups: HashMap<(Origin, Box<str>), HashSet<ClientId>>,
    count: usize,
}

impl Notes {
    /// Adds a mailbox, and tells whether that is new; `None` if there is no room. What was met here counts more than what
    /// was heard.
    pub(super) fn add(&mut self, note: Note) -> Option<bool> {
        let Note { client, node, mut origin } = note;
        let before = self.take(&client);
        if before.is_none() && self.count >= MAX_NOTES {
            return None;
        }
        let was_met = before.as_ref().is_some_and(|before| before.origin == Origin::Here);
        let is_new = origin == Origin::Here && !was_met || before.is_none();
        if was_met {
            origin = Origin::Here;
        }
        self.groups.entry((origin, node)).or_default().insert(client);
        self.count += 1;
        Some(is_new)
    }

    /// Takes a mailbox out.
    pub(super) fn take(&mut self, client: &ClientId) -> Option<Note> {
        let of_client = |((origin, node), clients): (&(Origin, Box<str>), &mut HashSet<ClientId>)| {
            let client = clients.take(client)?;
            Some(Note { client, node: node.clone(), origin: *origin })
        };
        let note = self.groups.iter_mut().find_map(of_client)?;
        self.groups.retain(|_, clients| !clients.is_empty());
        self.count -= 1;
        Some(note)
    }

    /// Takes out any mailbox of a node.
    pub(super) fn next(&mut self, origin: Origin, node: &str) -> Option<Note> {
        let client = self.groups.get(&(origin, node.into()))?.iter().next()?.clone();
        self.take(&client)
    }

    /// Returns the nodes of which mailboxes are noted.
    pub(super) fn nodes(&self, origin: Origin) -> Vec<Box<str>> {
        self.groups.keys().filter(|(of, _)| *of == origin).map(|(_, node)| node.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin::*, *};

    fn note(client: &str, node: &str, origin: Origin) -> Note {
        Note { client: client.parse().unwrap(), node: node.into(), origin }
    }

    #[test]
    fn a_mailbox_is_noted_once_under_what_is_known_of_its_node() {
        let mut all = Notes::default();
        assert_eq!(all.add(note("alice", "", Here)), Some(true));
        assert_eq!(all.add(note("alice", "a@host", Here)), Some(false));
        assert_eq!(all.add(note("bob", "b@host", Here)), Some(true));
        let mut named = all.nodes(Here);
        named.sort();
        assert_eq!(named, ["a@host", "b@host"].map(Box::from));
        assert_eq!(all.next(Here, "a@host"), Some(note("alice", "a@host", Here)));
        assert_eq!((all.next(Here, "a@host"), all.take(&"alice".parse().unwrap())), (None, None));
        assert_eq!(all.take(&"bob".parse().unwrap()), Some(note("bob", "b@host", Here)));
        assert_eq!((all.nodes(Here), all.count), (vec![], 0));
    }

    #[test]
    fn what_was_met_counts_more_than_what_was_heard() {
        let mut all = Notes::default();
        assert_eq!(all.add(note("alice", "a@host", Elsewhere)), Some(true));
        assert_eq!(all.add(note("alice", "a@host", Here)), Some(true));
        assert_eq!(all.add(note("alice", "a@host", Elsewhere)), Some(false));
        assert_eq!((all.nodes(Here).len(), all.nodes(Elsewhere).len()), (1, 0));
    }

    #[test]
    fn notes_are_bounded() {
        let mut all = Notes::default();
        assert!((0..MAX_NOTES).all(|number| all.add(note(&format!("c{number}"), "", Here)) == Some(true)));
        assert_eq!(all.add(note("one-too-many", "a@host", Here)), None);
        assert_eq!(all.add(note("c7", "a@host", Here)), Some(false), "one that is there");
    }
}
