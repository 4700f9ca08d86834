//! HTTP/2 before the faulty server: each request goes on to it over a connection of its own, in HTTP/1.1. Publishers,
//! which speak HTTP/1.1, use it as well.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use hyper::{Request, Response, Version, body::Incoming, client, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

use crate::stub::Stub;

/// A bridge that ends when it is dropped.
pub(crate) struct Bridge {
    pub(crate) address: SocketAddr,
    connections_of_http2: Arc<AtomicUsize>,
    _runtime: Runtime,
}

impl Bridge {
    /// Starts one, whose connections carry so many streams.
    pub(crate) fn start(stub: &Stub, max_streams: u32) -> Self {
        let (runtime, to) = (Runtime::new().unwrap(), stub.address());
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, to, max_streams, Arc::clone(&counted)));
            }
        });
        Self { address, connections_of_http2: connections, _runtime: runtime }
    }

    /// Returns how many connections with a request of HTTP/2 have come.
    pub(crate) fn connections_of_http2(&self) -> u64 {
        self.connections_of_http2.load(Ordering::Relaxed) as u64
    }
}

async fn serve(stream: TcpStream, to: SocketAddr, max_streams: u32, counted: Arc<AtomicUsize>) {
    let is_new = Arc::new(AtomicBool::new(true));
    let pass = service_fn(move |request: Request<Incoming>| {
        if request.version() == Version::HTTP_2 && is_new.swap(false, Ordering::Relaxed) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        pass(request, to)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(max_streams);
    // A client may hang up at any time.
    let _ = builder.serve_connection(TokioIo::new(stream), pass).await;
}

async fn pass(mut request: Request<Incoming>, to: SocketAddr) -> hyper::Result<Response<Incoming>> {
    let stream = TcpStream::connect(to).await.expect("the stub listens");
    let (mut requests, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = request.uri().path_and_query().expect("it has a path").as_str().parse().expect("it is one");
    requests.send_request(request).await
}
