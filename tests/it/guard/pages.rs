//! The same by pages of other origins in a browser, each in the ways that it has without CORS.
//!
//! What a browser says of its pages is its own matter, so these tests need a real one. Chromium alone can be told that
//! a name leads to loopback.

use std::{net::SocketAddr, time::Duration};

use postern_tests::{Browser, Reply, Request, StubGateway, eventually, unique};
use serde_json::Value;

use super::world::World;

const SOON: Duration = Duration::from_secs(20);
const EVIL: &str = "--host-resolver-rules=MAP evil.example 127.0.0.1";

/// A browser that has a page open which is not the gateway's.
struct Desk {
    world: World,
    browser: Browser,
    pages: StubGateway,
}

impl Desk {
    async fn new() -> Self {
        Self::allowing("https://app.example").await
    }

    /// Starts a gateway that lets in pages of this origin, in which `PORT` is that of the pages.
    async fn allowing(origin: &str) -> Self {
        let html = "<!doctype html><title>page</title>";
        let page = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{html}",
            html.len()
        );
        let pages = StubGateway::start(move |_, _| Reply::Last(page.clone())).await;
        let origin = origin.replace("PORT", &pages.address().port().to_string());
        let world = World::new(&["--allow-origin", &origin]).await;
        Self { world, browser: Browser::chromium(&[EVIL]).await, pages }
    }

    /// Opens the page of a host other than the gateway's.
    async fn open_page(&self, host: &str) {
        self.browser.open(&format!("http://{host}:{}/", self.pages.address().port())).await;
    }

    fn gateway(&self, path: &str) -> String {
        format!("http://{}{path}", self.world.gateway.address())
    }

    async fn refused(&self) -> u64 {
        refused(self.world.gateway.address()).await
    }

    /// Has the page in front do something, and waits until the gateway was asked. Returns what has happened by it; it
    /// should be refused.
    async fn effect_of(&mut self, what: &str, script: &str) -> Option<&'static str> {
        let before = self.refused().await;
        self.browser.run(script).await;
        let Self { world, .. } = self;
        let address = world.gateway.address();
        eventually(SOON, &format!("{what} to ask the gateway"), async || match world.effect().await {
            None if refused(address).await == before => Err("it has not"),
            effect => Ok(effect),
        })
        .await
    }
}

/// Returns how many requests the guard of a gateway has refused.
async fn refused(gateway: SocketAddr) -> u64 {
    let metrics = Request::get("/metrics").send(gateway).await.text();
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("postern_refused_by_guard_total"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// Each way in which a page can have a browser ask without CORS, as a script that does not wait for the answer.
fn attacks(world: &World) -> Vec<(&'static str, String)> {
    let World { gateway, client, topic, stranger, .. } = world;
    let gateway = format!("http://{}", gateway.address());
    let publish = format!("{gateway}/topics/{topic}.evil/events");
    let make = format!("{gateway}/clients/{stranger}/events?topics=%23");
    let displace = format!("{gateway}/clients/{client}/events?wait=0");
    let socket = make.replace("http:", "ws:");
    let form = |action: &str, method: &str, encoding: &str| {
        format!(
            "const form = document.createElement('form');
             Object.assign(form, {{ action: '{action}', method: '{method}', enctype: '{encoding}' }});
             form.innerHTML = '<input name=topics value=#>';
             document.body.append(form);
             form.submit();"
        )
    };
    let element = |name: &str, url: &str| {
        format!("const it = document.createElement('{name}'); it.src = '{url}'; document.body.append(it);")
    };
    vec![
        ("a POST by fetch", format!("fetch('{publish}', {{ method: 'POST', mode: 'no-cors', body: 'evil' }});")),
        (
            "a POST by fetch with CORS",
            format!("fetch('{publish}', {{ method: 'POST', body: 'evil' }}).catch(() => {{}});"),
        ),
        ("a GET by fetch", format!("fetch('{make}', {{ mode: 'no-cors' }});")),
        ("a beacon", format!("navigator.sendBeacon('{publish}', 'evil');")),
        ("an image that makes", element("img", &make)),
        ("an image that displaces", element("img", &displace)),
        ("a script", element("script", &make)),
        ("a frame", element("iframe", &make)),
        ("an EventSource", format!("window.source = new EventSource('{make}');")),
        ("an EventSource that displaces", format!("window.source = new EventSource('{displace}');")),
        ("a WebSocket", format!("window.socket = new WebSocket('{socket}');")),
        ("a preload", format!("document.head.innerHTML = '<link rel=preload as=fetch href=\"{make}\">';")),
        // These leave the page.
        ("a form", form(&publish, "post", "text/plain")),
        ("a form that asks", form(&make, "get", "application/x-www-form-urlencoded")),
        ("a navigation that makes", format!("location.href = '{make}';")),
        ("a navigation that displaces", format!("location.href = '{displace}';")),
    ]
}

async fn a_page_changes_nothing(host: &str) {
    let mut desk = Desk::new().await;
    let mut effects = Vec::new();
    for n in 0..attacks(&desk.world).len() {
        desk.open_page(host).await;
        let (what, script) = attacks(&desk.world).swap_remove(n);
        match desk.effect_of(what, &script).await {
            Some(effect) => effects.push((what, effect)),
            None => desk.world.is_as_it_was().await,
        }
        desk.world = desk.world.anew().await;
    }
    assert_eq!(effects, [], "{host}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_changes_nothing() {
    a_page_changes_nothing("evil.example").await;
}

/// For a browser it is of the same site as a gateway that is asked by the same name.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_port_changes_nothing() {
    a_page_changes_nothing("127.0.0.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_made_to_lead_to_loopback_reads_and_changes_nothing() {
    let mut desk = Desk::new().await;
    let port = desk.world.gateway.address().port();
    // For a browser its pages are of the gateway's own origin now.
    let rebound = format!("http://evil.example:{port}/");
    let before = desk.refused().await;
    desk.browser.open(&rebound).await;
    assert!(desk.refused().await > before, "the gateway's page was given");
    let World { client, topic, stranger, .. } = &desk.world;
    for (method, path) in [
        ("GET", format!("/clients/{client}")),
        ("GET", format!("/clients/{client}/events?wait=0")),
        ("GET", format!("/topics/{topic}.%23/events?wait=0")),
        ("GET", format!("/clients/{stranger}/events?topics=%23&wait=0")),
        ("POST", format!("/topics/{topic}.evil/events")),
        ("PUT", format!("/clients/{stranger}/topics/%23")),
        ("DELETE", format!("/clients/{client}")),
        ("GET", "/metrics".to_owned()),
    ] {
        let script = format!("return fetch('{path}', {{ method: '{method}' }}).then(({{ status }}) => status);");
        assert_eq!(desk.browser.run(&script).await, 421, "{method} {path}");
    }
    desk.world.is_as_it_was().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_to_the_page_which_works() {
    let desk = Desk::new().await;
    desk.open_page("evil.example").await;
    let page = desk.gateway(&format!("/?topics={}", unique("linked")));
    desk.browser.run(&format!("location.href = '{page}';")).await;
    let state = r#"return document.getElementById("state")?.dataset.state;"#;
    eventually(SOON, "the page to be live", async || {
        let state = desk.browser.run(state).await;
        if state == "live" { Ok(()) } else { Err(state) }
    })
    .await;
    desk.browser.click("form button").await;
    eventually(SOON, "the page to have published", async || {
        let answer = desk.browser.text("#result").await;
        if answer.starts_with("202 ") { Ok(()) } else { Err(answer) }
    })
    .await;
    assert_eq!(desk.refused().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_let_in_reads_and_publishes() {
    for origin in ["*", "http://evil.example:PORT"] {
        let desk = Desk::allowing(origin).await;
        desk.open_page("evil.example").await;
        let topic = unique("let-in");
        let gateway = desk.gateway("");
        let script = format!(
            "const gateway = '{gateway}', url = gateway + '/topics/{topic}/events';
             const said = [];
             const note = (what) => said.push(what);
             return (async () => {{
               const headers = {{ 'content-type': 'application/json' }};
               note((await fetch(url, {{ method: 'POST', headers, body: '1' }})).status);
               note(navigator.sendBeacon(url, '2'));
               const {{ feed }} = await import(gateway + '/client.js');
               note(typeof feed);
               const source = new EventSource(url + '?last_seen=oldest');
               for (let n = 0; n < 2; n++) {{
                 note(await new Promise((come) => source.addEventListener('message', ({{ data }}) => come(JSON.parse(data).data), {{ once: true }})));
               }}
               source.close();
               return said;
             }})();"
        );
        let expected: Value = serde_json::json!([202, true, "function", 1, "2"]);
        assert_eq!(desk.browser.run(&script).await, expected, "{origin}");
        assert_eq!(desk.refused().await, 0);
    }
}
