//! A server in a gateway's place that misbehaves as a test tells it: what a real gateway does once in a million times.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::Instant,
};

const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";

/// A request that came.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    /// Method and path.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body as text.
    pub body: String,
    /// When it had come.
    pub at: Instant,
}

impl SeenRequest {
    /// Returns the first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// These bytes, at once.
    Bytes(String),
    /// These bytes, when so many requests in all have come.
    After(usize, String),
    /// These bytes, and then an orderly end.
    Last(String),
    /// The end of the connection.
    HangUp,
    /// Nothing.
    Silence,
}

impl Reply {
    /// An answer without a body. The head is a status such as `503 Service Unavailable`, and headers after `\r\n`.
    pub fn status(head: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n"))
    }

    /// What a gateway confirms with.
    pub fn accepted() -> Self {
        Self::Bytes(ACCEPTED.to_owned())
    }

    /// A confirm that waits until so many requests in all have come.
    pub fn accepted_after(requests: usize) -> Self {
        Self::After(requests, ACCEPTED.to_owned())
    }

    /// A confirm, and then an orderly end of the connection without a word about it.
    pub fn accepted_and_closed() -> Self {
        Self::Last(ACCEPTED.to_owned())
    }
}

#[derive(Debug, Default)]
struct Seen {
    requests: Mutex<Vec<SeenRequest>>,
    connections: AtomicUsize,
    closed_by_both: AtomicUsize,
}

/// See the module. Ends when it is dropped.
#[derive(Debug)]
pub struct StubGateway {
    address: SocketAddr,
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

impl StubGateway {
    /// Answers as `script` says, which gets the number of the request, from 0, and the request.
    pub async fn start(script: impl Fn(usize, &SeenRequest) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let seen = Arc::new(Seen::default());
        let (script, count) = (Arc::new(script), watch::Sender::new(0));
        let for_all = Arc::clone(&seen);
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a listener accepts");
                for_all.connections.fetch_add(1, Ordering::Relaxed);
                let (seen, script, count) = (Arc::clone(&for_all), Arc::clone(&script), count.clone());
                connections.spawn(async move {
                    // Whatever goes wrong with a connection is its client's doing.
                    let _ = serve(stream, &seen, &*script, &count).await;
                });
            }
        });
        Self { address, seen, serving }
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns host and port.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the requests that came, in order.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how many connections ended by [`Reply::Last`] their client has closed since.
    pub fn closed_by_both(&self) -> usize {
        self.seen.closed_by_both.load(Ordering::Relaxed)
    }

    /// Returns how many connections were made.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }
}

impl Drop for StubGateway {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    stream: TcpStream,
    seen: &Seen,
    script: &(impl Fn(usize, &SeenRequest) -> Reply + Sync),
    count: &watch::Sender<usize>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await? {
        let number = {
            let mut requests = seen.requests.lock().unwrap_or_else(PoisonError::into_inner);
            requests.push(request.clone());
            requests.len() - 1
        };
        count.send_modify(|count| *count += 1);
        match script(number, &request) {
            Reply::Bytes(bytes) => stream.write_all(bytes.as_bytes()).await?,
            Reply::After(requests, bytes) => {
                let _ = count.subscribe().wait_for(|count| *count >= requests).await;
                stream.write_all(bytes.as_bytes()).await?;
            }
            Reply::Last(bytes) => {
                stream.write_all(bytes.as_bytes()).await?;
                stream.shutdown().await?;
                while stream.read_u8().await.is_ok() {}
                seen.closed_by_both.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Reply::HangUp => return Ok(()),
            Reply::Silence => pending().await,
        }
    }
    Ok(())
}

/// Reads a request of a definite length; `None` when the client has left.
async fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<SeenRequest>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let target = head.remove(0).trim_end_matches(" HTTP/1.1").to_owned();
    let headers = head.iter().filter_map(|line| line.split_once(": "));
    let headers: Vec<_> = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let mut request = SeenRequest { target, headers, body: String::new(), at: Instant::now() };
    let mut body = vec![0; request.header("content-length").map_or(0, |length| length.parse().unwrap_or(0))];
    stream.read_exact(&mut body).await?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    request.at = Instant::now();
    Ok(Some(request))
}
