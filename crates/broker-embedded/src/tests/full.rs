//! Batches that could not be written.

use std::{
    fs,
    sync::{Arc, mpsc},
};

use events::{ClientId, Payload};
use futures_util::FutureExt;
use tokio::sync::{Semaphore, oneshot, watch};

use super::{
    super::{
        command::{Command, Task},
        position::Position,
        repeats::Repeats,
        shared::{Handle, Shared},
        state::BrokerState,
        store::{Store, StoreError},
        writer::Writer,
    },
    world::{event, options},
};
use crate::testing::Folder;

/// A writer that works when it is told to, on a disk that can be full.
struct Bench {
    folder: Folder,
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    writer: Writer,
}

impl Bench {
    fn new() -> Self {
        let folder = Folder::new();
        let options = options(&folder, 1000);
        let (store, recovered) = Store::open(folder.path(), options.retention).unwrap();
        let state = BrokerState::new(recovered.log, recovered.mailboxes);
        let shared = Arc::new(Shared::new(state, store, recovered.clock, Arc::default()));
        let (commands, receiver) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&shared), receiver, Repeats::default(), options.mailboxes);
        Self { folder, shared, commands, writer }
    }

    fn send(&self, task: Task) -> oneshot::Receiver<Result<(), StoreError>> {
        let (done, answer) = oneshot::channel();
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        self.commands.send(Command { task, done, room }).unwrap();
        answer
    }

    /// From now on there is no room; or there is again.
    fn set_full(&self, full: bool) {
        // A folder stands where the probe for room would be written.
        let probe = self.folder.path().join("room");
        if full {
            let Store::Disk(disk) = &self.shared.store else { panic!("this store is on disk") };
            disk.take_no_more();
            fs::create_dir(probe).unwrap();
        } else {
            fs::remove_dir(probe).unwrap();
        }
    }
}

#[test]
fn a_binding_that_was_refused_beside_a_confirm_is_not_there() {
    let mut bench = Bench::new();
    let client: ClientId = "alice".parse().unwrap();
    let bind = |topic: &str| Task::Bind(client.clone(), vec![topic.parse().unwrap()], false);
    let publish = |topic: &str| Task::publish([event(topic.parse().unwrap(), 0)]);
    bench.send(bind("a"));
    bench.send(publish("a"));
    bench.writer.step();

    bench.set_full(true);
    let mut refused: Vec<_> = (0..3).map(|_| bench.send(publish("x"))).collect();
    refused.push(bench.send(bind("b")));
    let mut confirmed = bench.send(Task::Confirm(client.clone(), Position::of_event(0)));
    bench.writer.step();
    assert!(refused.iter_mut().all(|answer| answer.try_recv().unwrap().is_err()));
    assert!(confirmed.try_recv().unwrap().is_err());
    {
        let state = bench.shared.state();
        let mailbox = state.mailbox(&client).unwrap();
        assert!(!mailbox.is_bound(&"b".parse().unwrap()), "a refused binding would hold from an offset of the future");
        assert_eq!(mailbox.unconfirmed, Position::of_event(0).next(), "what the client has seen, it has seen");
    }

    bench.set_full(false);
    bench.send(bind("b"));
    let mut stored = bench.send(publish("b"));
    bench.writer.step();
    assert_eq!(stored.try_recv().unwrap(), Ok(()));
    let scan = bench.shared.state().scan(&client, Position::before(0), 64).unwrap();
    assert_eq!(scan.found.iter().map(|found| found.position).collect::<Vec<_>>(), [Position::of_event(1)]);
}

#[test]
fn only_what_was_stored_is_a_repeat_when_it_comes_again() {
    let mut bench = Bench::new();
    let event = event("a".parse().unwrap(), 0);
    let mut publish = |is_full: Option<bool>| {
        if let Some(is_full) = is_full {
            bench.set_full(is_full);
        }
        let mut twice = [bench.send(Task::publish([event.clone()])), bench.send(Task::publish([event.clone()]))];
        bench.writer.step();
        let next = bench.shared.state().log.next();
        (twice.each_mut().map(|answer| answer.try_recv().unwrap().is_ok()), next)
    };
    assert_eq!(publish(Some(true)), ([false; 2], 0));
    assert_eq!(publish(Some(false)), ([true; 2], 1), "both came together");
    assert_eq!(publish(None), ([true; 2], 1), "it is known from before");
    assert_eq!(publish(Some(true)), ([true; 2], 1), "what is stored needs no room");
}

#[tokio::test]
async fn what_waits_to_be_stored_is_bounded_by_bytes_also_when_no_publisher_waits_for_it() {
    let bench = Bench::new();
    let handle = Handle::new(Arc::clone(&bench.shared), bench.commands.clone(), watch::channel(false).1);
    let mut event = event("a".parse().unwrap(), 0);
    event.payload = Payload::of(None, vec![0; 1 << 20]);
    for _ in 0..100 {
        // A publisher asks once and goes; the writer does nothing.
        assert!(handle.submit(Task::publish([event.clone()])).now_or_never().is_none());
    }
    assert!(handle.submit(Task::Delete("alice".parse().unwrap())).now_or_never().is_none());
    let waiting = bench.writer.waiting();
    let published = waiting.iter().filter(|task| matches!(task, Task::Publish(..))).count();
    assert!((60..64).contains(&published), "{published} MiB wait");
    assert!(matches!(waiting.last(), Some(Task::Delete(_))), "what takes no room is not held up");
}
