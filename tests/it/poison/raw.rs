//! A publisher that writes its own AMQP 0-9-1 frames: no library writes what these tests need.

use lapin::uri::AMQPUri;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xCE;

/// The properties by their flags' bits, highest first (section 1.8); those without a name here are never written.
const PROPERTIES: [&str; 13] = [
    "content_type",
    "content_encoding",
    "headers",
    "",
    "",
    "correlation_id",
    "reply_to",
    "",
    "message_id",
    "",
    "type",
    "",
    "app_id",
];

/// The properties of a message, as bytes.
#[derive(Default)]
pub(super) struct Properties([Option<Vec<u8>>; PROPERTIES.len()]);

impl Properties {
    /// Sets one that is a short string.
    pub(super) fn text(self, name: &str, text: &[u8]) -> Self {
        self.set(name, short(text))
    }

    /// Sets the headers to these entries.
    pub(super) fn headers(self, entries: &[u8]) -> Self {
        self.set("headers", long(entries))
    }

    fn set(mut self, name: &str, bytes: Vec<u8>) -> Self {
        let place = PROPERTIES.iter().position(|property| *property == name).expect("a property of this name");
        self.0[place] = Some(bytes);
        self
    }

    fn written(&self) -> Vec<u8> {
        let set = self.0.iter().enumerate().filter_map(|(n, property)| Some((n, property.as_ref()?)));
        let flags = set.clone().fold(0_u16, |flags, (n, _)| flags | 1 << (15 - n));
        let values = set.flat_map(|(_, property)| property.iter().copied());
        flags.to_be_bytes().into_iter().chain(values).collect()
    }
}

/// A connection with one channel in confirm mode.
pub(super) struct RawPublisher(BufReader<TcpStream>);

impl RawPublisher {
    /// Connects to a plain `amqp://` URL.
    pub(super) async fn connect(url: &str) -> Self {
        let uri: AMQPUri = url.parse().expect("an AMQP URL");
        let (address, user) = ((uri.authority.host.as_str(), uri.authority.port), &uri.authority.userinfo);
        let stream = TcpStream::connect(address).await.expect("the broker should take connections");
        let mut publisher = Self(BufReader::new(stream));
        publisher.0.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
        publisher.expect((10, 10)).await;
        let secret = format!("\0{}\0{}", user.username, user.password);
        let start_ok = [long(b""), short(b"PLAIN"), long(secret.as_bytes()), short(b"en_US")].concat();
        publisher.method(0, (10, 11), &start_ok).await;
        // connection.tune, and the same as its answer.
        let offer = publisher.expect((10, 30)).await;
        publisher.method(0, (10, 31), &offer).await;
        let vhost = if uri.vhost.is_empty() { "/" } else { &uri.vhost };
        publisher.method(0, (10, 40), &[short(vhost.as_bytes()), vec![0, 0]].concat()).await;
        publisher.expect((10, 41)).await;
        publisher.method(1, (20, 10), &[0]).await;
        publisher.expect((20, 11)).await;
        publisher.method(1, (85, 10), &[0]).await;
        publisher.expect((85, 11)).await;
        publisher
    }

    /// Publishes to Postern's exchange and waits for the confirm.
    pub(super) async fn publish(&mut self, routing_key: &[u8], properties: &Properties, payload: &[u8]) {
        let exchange = amqp::names::EXCHANGE.as_bytes();
        self.method(1, (60, 40), &[vec![0, 0], short(exchange), short(routing_key), vec![0]].concat()).await;
        let size = (payload.len() as u64).to_be_bytes();
        self.frame(HEADER, 1, &[&[0, 60, 0, 0], &size[..], &properties.written()].concat()).await;
        self.frame(BODY, 1, payload).await;
        self.expect((60, 80)).await;
    }

    async fn method(&mut self, channel: u16, (class, method): (u16, u16), arguments: &[u8]) {
        let id = [class.to_be_bytes(), method.to_be_bytes()].concat();
        self.frame(METHOD, channel, &[&id, arguments].concat()).await;
    }

    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let frame = [&[kind], &channel.to_be_bytes()[..], &long(payload), &[END]].concat();
        self.0.write_all(&frame).await.expect("the broker should read");
    }

    /// Reads until this method comes and returns its arguments; panics if the broker closes something instead.
    async fn expect(&mut self, (class, method): (u16, u16)) -> Vec<u8> {
        loop {
            let kind = self.0.read_u8().await.expect("the broker should answer");
            self.0.read_u16().await.unwrap();
            let size = self.0.read_u32().await.unwrap();
            let mut payload = vec![0; size as usize + 1];
            self.0.read_exact(&mut payload).await.unwrap();
            payload.pop();
            // Anything else of interest is a heartbeat.
            if kind == METHOD {
                let wanted = [class.to_be_bytes(), method.to_be_bytes()].concat();
                let arguments = payload.strip_prefix(&wanted[..]);
                return arguments.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&payload))).to_vec();
            }
        }
    }
}

/// Writes a string after its length in one byte.
fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

/// Writes bytes after their length in four bytes: a long string, or a table or array of what they hold.
pub(super) fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// Writes an entry of a table.
pub(super) fn entry(key: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
    [&short(key)[..], &[kind], value].concat()
}

/// Writes an entry whose value is an array in an array, and so on.
pub(super) fn nested(depth: u32) -> Vec<u8> {
    let arrays = (0..depth).rev().flat_map(|inner| [&b"A"[..], &(5 * inner).to_be_bytes()].concat());
    [short(b"deep"), arrays.collect()].concat()
}
