//! The `OpenAPI` document, held against what the gateway does.

use postern_tests::{Broker, Gateway, Request};
use serde_json::Value;

/// The methods that an item of a path may have (`OpenAPI` 3.1, "Path Item Object"), but for HEAD and OPTIONS, which say
/// nothing new.
const METHODS: [&str; 6] = ["get", "put", "post", "delete", "patch", "trace"];

/// A name in braces stands for any text; this one is a client, a topic and a pattern alike.
fn example(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "example" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

async fn document(gateway: &Gateway) -> Value {
    Request::get("/openapi.json").send(gateway.address()).await.expect_status(200).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_path_has_the_methods_that_the_document_says_and_no_other() {
    let gateway = Broker::Embedded.gateway().await.start().await;
    gateway.wait_ready().await;
    let document = document(&gateway).await;
    let paths = document["paths"].as_object().expect("it has paths");
    assert!(
        paths.contains_key("/clients/{client}/events") && paths.contains_key("/topics/{topic}/events"),
        "{paths:?}"
    );
    for (path, item) in paths {
        let path = example(path);
        let options = Request::new("OPTIONS", &path).send(gateway.address()).await.expect_status(204);
        let allowed: Vec<_> = options.header("allow").expect("it says what is allowed").split(", ").collect();
        for method in METHODS {
            let upper = method.to_uppercase();
            let is_described = item.get(method).is_some();
            assert_eq!(is_described, allowed.contains(&&*upper), "{upper} {path}: {allowed:?}");
            if !is_described {
                let refused = Request::new(&upper, &path).send(gateway.address()).await.expect_status(405);
                assert_eq!(refused.header("allow"), options.header("allow"), "{upper} {path}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_the_document_names_is_known_and_its_range_is_the_gateways() {
    let gateway = Broker::Embedded.gateway().await.start().await;
    gateway.wait_ready().await;
    let document = document(&gateway).await;
    let operation = &document["paths"]["/clients/{client}/events"]["get"];
    let names: Vec<_> = operation["parameters"]
        .as_array()
        .expect("it has parameters")
        .iter()
        .filter_map(|parameter| parameter["$ref"].as_str()?.strip_prefix("#/components/parameters/"))
        .collect();
    let schema = |name: &str| document["components"]["parameters"][name]["schema"].clone();
    for name in ["wait", "limit"] {
        assert!(names.contains(&name), "{names:?}");
        let (least, most) =
            (schema(name)["minimum"].as_u64().expect("least"), schema(name)["maximum"].as_u64().expect("most"));
        let path = format!("/clients/example/events?topics=a&{name}={}", most + 1);
        let refused = Request::get(&path).send(gateway.address()).await.expect_status(400).json();
        let range = format!("{name}: a whole number from {least} to {most}");
        assert!(refused["detail"].as_str().expect("a detail").starts_with(&range), "{refused}");
    }
    // A name that is not known would be refused.
    let texts: Vec<_> = names.iter().filter(|name| schema(name)["type"] == "string").collect();
    for name in texts {
        let value = if *name == "poll" { "a.1" } else { "" };
        let path = format!("/clients/example/events?topics=a&wait=0&{name}={value}");
        Request::get(&path).send(gateway.address()).await.expect_status(204);
    }
}
