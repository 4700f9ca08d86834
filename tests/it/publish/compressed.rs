//! Bodies that are compressed, or wrapped otherwise: a reader gets what the publisher meant, or the publisher is told.

use std::io::Write;

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use postern_tests::{Broker, HttpConnection, Request, World, on_both_brokers};

use super::{JSON, id_of};

pub(crate) fn gzip(payload: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(payload).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zlib(payload: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(payload).unwrap();
    encoder.finish().unwrap()
}

/// As many bytes as an event may have here.
const MAX_BODY: usize = 100_000;

async fn world(broker: Broker) -> World {
    World::with(broker, |builder| builder.flag("--max-body", MAX_BODY.to_string())).await
}

on_both_brokers!(a_compressed_payload_reaches_its_reader_as_it_was_before);
async fn a_compressed_payload_reaches_its_reader_as_it_was_before(broker: Broker) {
    let world = world(broker).await;
    let full = format!("\"{}\"", "x".repeat(MAX_BODY - 2));
    let table = [
        ("gzip", gzip(br#"{"n":1}"#), r#""data":{"n":1}}"#),
        ("X-GZip", gzip(br#"{"n":1}"#), r#""data":{"n":1}}"#),
        ("deflate", zlib(b" [1.00]"), r#""data": [1.00]}"#),
        ("identity", b"7".to_vec(), r#""data":7}"#),
        ("gzip", gzip(full.as_bytes()), &full),
    ];
    let mut token = None::<String>;
    for (coding, body, shown) in table {
        let request = Request::publish(&world.topic, JSON, body).header("Content-Encoding", coding);
        id_of(&request.send(world.gateway.address()).await);
        let poll = token.iter().fold(world.poll(), |poll, token| poll.last_seen(token));
        let answer = poll.send(&world.gateway).await;
        assert!(answer.text().contains(shown) && !answer.text().contains("content_encoding"), "{coding}: {answer:?}");
        token = Some(answer.batch().last_seen);
    }
    // The type is found out by what the body is, not by how it was sent.
    let untyped = Request::new("POST", &format!("/topics/{}/events", world.topic)).body(gzip(b"plain"));
    id_of(&untyped.header("Content-Encoding", "gzip").send(world.gateway.address()).await);
    let batch = world.poll().last_seen(token.as_ref().unwrap()).send(&world.gateway).await.batch();
    assert_eq!(batch.events[0].data.as_ref().unwrap(), "plain");
}

on_both_brokers!(what_cannot_be_undone_is_refused_with_what_would_be_taken);
async fn what_cannot_be_undone_is_refused_with_what_would_be_taken(broker: Broker) {
    let world = world(broker).await;
    let refused = async |coding: &str, body: Vec<u8>| {
        let request = Request::publish(&world.topic, JSON, body).header("Content-Encoding", coding);
        request.send(world.gateway.address()).await
    };
    for coding in ["br", "zstd", "gzip, gzip", "compress"] {
        let answer = refused(coding, gzip(b"1")).await;
        let detail = answer.problem(415);
        assert!(detail.starts_with("Content-Encoding: "), "{detail}");
        assert_eq!(answer.header("accept-encoding"), Some("gzip, deflate"));
    }
    // Fifty megabytes in fifty kilobytes, and one byte too many.
    for payload in [vec![b' '; 50_000_000], vec![b' '; MAX_BODY + 1]] {
        let detail = refused("gzip", gzip(&payload)).await.problem(413);
        assert!(detail.contains(&MAX_BODY.to_string()), "{detail}");
    }
    let torn = gzip(b"[1,2,3]");
    for body in [b"{}".to_vec(), torn[..torn.len() - 3].to_vec()] {
        let detail = refused("gzip", body).await.problem(400);
        assert!(detail.starts_with("Content-Encoding: the body cannot be decompressed"), "{detail}");
    }
    let detail = refused("gzip", gzip(b"{oops")).await.problem(400);
    assert!(detail.contains("not one JSON value"), "{detail}");

    let form = Request::publish(&world.topic, "multipart/form-data; boundary=x", "--x\r\n\r\n1\r\n--x--\r\n");
    let detail = form.send(world.gateway.address()).await.problem(415);
    assert!(detail.contains("--data-binary"), "{detail}");

    let mut connection = HttpConnection::open(world.gateway.address()).await;
    let head = format!(
        "POST /topics/{}/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        world.topic
    );
    connection.send(&[head.as_bytes(), b"1\r\n7\r\n0\r\n\r\n"].concat()).await;
    let detail = connection.answer().await.problem(501);
    assert!(detail.starts_with("Transfer-Encoding: "), "{detail}");

    assert_eq!(world.poll().wait(0).send(&world.gateway).await.status, 204, "nothing of that is an event");
}
