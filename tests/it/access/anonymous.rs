//! What a request without a token may do.

use std::time::Duration;

use access::testing::Issuer;
use postern_tests::{Broker, Gateway, Poll, Request};
use serde_json::json;

use super::{KeyFile, WithToken, World};

#[tokio::test(flavor = "multi_thread")]
async fn patterns_say_what_is_public() {
    let world = World::with(Broker::Embedded, |builder| {
        builder.flag("--anonymous-read", "public.#").flag("--anonymous-publish", "votes.*")
    })
    .await;
    let address = world.gateway.address();
    Request::get("/topics/public.news/events?wait=0").send(address).await.expect_status(204);
    let answer = Request::get("/topics/%23/events?wait=0").send(address).await;
    // A token may help, so that is what is asked for.
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    let detail = answer.problem(401);
    assert!(
        detail.starts_with("this needs a token (Authorization: Bearer") && detail.contains("--anonymous-read"),
        "{detail}"
    );
    Request::publish("votes.a", "text/plain", "x").send(address).await.expect_status(202);
    Request::publish("votes", "text/plain", "x").send(address).await.problem(401);
    Poll::of("alice").topics("public.news").wait(0).send(&world.gateway).await.problem(401);
    // A bad token is refused also where none would do.
    let bad = Request::get("/topics/public.news/events?wait=0").header("authorization", "Bearer x");
    bad.send(address).await.problem(401);
    // A token of its own is all that counts.
    let none = world.bearer(&json!({"sub": "alice"}));
    Request::get("/topics/public.news/events?wait=0").token(&none).send(address).await.problem(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn mailboxes_may_be_for_clients_without_a_token() {
    let flags = |builder: postern_tests::GatewayBuilder| {
        builder.switch("--anonymous-mailboxes").flag("--anonymous-read", "public.#")
    };
    let gateway = flags(Broker::Embedded.gateway().await).start().await;
    gateway.wait_ready().await;
    Poll::of("alice").topics("public.#").wait(0).send(&gateway).await.expect_status(204);
    // Without keys no token would help.
    let answer = Poll::of("alice").topics("public.#,private.a").wait(0).send(&gateway).await;
    assert_eq!(answer.header("www-authenticate"), Some("Bearer error=\"insufficient_scope\""));
    assert!(answer.problem(403).contains("private.a"));
    Request::publish("public.a", "text/plain", "x").send(gateway.address()).await.problem(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_are_let_in_with_keys_or_with_a_word() {
    let keys = KeyFile::new(&Issuer::es256().file);
    let refused = Gateway::builder().embedded().flag("--listen", "0.0.0.0:0").run(Duration::from_secs(20)).await;
    assert_eq!(refused.status.code(), Some(64));
    assert!(
        refused.stderr.contains("--token-key") && refused.stderr.contains("--allow-anonymous"),
        "{}",
        refused.stderr
    );
    for (flag, value) in [("--token-key", keys.path().into_os_string()), ("--anonymous-read", "public.#".into())] {
        let gateway = Gateway::builder().embedded().flag("--listen", "0.0.0.0:0").flag(flag, value).start().await;
        let status = if flag == "--token-key" { 401 } else { 403 };
        Request::publish("a", "text/plain", "x").send(gateway.address()).await.problem(status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_contradict_each_other_are_refused_in_words() {
    let keys = KeyFile::new(&Issuer::es256().file);
    let secret = KeyFile::new("0123456789abcdef0123456789abcdef");
    let (keys, secret) = (keys.path().display().to_string(), secret.path().display().to_string());
    let url = ["--jwks-url", "https://id.example/keys"];
    for (flags, said) in [
        (vec![url[0], url[1]], "--jwks-url needs --token-issuer and --token-audience"),
        (vec![url[0], url[1], "--token-secret-file", &secret], "two kinds of issuers"),
        (vec!["--jwks-url", "http://id.example/keys"], "over https only"),
        (vec!["--token-issuer", "x"], "--token-issuer has no effect without keys"),
        (vec!["--token-key", &secret], "it holds no key"),
        (vec!["--token-secret-file", "/nowhere"], "cannot read /nowhere"),
        (vec!["--token-key", &keys, "--listen", "0.0.0.0:0", "--token-cookie", "token"], "__Host-"),
    ] {
        let builder =
            flags.chunks(2).fold(Gateway::builder().embedded(), |builder, pair| builder.flag(pair[0], pair[1]));
        let refused = builder.run(Duration::from_secs(20)).await;
        assert_eq!(refused.status.code(), Some(64), "{flags:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(said), "{flags:?}: {}", refused.stderr);
    }
    let both = Gateway::builder().embedded().flag("--token-key", &keys).switch("--allow-anonymous");
    let refused = both.run(Duration::from_secs(20)).await;
    assert!(refused.stderr.contains("keys would restrict nothing"), "{}", refused.stderr);
    let both = Gateway::builder().embedded().flag("--token-key", &keys).switch("--anonymous-mailboxes");
    let refused = both.run(Duration::from_secs(20)).await;
    assert!(refused.stderr.contains("names of users"), "{}", refused.stderr);
}
