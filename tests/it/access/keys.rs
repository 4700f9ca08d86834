//! Keys that change while clients are served.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use access::testing::{Issuer, key_set};
use parking_lot::Mutex;
use postern_tests::{Broker, Gateway, HttpConnection, Request, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

use super::{KeyFile, WithToken, bearer_for, everything};

/// An identity provider's URL of keys.
struct KeyServer {
    address: SocketAddr,
    /// `None`: it hangs up.
    text: Arc<Mutex<Option<String>>>,
    asked: Arc<AtomicUsize>,
    serving: tokio::task::JoinHandle<()>,
}

impl KeyServer {
    async fn start(text: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (text, asked) = (Arc::new(Mutex::new(text)), Arc::new(AtomicUsize::new(0)));
        let (served, counted) = (Arc::clone(&text), Arc::clone(&asked));
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let text = served.lock().clone();
                let _ = stream.read(&mut [0; 4096]).await;
                if let Some(text) = text {
                    let head =
                        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", text.len());
                    let _ = stream.write_all((head + &text).as_bytes()).await;
                }
            }
        });
        Self { address, text, asked, serving }
    }

    fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    fn serve(&self, text: Option<String>) {
        *self.text.lock() = text;
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Clients that ask all the time, each with a token of one issuer. A refusal of a good token is a failure.
struct Load {
    asking: JoinSet<usize>,
    is_over: Arc<AtomicBool>,
}

impl Load {
    fn begin() -> Self {
        Self { asking: JoinSet::new(), is_over: Arc::new(AtomicBool::new(false)) }
    }

    fn ask_with(&mut self, gateway: &Gateway, bearer: String) {
        let (address, is_over) = (gateway.address(), Arc::clone(&self.is_over));
        self.asking.spawn(async move {
            let request = Request::get("/topics/%23/events?wait=0").token(&bearer);
            let (mut connection, mut asked) = (HttpConnection::open(address).await, 0);
            while !is_over.load(Ordering::Relaxed) {
                connection.request(&request).await.expect_status(204);
                asked += 1;
            }
            asked
        });
    }

    async fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let asked: Vec<usize> = self.asking.join_all().await;
        assert!(asked.iter().all(|count| *count > 0), "{asked:?}");
    }
}

/// Waits until a token of an issuer is taken, or is refused.
async fn until_answered(gateway: &Gateway, issuer: &Issuer, status: u16) {
    let claims = everything();
    eventually(Duration::from_mins(1), &format!("an answer {status}"), async || {
        let request = Request::get("/topics/%23/events?wait=0").token(&bearer_for(issuer, &claims, 3600));
        let answer = request.send(gateway.address()).await;
        if answer.status == status { Ok(()) } else { Err(answer) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_a_file_are_rotated_under_load() {
    let [old, new] = [Issuer::es256(), Issuer::eddsa()];
    let keys = KeyFile::new(&old.file);
    let gateway = Broker::Embedded.gateway().await.flag("--token-key", keys.path()).start().await;
    gateway.wait_ready().await;
    let bearer = |issuer: &Issuer| bearer_for(issuer, &everything(), 3600);
    let (mut with_old, mut with_new) = (Load::begin(), Load::begin());
    with_old.ask_with(&gateway, bearer(&old));
    until_answered(&gateway, &new, 401).await;
    // Not yet whole, as a file can be that is being written.
    keys.write(&old.file[..40]);
    gateway.wait_logged("cannot read the keys of tokens; those from before stay in use", Duration::from_mins(1)).await;
    keys.write(&format!("{}{}", new.file, old.file));
    until_answered(&gateway, &new, 204).await;
    with_new.ask_with(&gateway, bearer(&new));
    // The old key is taken away once no token of it is used any more.
    with_old.end().await;
    keys.write(&new.file);
    // It does not end the gateway.
    gateway.hang_up();
    until_answered(&gateway, &old, 401).await;
    with_new.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_url_are_rotated_under_load() {
    let [old, new] = ["one", "two"].map(|id| Issuer::es256().named(id));
    let provider = KeyServer::start(None).await;
    let builder = Broker::Embedded.gateway().await.flag("--jwks-url", provider.url());
    let gateway = builder.flag("--token-issuer", "https://id.example").flag("--token-audience", "push").start().await;
    let mut claims = everything();
    claims["iss"] = "https://id.example".into();
    claims["aud"] = "push".into();
    let bearer = |issuer: &Issuer| bearer_for(issuer, &claims, 3600);
    let ask = |issuer: &Issuer| Request::get("/topics/%23/events?wait=0").token(&bearer(issuer));

    // Before the first keys have come nothing can be checked.
    let unready = Request::get("/ready").send(gateway.address()).await.problem(503);
    assert!(unready.contains("keys of tokens") || unready.contains("feeds"), "{unready}");
    eventually(Duration::from_secs(30), "503", async || {
        let answer = ask(&old).send(gateway.address()).await;
        if answer.status == 503 { Ok(()) } else { Err(answer) }
    })
    .await;
    provider.serve(Some(key_set([&old])));
    gateway.wait_ready().await;

    let mut load = Load::begin();
    load.ask_with(&gateway, bearer(&old));
    // The provider signs with a new key: the first token of it has the keys fetched, and none of the old one is refused.
    provider.serve(Some(key_set([&old, &new])));
    eventually(Duration::from_mins(2), "the new key", async || {
        let answer = ask(&new).send(gateway.address()).await;
        if answer.status == 204 { Ok(()) } else { Err(answer) }
    })
    .await;
    // While the URL fails they stay.
    provider.serve(None);
    load.ask_with(&gateway, bearer(&new));
    let asked = provider.asked.load(Ordering::Relaxed);
    let strange = Issuer::es256().named("three");
    for _ in 0..20 {
        ask(&strange).send(gateway.address()).await.problem(401);
    }
    assert!(provider.asked.load(Ordering::Relaxed) <= asked + 1, "a stranger does not have it asked again and again");
    ask(&new).send(gateway.address()).await.expect_status(204);
    load.end().await;
}
