//! Opening a store and reading all of it, as a mailbox and as a feed.

use std::{
    panic,
    path::Path,
    sync::{Arc, Mutex, Once, mpsc},
    thread,
    time::Duration,
};

use broker::{Broker, Content, Lease, LeaseRequest, handover::Claim, log::EventLog};
use broker_embedded::{EmbeddedBroker, EmbeddedOptions, KeptMailboxes, OpenStoreError, Retention};
use events::{ClientId, Event, TopicPattern};

use super::original;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// The numbers of the events.
    pub(super) in_mailbox: Vec<usize>,
    pub(super) in_feed: Vec<usize>,
    /// Readers were told that events are missing.
    pub(super) mailbox_told: bool,
    pub(super) feed_told: bool,
}

pub(super) fn client() -> ClientId {
    "reader".parse().expect("an id")
}

pub(super) fn pattern() -> TopicPattern {
    "a.#".parse().expect("a pattern")
}

/// What came of opening a store; `None`: a panic of the engine.
type Opened = Option<Result<EmbeddedBroker, OpenStoreError>>;

/// Opens a store; `None` if it is refused.
///
/// As in the gateway, a panic of the engine while it opens is a refusal, and nothing is dropped after it: that may
/// panic, too. So it opens on a thread of its own, which then stays where it is.
pub(super) fn open(folder: &Path) -> Option<EmbeddedBroker> {
    const OPENING: &str = "opening";
    static HOOKED: Once = Once::new();
    static PANICS: Mutex<Option<mpsc::Sender<Opened>>> = Mutex::new(None);
    let options = EmbeddedOptions {
        data_dir: Some(folder.to_owned()),
        mailboxes: KeptMailboxes::all_for(Duration::from_hours(1)),
        retention: Retention { age: Duration::from_hours(1), bytes: 1 << 30 },
        feed_topics: vec![pattern()],
    };
    // Once: a hook that does not return cannot be replaced.
    HOOKED.call_once(|| {
        let aborting = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let is_in = |own: &str| info.location().is_none_or(|place| place.file().contains(own));
            if thread::current().name() != Some(OPENING) || is_in("gateway/") || is_in("events/") {
                aborting(info);
            } else if let Some(panics) = PANICS.lock().ok().and_then(|mut panics| panics.take()) {
                let _ = panics.send(None);
                loop {
                    thread::park();
                }
            }
        }));
    });
    let (ends, end) = mpsc::channel();
    *PANICS.lock().expect("no panic under it") = Some(ends.clone());
    let start = move || _ = ends.send(Some(EmbeddedBroker::start(&options, Arc::default())));
    thread::Builder::new().name(OPENING.to_owned()).spawn(start).expect("a thread");
    let opened = end.recv().expect("it ends, or panics");
    match opened? {
        Ok(broker) => Some(broker),
        Err(error) => {
            let words = error.to_string();
            assert!(words.len() > folder.as_os_str().len(), "it says why: {words}");
            None
        }
    }
}

/// Returns the number of an event, which must be as it was published.
fn number(event: &Event) -> usize {
    let text = std::str::from_utf8(&event.payload).expect("wrong bytes");
    let mut parts = text.split(':').map(str::parse::<usize>);
    let (Some(Ok(number)), Some(Ok(length))) = (parts.next(), parts.next()) else { panic!("wrong bytes") };
    assert!(*event.payload == original::payload(number, length), "wrong bytes in event {number}");
    number
}

/// Reads all of a store and closes it.
pub(super) async fn read(broker: &EmbeddedBroker) -> Read {
    let mut read = Read::default();
    read_feed(broker, &mut read).await;
    read_mailbox(broker, &mut read).await;
    for numbers in [&read.in_feed, &read.in_mailbox] {
        assert!(numbers.is_sorted_by(|a, b| a < b), "out of order: {numbers:?}");
    }
    broker.close().await;
    read
}

async fn read_feed(broker: &EmbeddedBroker, read: &mut Read) {
    let end = broker.log().open_tail(|_, _| {}).await.expect("a store that is open").next;
    let mut from = 0;
    while from < end {
        let searched = broker.log().search(&pattern().into(), from, end, 500).await.expect("a store that is open");
        assert!(searched.reached > from, "a search goes on");
        read.feed_told |= searched.damaged;
        read.in_feed.extend(searched.found.iter().map(|logged| number(&logged.event)));
        from = searched.reached;
    }
}

async fn read_mailbox(broker: &EmbeddedBroker, read: &mut Read) {
    let (client, topics) = (client(), vec![pattern()]);
    let (claim, window) = (Claim::default(), u16::MAX);
    let request = LeaseRequest { client, topics, seen_before: true, last_seen: None, window, claim };
    let mut lease = broker.open(request).await.expect("a store that is open");
    while !matches!(lease.is_drained().await, Ok(true)) {
        match lease.next().await.expect("a lease that is open").content {
            Content::Event(event) => read.in_mailbox.push(number(&event)),
            Content::Created(_) | Content::Lost(_) => read.mailbox_told = true,
        }
    }
    lease.release().await;
}
