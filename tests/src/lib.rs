//! The harness of Postern's integration tests: real brokers, real sockets, real processes, no mocks.
//!
//! A test reads like its promise:
//!
//! ```no_run
//! use std::time::Duration;
//! use postern_tests::{Broker, Poll, on_both_brokers, unique};
//!
//! on_both_brokers!(an_event_reaches_its_client);
//! async fn an_event_reaches_its_client(broker: Broker) {
//!     let gateway = broker.gateway().await.flag("--linger", "2s").start().await;
//!     let backend = broker.behind(&gateway).await;
//!     let (client, topic) = (unique("alice"), unique("jobs"));
//!     Poll::of(&client).topics(&topic).wait(0).send(&gateway).await.expect_status(204);
//!     backend.publish(&topic, "{\"n\":1}").await;
//!     let batch = Poll::of(&client).wait(5).send(&gateway).await.batch();
//!     assert_eq!(batch.numbers("n"), [1]);
//! }
//! # fn main() {}
//! ```
//!
//! * [`Broker`] is RabbitMQ or the embedded one. What both promise is tested on both; a module whose tests stay on one
//!   of them says why at its top.
//! * [`RabbitNode`] is a private broker that a test may kill, freeze and start again; [`shared_broker`] is one for
//!   all tests that do not. Tests which share it keep apart by [`unique`] names, or by a virtual host of their own.
//! * [`StubGateway`] stands in for a gateway that misbehaves, towards the publisher.
//! * [`Gateway`] and [`Publisher`] run the real binaries; [`DirectPublisher`] and [`Amqp`] speak to RabbitMQ directly,
//!   and [`Backend`] in whichever way there is.
//! * [`HttpConnection`] is one TCP connection whose every byte the test controls; [`Poll`] sits on it.
//! * [`Http2Connection`] is what a proxy holds, with many requests at once.
//! * [`Authority`] issues certificates, and its [`TlsClient`] trusts no other.
//! * [`EventStream`] is what a browser's `EventSource` does.
//! * [`LongLog`] is a log that is long before its gateway starts, with clients that catch up.
//! * [`Load`] holds thousands of polls of a feed, from a process of its own.
//! * [`promtool`] judges what Prometheus would read.
//! * [`Browser`] is Chromium, Firefox or `WebKitGTK`, with a person's hands and eyes.
//! * [`Page`] is the README or a page of the book, [`Snippet`] runs a program of one, [`Terminal`] its commands, and
//!   [`Proxy`] a proxy of `docs/src/proxies.md`.
//! * [`Example`] runs the page and backend of an example; [`Relay`] is a network that a test can cut.
//! * [`history`] judges from outside whether the promises were kept; the clients of [`roaming`] make it hard to keep
//!   them.
//! * [`eventually`] is the only way to wait for something.
//!
//! Whatever a test starts dies with its value, and with the test process even if that is killed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    reason = "a harness fails by panicking, and a test that drops a value on purpose is no mistake"
)]

mod amqp;
mod answer;
mod auth_backend;
mod backend;
mod broker;
mod browser;
mod direct_publisher;
mod disk;
mod event_stream;
mod eventually;
mod example;
mod folder;
mod gateway;
mod give_up;
pub mod history;
mod http;
mod http2;
mod lean_http;
mod load;
mod log;
mod long_log;
mod median;
mod names;
mod passed_socket;
mod pipelined_publisher;
mod poll;
mod process;
mod program;
mod progress;
pub mod promtool;
mod proxy;
mod publisher;
mod rabbit;
mod readme;
mod relay;
mod request;
pub mod roaming;
mod shared;
mod stub_gateway;
mod table;
mod terminal;
mod tls;
mod usage;
mod wire;
mod world;

pub use amqp::{Amqp, Held, QueueState, Taken};
pub use answer::{Answer, Batch, EventView};
pub use auth_backend::AuthBackend;
pub use backend::Backend;
pub use broker::Broker;
pub use browser::{Browser, Tab};
pub use direct_publisher::DirectPublisher;
pub use disk::{Disk, shim};
pub use event_stream::{EventStream, StreamEvent};
pub use eventually::{eventually, eventually_eq};
pub use example::Example;
pub use folder::Folder;
pub use gateway::{Gateway, GatewayBuilder};
pub use give_up::give_up;
pub use http::{Head, HttpConnection, Left, PATIENCE};
pub use http2::Http2Connection;
pub use lean_http::{LeanAnswer, LeanHttp};
pub use load::{Load, LoadBuilder, LoadReport};
pub use log::Log;
pub use long_log::{Follower, Latencies, Live, LongLog, MAX_AT_ONCE};
pub use median::median;
pub use names::{free_port, unique};
pub use pipelined_publisher::PipelinedPublisher;
pub use poll::Poll;
pub use process::Process;
pub use program::Finished;
pub use progress::note;
pub use proxy::{Balance, Proxy, ProxyProgram, Spread};
pub use publisher::{Publisher, RunningPublisher};
pub use rabbit::{QueueRow, RabbitCluster, RabbitNode};
pub use readme::{Page, Snippet};
pub use relay::{Relay, Side};
pub use request::Request;
pub use shared::{SharedBroker, shared_broker, shared_node};
pub use stub_gateway::{Reply, SeenRequest, StubGateway};
pub use table::Table;
pub use terminal::Terminal;
pub use tls::{Authority, Issued, TlsClient};
pub use usage::{children, cpu_seconds, resident_bytes};
pub use world::World;
