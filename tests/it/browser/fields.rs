//! What stands beside a field of the page.

use postern_tests::Broker;

use super::Desk;

/// A refusal is told where it can be mended, and nothing else moves.
#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_that_is_refused_is_told_beside_its_field() {
    let desk = Desk::new(Broker::Embedded).await;
    let places = r##"
        const tops = ["#publish", "#topics", ".scroll", "#subscribe-command"].map((selector) =>
          document.querySelector(selector).getBoundingClientRect().top);
        return JSON.stringify(tops);"##;
    let fault = r#"
        const field = document.getElementById("topics");
        const [, fault] = field.getAttribute("aria-describedby").split(" ").map((id) => document.getElementById(id));
        return [field.getAttribute("aria-invalid"), fault.textContent.slice(0, 28)];"#;
    for width in [1280, 390] {
        desk.browser.look((width, 900), "light").await;
        desk.browser.run("scrollTo(0, 0);").await;
        let before = desk.browser.run(places).await;
        desk.browser.fill("#topics", "a..b\n").await;
        desk.becomes("refused").await;
        assert_eq!(desk.browser.text("#status").await, "Stopped: see Topics");
        assert_eq!(desk.browser.run(fault).await, serde_json::json!(["true", "\"a..b\": a topic pattern is w"]));
        desk.browser.run("scrollTo(0, 0);").await;
        assert_eq!(desk.browser.run(places).await, before, "the page jumped at {width} px");
        desk.browser.fill("#topics", &format!("{}.#\n", desk.topic)).await;
        desk.becomes("live").await;
        assert_eq!(desk.browser.run(fault).await, serde_json::json!(["false", ""]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_outside_the_subscription_is_said_to_be_so() {
    let desk = Desk::new(Broker::Embedded).await;
    let hint = r##"return ["#hint", "#empty-hint"].map((selector) => document.querySelector(selector).innerText);"##;
    let outside = serde_json::json!([
        format!("Not in the list, whose topics are {}.#", desk.topic),
        "The event that you published is outside of these topics."
    ]);
    desk.browser.fill("#topic", &format!("not.{}", desk.topic)).await;
    desk.browser.click("form button").await;
    desk.gives(hint, outside).await;
    assert!(desk.browser.text("#result").await.starts_with("202 "));
    assert!(!desk.browser.text(".events").await.contains("Publish an event here"));

    desk.browser.fill("#topic", &desk.topic).await;
    desk.browser.click("form button").await;
    desk.shows(&[r#"{"state":"running","progress":40}"#.to_owned()]).await;
    desk.gives(hint, serde_json::json!(["", ""])).await;
}

/// An empty list takes little of a small screen, and no button stands alone in a line.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_screen_is_used_well() {
    let desk = Desk::new(Broker::Embedded).await;
    desk.browser.look((390, 844), "light").await;
    let script = r##"
        const { height } = document.querySelector("#events-view .scroll").getBoundingClientRect();
        const [pause, clear] = ["#pause", "#clear"].map((id) => document.querySelector(id).getBoundingClientRect().top);
        return [height < 240, pause === clear];"##;
    assert_eq!(desk.browser.run(script).await, serde_json::json!([true, true]));
}
