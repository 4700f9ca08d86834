//! A gateway in memory, whose clock goes on only when nothing is left to do.
//!
//! Each input gets a gateway of its own, so that what it finds is found again.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, mpsc},
    task::Poll,
    time::Duration,
};

use access::Access;
use broker::Broker;
use broker_embedded::{EmbeddedBroker, EmbeddedOptions, KeptMailboxes, Retention};
use events::{ClientId, ContentType, Event, TopicPattern};
use feeds::{Feed, FeedOptions, WindowLimits};
use gateway::{
    fuzzing::Server,
    http::{AllowedHosts, AllowedOrigins, App, HttpOptions, LimitOptions, TokenCookies},
    metrics::Metrics,
};
use mailboxes::{MailboxOptions, Registry};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    runtime::Builder,
    task::yield_now,
    time::advance,
};

/// How far the clock goes at once.
const STEP: Duration = Duration::from_secs(4);

/// How many steps a conversation takes at most: enough for the longest poll, and for the end of an idle connection
/// after it.
const MAX_STEPS: usize = 24;

/// What was said on a connection.
pub(super) struct Conversation {
    /// What the gateway sent.
    pub(super) answers: Vec<u8>,
    /// The gateway ended the connection.
    pub(super) is_over: bool,
}

/// Sends bytes to a gateway and returns what comes back.
pub(super) fn answers_to(input: &[u8]) -> Conversation {
    // One thread keeps the clock from going on by itself, the other decompresses.
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).max_blocking_threads(2).build();
    let runtime = runtime.expect("a runtime");
    let (release, held) = mpsc::channel::<()>();
    runtime.spawn_blocking(move || held.recv());
    runtime.block_on(converse(input, release))
}

async fn converse(input: &[u8], clock: mpsc::Sender<()>) -> Conversation {
    let broker = Arc::new(broker());
    prepare(&broker).await;
    let registry = Registry::new(Arc::clone(&broker), mailboxes(), Arc::default());
    let feeds = FeedOptions { window: WindowLimits { bytes: 1 << 20, age: HOUR }, topics: 2, rest_after: None };
    let feed = Feed::new(broker.log(), feeds, Arc::default());
    let followed = Arc::clone(&feed);
    tokio::spawn(async move { followed.follow().await });
    let app = App::new(Arc::clone(&broker), registry.clone(), Arc::clone(&feed), Metrics::default(), http());
    let server = Server::new(app);
    let (mut client, socket) = duplex(1 << 20);
    let serving = tokio::spawn(async move { server.serve(socket).await });
    let mut conversation = Conversation { answers: Vec::new(), is_over: false };
    {
        let mut talking = pin!(async {
            // A gateway that has heard enough ends the connection.
            let _ = client.write_all(input).await;
            let mut piece = [0; 1 << 14];
            while let Ok(length @ 1..) = client.read(&mut piece).await {
                conversation.answers.extend_from_slice(&piece[..length]);
            }
        });
        for _ in 0..MAX_STEPS {
            let is_over = poll_fn(|cx| Poll::Ready(talking.as_mut().poll(cx).is_ready())).await;
            if is_over {
                conversation.is_over = true;
                break;
            }
            settle(&broker).await;
            advance(STEP).await;
        }
    }
    drop(client);
    settle(&broker).await;
    // What waits for a time now need not be waited for.
    drop(clock);
    feed.close();
    registry.shut_down(HOUR).await;
    serving.abort();
    broker.close().await;
    conversation
}

/// Lets everything be done that can be done now, by the tasks and by the threads.
async fn settle(broker: &EmbeddedBroker) {
    for _ in 0..3 {
        for _ in 0..16 {
            yield_now().await;
        }
        // The writer has done what it was told before, and so has the thread that decompresses.
        let nothing = broker.unbind(&client("absent"), &pattern("a")).await;
        nothing.expect("a store in memory takes everything");
        tokio::task::spawn_blocking(|| ()).await.expect("a thread");
    }
}

const HOUR: Duration = Duration::from_hours(1);

fn client(id: &str) -> ClientId {
    id.parse().expect("an id")
}

fn pattern(text: &str) -> TopicPattern {
    text.parse().expect("a pattern")
}

fn broker() -> EmbeddedBroker {
    let options = EmbeddedOptions {
        data_dir: None,
        mailboxes: KeptMailboxes::all_for(HOUR),
        retention: Retention { age: HOUR, bytes: 1 << 20 },
        feed_topics: vec![pattern("a.#"), pattern("b.*")],
    };
    EmbeddedBroker::start(&options, Arc::default()).expect("a store in memory")
}

/// Makes a mailbox, and an event of each form for it.
async fn prepare(broker: &EmbeddedBroker) {
    broker.bind(&client("alice"), &[pattern("a.#")]).await.expect("a mailbox");
    let payloads: [(&str, Option<ContentType>, &[u8]); 4] = [
        ("a.json", Some(ContentType::json()), b"{\"a\":\r\n[1,\n2]}"),
        ("a.text", Some(ContentType::text()), b"line\r\n\r\ndata: \"two\"\n"),
        ("a.bytes", None, b"\xff\0\xfe"),
        ("b.json", None, b"1"),
    ];
    for (topic, content_type, payload) in payloads {
        let event = Event::new(topic.parse().expect("a topic"), content_type, payload);
        broker.publish(&event).await.expect("a store in memory takes everything");
    }
}

const fn mailboxes() -> MailboxOptions {
    let (linger, confirm_deadline) = (Duration::from_secs(15), Duration::from_mins(1));
    MailboxOptions { linger, confirm_deadline, window: 8, max_mailboxes: 4, memory: 1 << 20 }
}

fn http() -> HttpOptions {
    HttpOptions {
        max_connections: 4,
        max_body: 2048,
        max_transit: 1 << 16,
        header_timeout: Duration::from_secs(4),
        idle_timeout: Duration::from_secs(4),
        shutdown_grace: Duration::from_secs(4),
        shutdown_delay: Duration::ZERO,
        access: Arc::new(Access::open()),
        key_set: None,
        token_cookies: TokenCookies::default(),
        hosts: AllowedHosts::default(),
        has_public_metrics: true,
        max_streams: None,
        limits: LimitOptions::default(),
        allowed_origins: AllowedOrigins::default(),
        feed_topics: vec![pattern("a.#"), pattern("b.*")],
        feed_cache: Some(Duration::from_mins(1)),
    }
}
