//! The publisher over TLS, and with a token.

use std::{fs, path::Path};

use access::testing::{Issuer, seconds_from_now};
use postern_tests::{Authority, Folder, Gateway, Publisher, Reply, StubGateway, free_port};
use serde_json::json;

use super::ended;

fn emit(arguments: &[&str]) -> Publisher {
    Publisher::new(&[&["emit", "jobs.1", "1"], arguments].concat())
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of a test is text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_trusted_by_its_authority_and_by_nothing_else() {
    let authority = Authority::new();
    let (pair, ca) = (authority.issue("gateway"), authority.ca());
    let gateway = Gateway::builder().switch("--memory").flag("--tls-cert", &pair.cert).flag("--tls-key", &pair.key);
    let elsewhere = format!("127.0.0.2:{}", free_port());
    let gateway = gateway.flag("--listen", format!("127.0.0.1:{},{elsewhere}", free_port())).start().await;
    let port = gateway.address().port();
    let url = format!("https://localhost:{port}");
    let ca = path(&ca);
    ended(&emit(&["--gateway", &url, "--tls-ca", ca]).run().await, 0, "published 1 event");
    let by_address = format!("https://127.0.0.1:{port}");
    ended(&emit(&[]).gateway(&by_address).env("POSTERN_TLS_CA", ca).run().await, 0, "published 1 event");
    // The system's own list, which this variable names.
    ended(&emit(&["--gateway", &url]).env("SSL_CERT_FILE", ca).run().await, 0, "published 1 event");
    let lines: Vec<_> = (1..=500).map(|n: u32| n.to_string()).collect();
    let pipe = Publisher::new(&["pipe", "jobs.1", "--gateway", &url, "--tls-ca", ca]).stdin(lines.join("\n"));
    ended(&pipe.run().await, 0, "published 500 events");

    let stranger = Authority::new();
    let refused = emit(&["--gateway", &url, "--tls-ca", path(&stranger.ca())]).run().await;
    ended(&refused, 69, "its certificate is not trusted");
    assert!(refused.stderr.contains("--tls-ca names the file of its authority"), "{refused:?}");
    // It is good for localhost and 127.0.0.1.
    let refused = emit(&["--gateway", &format!("https://{elsewhere}"), "--tls-ca", ca]).run().await;
    ended(&refused, 69, "its certificate is not trusted");

    let plain = Gateway::builder().switch("--memory").start().await;
    let url = format!("https://localhost:{}", plain.address().port());
    ended(&emit(&["--gateway", &url, "--tls-ca", ca]).run().await, 69, "what answers there speaks no TLS");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_read_again_when_it_is_refused_and_then_tried_once() {
    let folder = Folder::new("token");
    let file = folder.write("token", "stale\n");
    let renewed = file.clone();
    let gateway = StubGateway::start(move |number, request| match request.header("authorization") {
        Some("Bearer stale") if number == 0 => Reply::accepted(),
        Some("Bearer stale") => {
            fs::write(&renewed, "fresh").unwrap();
            Reply::status("401 Unauthorized")
        }
        Some("Bearer fresh") => Reply::accepted(),
        other => panic!("{other:?}"),
    })
    .await;
    let pipe = Publisher::new(&["pipe", "a.b", "--token-file", path(&file)]).gateway(&gateway.url()).stdin("1\n2\n3");
    let finished = pipe.run().await;
    ended(&finished, 0, "published 3 events");
    let requests = gateway.requests();
    let tokens: Vec<_> = requests.iter().map(|seen| seen.header("authorization").unwrap()).collect();
    assert_eq!(
        (&tokens[..2], tokens[2..].iter().all(|token| *token == "Bearer fresh")),
        (&["Bearer stale"; 2][..], true)
    );
    assert_eq!(requests[1].body, requests[2].body, "the same events under the same ids");

    let refusing = StubGateway::start(|_, _| Reply::status("401 Unauthorized")).await;
    let finished = emit(&[]).gateway(&refusing.url()).env("POSTERN_TOKEN_FILE", path(&file)).run().await;
    ended(&finished, 69, "401 Unauthorized; check user and password in --gateway, or --token-file");
    assert_eq!(refusing.requests().len(), 1, "the file holds no other token");
    assert!(!finished.stderr.contains("fresh"), "{finished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_asks_for_tokens_takes_them_over_tls() {
    let (authority, issuer, folder) = (Authority::new(), Issuer::es256(), Folder::new("token"));
    let (pair, ca) = (authority.issue("gateway"), authority.ca());
    let keys = folder.write("keys", &issuer.file);
    let gateway = Gateway::builder().switch("--memory").flag("--tls-cert", &pair.cert).flag("--tls-key", &pair.key);
    let gateway = gateway.flag("--token-key", &keys).start().await;
    let url = format!("https://localhost:{}", gateway.address().port());
    let token = |topic: &str| {
        let claims = json!({"sub": "backend", "exp": seconds_from_now(300), "postern": {"publish": [topic]}});
        folder.write("token", &issuer.token(&claims))
    };
    let flags = ["--gateway", &url, "--tls-ca", path(&ca)];
    ended(&emit(&flags).run().await, 69, "401 Unauthorized");
    let right = token("jobs.*");
    ended(&emit(&flags).env("POSTERN_TOKEN_FILE", path(&right)).run().await, 0, "published 1 event");
    let wrong = token("builds.*");
    ended(&emit(&flags).env("POSTERN_TOKEN_FILE", path(&wrong)).run().await, 69, "403 Forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_not_go_over_a_network_in_the_clear() {
    let folder = Folder::new("token");
    let [token, empty, spaces] = [("token", "s3cret"), ("empty", "\n"), ("spaces", "s3cret s3cret")]
        .map(|(name, text)| folder.write(name, text));
    let secure = "https://gateway.example";
    for (flags, words) in [
        (&["--gateway", "http://gateway.example", "--token-file", path(&token)][..], "the gateway needs https://"),
        (&["--gateway", "http://10.0.0.1:8080/x", "--token-file", path(&token)], "http://10.0.0.1:8080/x"),
        (&["--gateway", "https://alice:s3cret@gateway.example", "--token-file", path(&token)], "two ways to be known"),
        (&["--gateway", secure, "--token-file", path(&empty)], "is empty; its one line is the token"),
        (&["--gateway", secure, "--token-file", path(&spaces)], "holds no token"),
        (&["--gateway", secure, "--token-file", "/no/such/file"], "--token-file, or POSTERN_TOKEN_FILE"),
        (&["--gateway", secure, "--tls-ca", path(&token)], "holds no certificate"),
        (&["--gateway", secure, "--tls-ca", "/no/such/file"], "--tls-ca, or POSTERN_TLS_CA"),
        (&["--gateway", "http://127.0.0.1", "--tls-ca", path(&token)], "--tls-ca has no effect on http://127.0.0.1"),
    ] {
        let finished = emit(flags).run().await;
        ended(&finished, 64, words);
        assert!(!finished.stderr.contains("s3cret"), "{finished:?}");
    }
}
