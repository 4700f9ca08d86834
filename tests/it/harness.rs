//! The harness itself: what every other test relies on.
//!
//! Of the two brokers only RabbitMQ needs one of its own: an embedded broker is part of the gateway.

use std::time::Duration;

use lapin::{BasicProperties, types::FieldTable};
use postern_tests::{Amqp, HttpConnection, Left, RabbitNode, eventually_eq, shared_broker, shared_node, unique};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// `delivery_mode` of a message that survives its broker.
const PERSISTENT: u8 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_and_a_stopped_node_come_back_with_their_messages() {
    let mut node = RabbitNode::start().await;
    let (queue, url) = (unique("kept"), node.url());
    let amqp = Amqp::connect(&url).await;
    amqp.declare_queue(&queue, FieldTable::default()).await;
    amqp.publish("", &queue, BasicProperties::default().with_delivery_mode(PERSISTENT), b"1").await;

    node.kill9();
    assert!(Amqp::try_connect(&url).await.is_err());
    node.start_again().await;
    let amqp = Amqp::connect(&url).await;
    assert_eq!(amqp.queue(&queue).await.map(|queue| queue.ready), Some(1));

    node.restart().await;
    let amqp = Amqp::connect(&url).await;
    let taken = amqp.take(&queue).await.expect("the message should be there");
    assert_eq!(&taken.event.payload[..], b"1");
    assert_eq!(amqp.queue(&queue).await.map(|queue| queue.ready), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_is_counted_without_being_changed() {
    let amqp = shared_broker().await.amqp().await;
    let client = unique("counted");
    let mailbox = format!("postern.mailbox.{client}");
    assert_eq!(amqp.messages_ready(&client).await, None);
    amqp.declare_queue(&mailbox, FieldTable::default()).await;
    for payload in [b"1", b"2", b"3"] {
        amqp.publish("", &mailbox, BasicProperties::default(), payload).await;
    }
    assert_eq!(amqp.messages_ready(&client).await, Some(3));
    assert_eq!(amqp.consumer_count(&client).await, Some(0));

    let mut held = amqp.hold(&mailbox, 2).await.expect("the queue has no other consumer");
    for payload in [b"1", b"2"] {
        let taken = held.next(Duration::from_secs(5)).await.expect("a message should come");
        assert_eq!((&taken.event.payload[..], taken.redelivered), (&payload[..], false));
    }
    assert_eq!((amqp.messages_ready(&client).await, amqp.consumer_count(&client).await), (Some(1), Some(1)));
    assert!(amqp.hold(&mailbox, 1).await.is_none());

    held.release().await;
    eventually_eq(Duration::from_secs(5), "the mailbox", Some(3), async || amqp.messages_ready(&client).await).await;
    assert!(amqp.take(&mailbox).await.expect("a message should be there").redelivered);
    amqp.delete_queue(&mailbox).await;
    assert_eq!(amqp.messages_ready(&client).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tool_sees_a_virtual_host_of_its_own() {
    let node = shared_node().await;
    let url = node.vhost("alone").await;
    let amqp = Amqp::connect(&url).await;
    amqp.declare_queue("only", FieldTable::default()).await;
    amqp.publish("", "only", BasicProperties::default(), b"1").await;
    let queues = node.queues(url.rsplit('/').next().unwrap()).await;
    let [only] = &queues[..] else { panic!("one queue expected: {queues:?}") };
    assert_eq!((only.name.as_str(), only.ready, only.unacknowledged, only.consumers), ("only", 1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tool_is_asked_again_when_it_refuses() {
    let node = shared_node().await;
    let vhost = unique("late");
    let make = async || {
        node.rabbitmqctl(&["list_vhosts"]).await;
        node.rabbitmqctl(&["add_vhost", &vhost]).await;
    };
    let permissions = ["set_permissions", "-p", &vhost, "guest", ".*", ".*", ".*"];
    tokio::join!(node.rabbitmqctl(&permissions), make());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_node_is_silent_and_goes_on_after_it() {
    let node = RabbitNode::start().await;
    node.freeze();
    let refused = tokio::time::timeout(Duration::from_millis(500), Amqp::try_connect(&node.url())).await;
    assert!(refused.is_err(), "a frozen node should not answer");
    node.thaw();
    Amqp::connect(&node.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_read_in_pieces_and_a_reset_is_no_close() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = HttpConnection::open(address).await;
    let (mut server, _) = listener.accept().await.unwrap();
    for piece in ["HTTP/1.1 200 OK\r\nTransfer-Enc", "oding: chunked\r\n\r\n2\r\nab\r", "\n3\r\ncde\r\n0\r\n\r\n"] {
        server.write_all(piece.as_bytes()).await.unwrap();
    }
    assert_eq!(client.answer().await.text(), "abcde");
    server.write_all(b"HTTP/1.1 204 No Content\r\nLast-Seen: T\r\n\r\n").await.unwrap();
    assert_eq!(client.answer().await.expect_status(204).header("last-seen"), Some("T"));
    assert!(client.is_silent(Duration::from_millis(50)).await);
    server.set_zero_linger().unwrap();
    drop(server);
    assert_eq!(client.left().await, Left::Reset);

    for (leave_with_reset, expected) in [(false, Ok(0)), (true, Err(std::io::ErrorKind::ConnectionReset))] {
        let client = HttpConnection::open(address).await;
        let (mut server, _) = listener.accept().await.unwrap();
        if leave_with_reset {
            client.reset();
        } else {
            client.close().await;
        }
        assert_eq!(server.read(&mut [0; 8]).await.map_err(|e| e.kind()), expected);
    }
}
