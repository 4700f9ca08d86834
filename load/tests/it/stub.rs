//! A server of a feed, with faults of which the numbers are known.
//!
//! It speaks as Postern does. What it serves is one list, which every client reads from its own place on, so that each client meets
//! each fault once.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Which events, counted from 1 over the whole run, meet which fault: all those with this remainder by this number.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) dropped: Option<(usize, usize)>,
    pub(crate) repeated: Option<(usize, usize)>,
    pub(crate) repeated_flagged: Option<(usize, usize)>,
    /// Comes after the one that follows it.
    pub(crate) late: Option<(usize, usize)>,
    /// Is not confirmed, but served.
    pub(crate) refused: Option<(usize, usize)>,
    /// Is served, but never answered for.
    pub(crate) silent: Option<(usize, usize)>,
    /// Of all polls: answered with `503` and `Retry-After: 0`.
    pub(crate) unavailable: Option<(usize, usize)>,
    /// Of all polls: reset.
    pub(crate) reset: Option<(usize, usize)>,
    /// Tells the place in the JSON alone, not in a header.
    pub(crate) is_place_in_body: bool,
    /// Answers in chunks.
    pub(crate) is_chunked: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Stub {
    address: SocketAddr,
    served: Arc<Served>,
}

#[derive(Debug, Default)]
struct Served {
    faults: Faults,
    lists: Mutex<HashMap<String, List>>,
    more: Condvar,
    polls: AtomicUsize,
    deleted: AtomicUsize,
}

#[derive(Debug, Default)]
struct List {
    published: usize,
    events: Vec<String>,
    held_back: Option<String>,
}

struct Request {
    method: String,
    path: String,
    is_stream: bool,
    body: String,
}

impl Stub {
    /// Starts one, which ends with the test process.
    pub(crate) fn start(faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let served = Arc::new(Served { faults, ..Served::default() });
        let stub = Self { address: listener.local_addr().expect("it is bound"), served: Arc::clone(&served) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = Arc::clone(&served);
                thread::spawn(move || served.serve(&stream));
            }
        });
        stub
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Publishes as another program would.
    pub(crate) fn publish(&self, path: &str, payload: &str) {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        let length = payload.len();
        let request = format!("POST {path} HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{payload}");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).expect("it answers");
        assert!(line.contains("202"), "{line}");
    }

    /// Returns when so many events have been published, over all topics.
    pub(crate) fn wait_published(&self, count: usize) {
        let published = |lists: &HashMap<String, List>| lists.values().map(|list| list.published).sum::<usize>();
        let lists = self.served.lists.lock().expect("no thread panics");
        drop(self.served.more.wait_while(lists, |lists| published(lists) < count).expect("no thread panics"));
    }

    /// Returns how many polls have come.
    pub(crate) fn polls(&self) -> usize {
        self.served.polls.load(Ordering::Relaxed)
    }

    /// Returns how many clients have said that they leave.
    pub(crate) fn deleted(&self) -> usize {
        self.served.deleted.load(Ordering::Relaxed)
    }
}

fn meets(fault: Option<(usize, usize)>, number: usize) -> bool {
    fault.is_some_and(|(by, rest)| number % by == rest)
}

impl Served {
    /// Serves one connection to its end.
    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read(&mut reader) {
            let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
            let is_served = match request.method.as_str() {
                "POST" => self.publish(path, &request.body, stream),
                "DELETE" => {
                    self.deleted.fetch_add(1, Ordering::Relaxed);
                    answer(stream, "204 No Content", "", "")
                }
                // Which the preface of HTTP/2 begins with.
                "PRI" => answer(stream, "400 Bad Request", "", ""),
                _ => {
                    let value =
                        |name: &str| query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
                    self.poll(path, value("last_seen"), value("wait"), request.is_stream, stream)
                }
            };
            if is_served.is_none() {
                return;
            }
        }
    }

    fn publish(&self, path: &str, payload: &str, stream: &TcpStream) -> Option<()> {
        let mut lists = self.lists.lock().expect("no thread panics");
        let list = lists.entry(path.to_owned()).or_default();
        list.published += 1;
        let (number, faults) = (list.published, self.faults);
        let event = |flag: &str| format!("{{\"data\":{payload}{flag}}}");
        if meets(faults.late, number) {
            list.held_back = Some(event(""));
        } else if !meets(faults.dropped, number) {
            list.events.push(event(""));
            if meets(faults.repeated, number) {
                list.events.push(event(""));
            }
            if meets(faults.repeated_flagged, number) {
                list.events.push(event(",\"redelivered\":true"));
            }
            let held_back = list.held_back.take();
            list.events.extend(held_back);
        }
        drop(lists);
        self.more.notify_all();
        if meets(faults.silent, number) {
            return Some(());
        }
        if meets(faults.refused, number) {
            return answer(stream, "503 Service Unavailable", "retry-after: 0\r\n", "");
        }
        answer(stream, "202 Accepted", "", "{}")
    }

    fn poll(
        &self,
        path: &str,
        place: Option<&str>,
        wait: Option<&str>,
        is_stream: bool,
        stream: &TcpStream,
    ) -> Option<()> {
        let number = self.polls.fetch_add(1, Ordering::Relaxed) + 1;
        if meets(self.faults.unavailable, number) {
            return answer(stream, "503 Service Unavailable", "retry-after: 0\r\n", "no");
        }
        if meets(self.faults.reset, number) {
            rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).ok()?;
            return None;
        }
        let mut lists = self.lists.lock().expect("no thread panics");
        let end = |lists: &HashMap<String, List>| lists.get(path).map_or(0, |list| list.events.len());
        let mut place = place.and_then(|place| place.parse().ok()).unwrap_or_else(|| end(&lists));
        if is_stream {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            (&mut &*stream).write_all(head.as_bytes()).ok()?;
            loop {
                lists = self.more.wait_while(lists, |lists| end(lists) <= place).expect("no thread panics");
                let events = lists[path].events[place..].to_vec();
                drop(lists);
                for event in events {
                    place += 1;
                    let block = format!("id: {place}\ndata: {event}\n\n");
                    // Two chunks, cut in the middle.
                    for part in [&block[..9], &block[9..]] {
                        (&mut &*stream).write_all(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes()).ok()?;
                    }
                }
                lists = self.lists.lock().expect("no thread panics");
            }
        }
        if wait != Some("0") {
            let hold = Duration::from_secs(20);
            lists = self.more.wait_timeout_while(lists, hold, |lists| end(lists) <= place).expect("no thread panics").0;
        }
        let events = lists.get(path).map_or(&[][..], |list| &list.events[place.min(list.events.len())..]);
        let next = place + events.len();
        let body = format!("{{\"events\":[{}],\"next\":{next}}}", events.join(","));
        drop(lists);
        let header = format!("last-seen: {next}\r\n");
        let header = if self.faults.is_place_in_body { "" } else { &header };
        if next == place && !self.faults.is_place_in_body {
            return answer(stream, "204 No Content", header, "");
        }
        if self.faults.is_chunked {
            let (one, two) = body.split_at(body.len() / 2);
            let chunks = format!("{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
            let head = format!("HTTP/1.1 200 OK\r\n{header}transfer-encoding: chunked\r\n\r\n");
            return (&mut &*stream).write_all((head + &chunks).as_bytes()).ok();
        }
        answer(stream, "200 OK", header, &body)
    }
}

fn answer(mut stream: &TcpStream, status: &str, headers: &str, body: &str) -> Option<()> {
    let length = if status.starts_with("204") { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    stream.write_all(format!("HTTP/1.1 {status}\r\n{headers}{length}\r\n{body}").as_bytes()).ok()
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace().map(ToOwned::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let (mut length, mut is_stream) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
        is_stream |= line == "accept: text/event-stream";
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, is_stream, body: String::from_utf8(body).ok()? })
}
