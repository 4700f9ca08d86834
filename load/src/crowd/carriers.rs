//! The connections of HTTP/2, each with the streams of a number of clients: of the first so many, the next, and so on.
//!
//! A connection lives as long as a stream is on it. One that the server ends in an orderly way goes on with the answers
//! that it owes, while another one takes the requests that come next.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    rc::{Rc, Weak},
    sync::Arc,
};

use mio::{Registry, Token};

use crate::http::http2::{
    Carrier,
    stream::Stream,
    tasks::{Task, Tasks},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Carriers {
    /// How many clients share a connection.
    share: usize,
    /// What is to be polled.
    tasks: Arc<Tasks>,
    /// By token.
    all: HashMap<usize, Shared>,
    /// The tokens of those that take requests, by share.
    current: HashMap<usize, usize>,
    next: usize,
}

#[derive(Debug)]
struct Shared {
    carrier: Weak<RefCell<Carrier>>,
    /// Of which share.
    number: usize,
}

impl Carriers {
    /// Begins without any.
    pub(super) fn of(share: usize) -> Self {
        let tasks = Arc::default();
        Self { share: share.max(1), tasks, all: HashMap::new(), current: HashMap::new(), next: 0 }
    }

    /// Returns what is to be polled.
    pub(super) const fn tasks(&self) -> &Arc<Tasks> {
        &self.tasks
    }

    /// Makes a stream for a client on the connection that there is.
    pub(super) fn join(&self, client: usize) -> Option<Stream> {
        let token = self.current.get(&(client / self.share))?;
        let carrier = self.all.get(token)?.carrier.upgrade()?;
        let takes_requests = carrier.borrow_mut().takes_requests();
        takes_requests.then(|| self.stream(carrier, client))
    }

    /// Makes a stream for a client on a new connection.
    pub(super) fn open(
        &mut self,
        client: usize,
        address: SocketAddr,
        from: Option<IpAddr>,
        registry: &Registry,
    ) -> io::Result<Stream> {
        let (number, token) = (client / self.share, self.next);
        self.next += 1;
        let waker = self.tasks.waker(Task::Carrier(token));
        let carrier = Rc::new(RefCell::new(Carrier::open(address, from, registry, Token(token), waker)?));
        if let Some(before) = self.current.insert(number, token)
            && self.all.get(&before).is_some_and(|shared| shared.carrier.strong_count() == 0)
        {
            self.all.remove(&before);
        }
        self.all.insert(token, Shared { carrier: Rc::downgrade(&carrier), number });
        self.tasks.put(Task::Carrier(token));
        Ok(self.stream(carrier, client))
    }

    /// Reads and writes what there is on a connection, and puts down the clients that have to look at it.
    pub(super) fn drive(&mut self, token: usize) {
        let Some(Shared { carrier, number }) = self.all.get(&token) else { return };
        let Some(carrier) = carrier.upgrade() else {
            self.all.remove(&token);
            return;
        };
        if carrier.borrow_mut().drive() {
            (number * self.share..(number + 1) * self.share).for_each(|client| self.tasks.put(Task::Client(client)));
        }
    }

    fn stream(&self, carrier: Rc<RefCell<Carrier>>, client: usize) -> Stream {
        let task = Task::Client(client);
        self.tasks.put(task);
        Stream::new(carrier, client % self.share, self.tasks.waker(task))
    }
}
