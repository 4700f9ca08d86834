//! The metrics that Prometheus reads, and the dashboard and alerts that are made from it.

mod histograms;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use postern_tests::{
    Broker, EventStream, Gateway, Poll, Request, eventually, eventually_eq, on_both_brokers, promtool, shared_node,
    unique,
};

const SOON: Duration = Duration::from_secs(20);

/// What a page of another time remembers.
const FOREIGN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// What Prometheus 2.42 sends.
const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

async fn start(broker: Broker) -> Gateway {
    let gateway = broker.gateway_with_log().await.start().await;
    gateway.wait_ready().await;
    gateway
}

async fn metrics(gateway: &Gateway, accept: &str) -> String {
    let answer = Request::get("/metrics").header("accept", accept).send(gateway.address()).await.expect_status(200);
    answer.text()
}

/// Returns the value of one series.
async fn value(gateway: &Gateway, series: &str) -> Option<f64> {
    written(gateway, series).await?.parse().ok()
}

/// Returns the value of one series as it is written.
async fn written(gateway: &Gateway, series: &str) -> Option<String> {
    let text = metrics(gateway, "text/plain").await;
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
}

/// Has each operation asked for, and each outcome that can be had in a moment.
async fn use_all(gateway: &Gateway) {
    let (client, topic) = (unique("alice"), unique("jobs"));
    let ask = async |method: &str, path: &str| Request::new(method, path).send(gateway.address()).await;
    let reset = Poll::of(&client).topics(&topic).last_seen(FOREIGN).wait(5).send(gateway).await.batch();
    assert!(reset.reset);
    let publish = Request::publish(&topic, "application/json", r#"{"n":1}"#);
    publish.send(gateway.address()).await.expect_status(202);
    Poll::of(&client).wait(5).send(gateway).await.batch();
    Poll::of(&unique("stranger")).send(gateway).await.expect_status(404);
    EventStream::open(gateway.address(), &format!("/clients/{client}/events"), "").await.close().await;
    let follow = async |query: &str| ask("GET", &format!("/topics/{topic}/events?{query}")).await;
    assert!(follow(&format!("last_seen={FOREIGN}&wait=1")).await.batch().reset);
    follow("last_seen=oldest&wait=1").await.expect_status(200);
    let mut stream = EventStream::open(gateway.address(), &format!("/topics/{topic}/events"), "").await;
    stream.take(1).await;
    stream.reset();
    ask("PUT", &format!("/clients/{client}/topics/a.b")).await.expect_status(204);
    ask("DELETE", &format!("/clients/{client}/topics/a.b")).await.expect_status(204);
    ask("GET", &format!("/clients/{client}")).await.expect_status(200);
    ask("DELETE", &format!("/clients/{client}")).await.expect_status(204);
    for path in ["/", "/client.js", "/live", "/ready"] {
        ask("GET", path).await.expect_status(200);
    }
    ask("OPTIONS", "/live").await.expect_status(204);
    ask("BREW", "/coffee").await.expect_status(404);
}

on_both_brokers!(metrics_are_clean_before_and_after_use);
async fn metrics_are_clean_before_and_after_use(broker: Broker) {
    let gateway = start(broker).await;
    promtool::check_metrics(&metrics(&gateway, "*/*").await);
    promtool::read_open_metrics(&metrics(&gateway, PROMETHEUS).await);
    use_all(&gateway).await;
    promtool::check_metrics(&metrics(&gateway, "*/*").await);
    promtool::read_open_metrics(&metrics(&gateway, PROMETHEUS).await);
}

/// How the metrics begin that are there where RabbitMQ is.
const OF_RABBITMQ: [&str; 2] = ["postern_broker_connections", "postern_opening"];

on_both_brokers!(the_page_of_metrics_has_each_of_them_and_no_other);
async fn the_page_of_metrics_has_each_of_them_and_no_other(broker: Broker) {
    let gateway = start(broker).await;
    use_all(&gateway).await;
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/src/metrics.md");
    let page = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
    let named: BTreeSet<&str> = page
        .split('`')
        .filter(|code| code.starts_with("postern_") || code.starts_with("process_"))
        .map(|code| code.split('{').next().unwrap_or(code))
        // They are there where TLS is.
        .filter(|name| !name.starts_with("postern_tls_"))
        .filter(|name| broker == Broker::RabbitMq || !OF_RABBITMQ.iter().any(|of_it| name.starts_with(of_it)))
        .collect();
    // A request is counted when it is over.
    eventually_eq(SOON, "metrics that are not named, and names without a metric", (vec![], vec![]), async || {
        let text = metrics(&gateway, "text/plain").await;
        let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let families: BTreeSet<&str> = kinds.filter_map(|kind| kind.split(' ').next()).collect();
        let [unnamed, unknown] = [families.difference(&named), named.difference(&families)];
        (unnamed.map(|name| (*name).to_owned()).collect(), unknown.map(|name| (*name).to_owned()).collect())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_scraper_gets_the_format_that_it_asks_for() {
    let gateway = start(Broker::Embedded).await;
    for (accept, kind, last) in [
        (PROMETHEUS, "application/openmetrics-text; version=1.0.0; charset=utf-8", "# EOF"),
        ("Application/OpenMetrics-Text", "application/openmetrics-text; version=1.0.0; charset=utf-8", "# EOF"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8", "process_max_fds "),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8", "process_max_fds "),
        ("application/openmetrics-text;q=0", "text/plain; version=0.0.4; charset=utf-8", "process_max_fds "),
    ] {
        let answer = Request::get("/metrics").header("accept", accept).send(gateway.address()).await;
        assert_eq!((answer.header("content-type"), answer.header("vary")), (Some(kind), Some("accept")), "{accept}");
        assert!(answer.text().lines().last().unwrap().starts_with(last), "{accept}: {answer:?}");
    }
}

on_both_brokers!(what_is_done_is_counted);
async fn what_is_done_is_counted(broker: Broker) {
    let gateway = start(broker).await;
    let now = async |series: &str| value(&gateway, series).await;
    // What happens for the first time is an increase.
    for series in [
        r#"postern_published_total{outcome="failed"}"#,
        r#"postern_resets_total{source="feed"}"#,
        r#"postern_releases_total{outcome="broker_lost"}"#,
        "postern_feed_searches_failed_total",
        "postern_accepts_failed_total",
    ] {
        assert_eq!(now(series).await, Some(0.0), "{series}");
    }
    use_all(&gateway).await;
    for (series, count) in [
        (r#"postern_resets_total{source="mailbox"}"#, 1.0),
        (r#"postern_resets_total{source="feed"}"#, 1.0),
        ("postern_publish_confirm_seconds_count", 1.0),
        (r#"postern_http_request_duration_seconds_count{route="publish"}"#, 1.0),
        (r#"postern_http_requests_total{route="publish",method="post",status="2xx"}"#, 1.0),
        (r#"postern_http_requests_total{route="mailbox_poll",method="get",status="2xx"}"#, 2.0),
        (r#"postern_http_requests_total{route="mailbox_poll",method="get",status="4xx"}"#, 1.0),
        (r#"postern_http_requests_total{route="mailbox_bind",method="put",status="2xx"}"#, 1.0),
        (r#"postern_http_requests_total{route="mailbox_unbind",method="delete",status="2xx"}"#, 1.0),
        (r#"postern_http_requests_total{route="unknown",method="other",status="4xx"}"#, 1.0),
        (r#"postern_build_info{version="0.1.0"}"#, 1.0),
        ("postern_ready", 1.0),
        ("postern_max_connections", 10_000.0),
        ("postern_max_sessions", 10_000.0),
    ] {
        eventually_eq(SOON, series, Some(count), async || now(series).await).await;
    }
    let text = metrics(&gateway, "text/plain").await;
    assert!(!text.contains(r#"seconds_count{route="mailbox_poll"}"#), "a poll waits for events: {text}");
    for (series, least) in [
        ("process_resident_memory_bytes", 1_000_000.0),
        ("process_open_fds", 5.0),
        ("process_max_fds", 100.0),
        ("process_start_time_seconds", 1_700_000_000.0),
        ("process_cpu_seconds_total", 0.0),
    ] {
        assert!(now(series).await.is_some_and(|value| value >= least), "{series}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_are_counted_while_they_follow() {
    let gateway = start(Broker::Embedded).await;
    let followers = async || {
        let state = async |state: &str| value(&gateway, &format!("postern_feed_followers{{state=\"{state}\"}}")).await;
        (state("waiting").await, state("streaming").await)
    };
    let polled = Request::get("/topics/a.b/events?wait=30").bytes();
    let mut held = postern_tests::HttpConnection::open(gateway.address()).await;
    held.send(&polled).await;
    let stream = EventStream::open(gateway.address(), "/topics/a.b/events", "").await;
    eventually_eq(SOON, "followers", (Some(1.0), Some(1.0)), followers).await;
    held.reset();
    stream.reset();
    eventually_eq(SOON, "followers", (Some(0.0), Some(0.0)), followers).await;
    let hung_up = |route: &str, status: &str| {
        format!("postern_http_requests_total{{route=\"{route}\",method=\"get\",status=\"{status}\"}}")
    };
    for (route, status) in [("feed_poll", "hung_up"), ("feed_stream", "2xx")] {
        let series = hung_up(route, status);
        eventually_eq(SOON, &series, Some(1.0), async || value(&gateway, &series).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_its_broker_says_that_it_is_not_ready() {
    let url = format!("amqp://127.0.0.1:{}", postern_tests::free_port());
    let gateway = Gateway::builder().amqp_url(&url).start().await;
    let ready = (value(&gateway, "postern_ready").await, value(&gateway, "postern_broker_ready").await);
    assert_eq!(ready, (Some(0.0), Some(0.0)));
    assert_eq!(value(&gateway, "postern_feed_ready").await, Some(0.0));
    let answer = Request::get("/ready").send(gateway.address()).await;
    assert!(answer.problem(503).starts_with("not ready: broker, feeds;"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_loses_its_broker_says_what_is_not_ready() {
    let node = shared_node().await;
    let url = node.vhost("metrics").await;
    let gateway = Gateway::builder().amqp_url(&url).with_feed().start().await;
    gateway.wait_ready().await;
    assert_eq!(value(&gateway, "postern_feed_ready").await, Some(1.0));
    node.rabbitmqctl(&["delete_vhost", url.rsplit('/').next().unwrap()]).await;
    eventually_eq(SOON, "feed_ready", Some(0.0), async || value(&gateway, "postern_feed_ready").await).await;
    gateway.wait_answer("/ready", 503, SOON).await;
    let answer = Request::get("/ready").send(gateway.address()).await;
    assert!(answer.problem(503).starts_with("not ready: broker, feeds;"), "{answer:?}");
}

/// Returns a file of the folder that operators take.
fn deployed(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

#[test]
fn the_alerts_are_rules_that_fire_when_they_should() {
    promtool::check_rules(&deployed("alerts.yml"));
    promtool::test_rules(&deployed("alerts-test.yml"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_alerts_ask_for_what_a_gateway_has() {
    let dashboard = std::fs::read_to_string(deployed("grafana.json")).unwrap();
    let mut expressions = Vec::new();
    collect_expressions(&serde_json::from_str(&dashboard).unwrap(), &mut expressions);
    assert!(expressions.len() > 10, "{expressions:?}");
    // As Grafana does before it asks.
    let filled = |expression: &String| expression.replace("$__rate_interval", "5m").replace('$', "");
    promtool::check_expressions(&expressions.iter().map(filled).collect::<Vec<_>>());
    expressions.push(std::fs::read_to_string(deployed("alerts.yml")).unwrap());
    let asked: BTreeSet<_> = expressions.iter().flat_map(|expression| selectors(expression)).collect();

    let gateway = start(Broker::Embedded).await;
    use_all(&gateway).await;
    // It has the same, and its connections besides.
    let on_rabbitmq = start(Broker::RabbitMq).await;
    let complete = async || {
        let text = metrics(&gateway, "text/plain").await + &metrics(&on_rabbitmq, "text/plain").await;
        let missing: Vec<_> = asked.iter().filter(|selector| !is_there(selector, &text)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    };
    // The last requests are counted a moment after their answers.
    eventually(SOON, "a series for each selector", complete).await;
}

/// Returns the queries of a dashboard's panels.
fn collect_expressions(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(|expression| Some(expression.as_str()?.to_owned())));
            fields.values().for_each(|value| collect_expressions(value, found));
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| collect_expressions(value, found)),
        _ => {}
    }
}

/// Returns what an expression selects: `(name, [label="value", …])`. Only equality is taken along.
fn selectors(expression: &str) -> Vec<(String, Vec<String>)> {
    let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    let mut selectors = Vec::new();
    for prefix in ["postern_", "process_"] {
        for (at, _) in expression.match_indices(prefix) {
            if expression[..at].ends_with(is_name) {
                continue;
            }
            let rest = &expression[at..];
            let (name, rest) = rest.split_at(rest.find(|char| !is_name(char)).unwrap_or(rest.len()));
            let labels = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(labels, _)| labels);
            let equal = labels.split(',').map(str::trim).filter(|label| !label.contains(['~', '!', '$']));
            selectors.push((name.to_owned(), equal.filter(|label| !label.is_empty()).map(str::to_owned).collect()));
        }
    }
    selectors
}

fn is_there((name, labels): &(String, Vec<String>), metrics: &str) -> bool {
    metrics.lines().any(|line| {
        let series = line.strip_prefix(name.as_str()).filter(|rest| rest.starts_with(['{', ' ']));
        series.is_some_and(|series| labels.iter().all(|label| series.contains(label.as_str())))
    })
}
