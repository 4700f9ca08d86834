//! TLS to the broker: whom the programs trust, and the certificate by which the broker knows them.

use std::path::Path;

use postern_tests::{Authority, Finished, Gateway, Issued, Publisher, RabbitNode, eventually, free_port, shared_node};

use super::{PATIENCE, PAUSES, finds_its_host};

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of a test is text")
}

/// A node that wants certificates of its clients. It speaks TLS at two addresses, and its own certificate is for the
/// first one alone.
struct World {
    authority: Authority,
    client: Issued,
    node: RabbitNode,
    port: u16,
}

impl World {
    async fn start() -> Self {
        let authority = Authority::new();
        let (server, client) = (authority.issue("server"), authority.issue("client"));
        let port = free_port();
        let settings = [
            format!("listeners.ssl.1 = 127.0.0.1:{port}"),
            format!("listeners.ssl.2 = 127.0.0.2:{port}"),
            format!("ssl_options.cacertfile = {}", authority.ca().display()),
            format!("ssl_options.certfile = {}", server.cert.display()),
            format!("ssl_options.keyfile = {}", server.key.display()),
            "ssl_options.verify = verify_peer".to_owned(),
            "ssl_options.fail_if_no_peer_cert = true".to_owned(),
        ];
        let node = RabbitNode::start_with(&settings.each_ref().map(String::as_str)).await;
        Self { authority, client, node, port }
    }

    fn url(&self, host: &str) -> String {
        format!("amqps://guest:guest@{host}:{}/%2f", self.port)
    }

    /// Returns a URL with RabbitMQ's own parameters for these files.
    fn with_parameters(&self, ca: &Path) -> String {
        let Issued { cert, key } = &self.client;
        let files = format!("cacertfile={}&certfile={}&keyfile={}", text(ca), text(cert), text(key));
        format!("{}?verify=verify_peer&{files}", self.url("localhost"))
    }

    fn emit(&self, flags: &[&str]) -> Publisher {
        Publisher::new(&[&["emit", "a", "1"], flags].concat()).amqp_url(&self.url("localhost"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_trusted_by_its_authority_and_knows_its_clients_by_their_certificates() {
    let world = World::start().await;
    let ca = world.authority.ca();
    let (ca, cert, key) = (text(&ca), text(&world.client.cert), text(&world.client.key));

    // The name that is checked is that of each URL, and the certificate is not for the second one.
    let urls = [world.url("localhost"), world.url("127.0.0.2")];
    let builder = Gateway::builder().amqp_url(&urls[0]).amqp_url(&urls[1]).flag("--amqp-ca-file", ca);
    let gateway = builder.flag("--amqp-cert-file", cert).flag("--amqp-key-file", key).start().await;
    gateway.wait_ready().await;
    gateway.carries_an_event().await;
    let files =
        [("CA", ca), ("CERT", cert), ("KEY", key)].map(|(name, file)| (format!("POSTERN_AMQP_{name}_FILE"), file));
    let builder = files.iter().fold(Gateway::builder(), |builder, (name, file)| builder.env(name, *file));
    let wrong_name = builder.amqp_url(&urls[1]).start().await;
    let told = wrong_name.wait_logged(PAUSES, PATIENCE).await["error"].to_string();
    assert!(told.contains("not valid for name") && told.contains("127.0.0.2"), "{told}");

    let with_certificate = ["--amqp-ca-file", ca, "--amqp-cert-file", cert, "--amqp-key-file", key];
    let Finished { status, stderr, .. } = world.emit(&with_certificate).run().await;
    assert!(status.success(), "{stderr}");
    // RabbitMQ's own way to say the same; a URL's own file comes first.
    let stranger = Authority::new();
    let emit = world.emit(&["--amqp-ca-file", text(&stranger.ca())]);
    let Finished { status, stderr, .. } = emit.amqp_url(&world.with_parameters(&world.authority.ca())).run().await;
    assert!(status.success(), "{stderr}");

    let plain_port = format!("amqps://guest:guest@127.0.0.1:{}/%2f", world.node.port());
    let foreign = world.with_parameters(&stranger.ca());
    for (emit, words) in [
        (
            world.emit(&[]).amqp_url(&foreign),
            "--amqp-ca-file (or cacertfile in the URL) names the file of its authority",
        ),
        (world.emit(&with_certificate).amqp_url(&plain_port), "speaks no TLS; is it amqp://?"),
    ] {
        let Finished { status, stderr, .. } = emit.run().await;
        assert_eq!(status.code(), Some(69), "{stderr}");
        assert!(stderr.contains(words) && !stderr.contains("trying again"), "{words}: {stderr}");
    }

    // In TLS 1.3 the broker says so after the handshake, and the end of the connection can come before its words.
    eventually(PATIENCE, "the lack of a certificate to be told", async || {
        let Finished { status, stderr, .. } = world.emit(&["--amqp-ca-file", ca, "--timeout", "2s"]).run().await;
        assert_eq!(status.code(), Some(69), "{stderr}");
        if stderr.contains("the broker wants a client certificate") { Ok(()) } else { Err(stderr) }
    })
    .await;

    finds_its_host(&world.node, &shared_node().await.vhost("addresses").await).await;
}
