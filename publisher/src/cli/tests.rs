//! What the command line takes, and what it refuses.

use std::path::Path;

use super::*;

fn parsed(line: &str) -> Result<Options, clap::Error> {
    read(line.split(' '))
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn the_page_of_settings_has_every_flag() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/configuration.md");
    let is_update = std::env::var_os("UPDATE_DOCS").is_some();
    let tables = settings::tables::tables(&Cli::command());
    settings::tables::compare(&page, "publisher", &tables, is_update).unwrap();
}

#[test]
fn where_the_payload_comes_from() {
    let payload = |line| match parsed(line).map(|options| options.command) {
        Ok(Command::Emit(options)) => format!("{:?}", options.payload),
        _ => panic!("{line}"),
    };
    assert_eq!(payload("publisher emit a.b {}"), "Argument(\"{}\")");
    assert_eq!(payload("publisher emit a.b"), "StandardInput");
    assert_eq!(payload("publisher emit a.b -"), "StandardInput");
    assert_eq!(payload("publisher emit a.b --file x"), "File(\"x\")");
    assert!(parsed("publisher emit a.b {} --file x").is_err());
}

#[test]
fn where_the_topic_comes_from() {
    let topic = |line| match parsed(line).map(|options| options.command) {
        Ok(Command::Pipe(options)) => format!("{:?}", options.topic),
        _ => panic!("{line}"),
    };
    assert_eq!(topic("publisher pipe a.b"), "All(Topic(a.b))");
    assert_eq!(topic("publisher pipe --topic-from meta.topic"), "Field([\"meta\", \"topic\"])");
    assert!(parsed("publisher pipe").is_err());
    assert!(parsed("publisher pipe a.b --topic-from x").is_err());
}

#[test]
fn common_flags_may_stand_after_the_command() {
    let options = parsed("publisher emit a x --in-flight 7 --timeout 2m -q --amqp-url amqp://u:p@h:1/v")
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((options.sender.in_flight, options.sender.timeout.as_secs(), options.quiet), (7, 120, true));
    assert!(matches!(options.destination, Destination::Broker(url) if url.to_string() == "amqp://u@h:1 (vhost v)"));
}

#[test]
fn the_destination_may_stand_before_or_after_the_command() {
    for line in ["publisher --gateway http://h:1/x emit a x", "publisher emit a x --gateway http://h:1/x"] {
        let options = parsed(line).unwrap_or_else(|e| panic!("{e}"));
        assert!(
            matches!(options.destination, Destination::Gateway(url) if url.to_string() == "http://h:1/x"),
            "{line}"
        );
    }
    let both = parsed("publisher --gateway http://h emit a x --amqp-url amqp://h").err().unwrap();
    assert!(both.to_string().contains("--amqp-url and --gateway"), "{both}");
}

#[test]
fn the_order_is_that_of_the_input_unless_another_is_asked_for() {
    let order = |line| match parsed(line).map(|options| options.command) {
        Ok(Command::Pipe(options)) => options.order,
        _ => panic!("{line}"),
    };
    assert_eq!(order("publisher pipe a.b"), source::Order::Source);
    assert_eq!(order("publisher pipe --topic-from t --order topic"), source::Order::Topic);
    assert!(parsed("publisher pipe a.b --order none").is_err());
}

#[test]
fn a_watcher_does_not_give_up_unless_a_timeout_is_given() {
    let timeout = |line: &str| parsed(line).unwrap_or_else(|e| panic!("{e}")).sender.timeout.as_secs();
    assert_eq!(timeout("publisher emit a x"), 30);
    assert!(timeout("publisher watch f a") > 10 * 366 * 86_400);
    assert_eq!(timeout("publisher watch f a --timeout 30s"), 30);
    let deleted = parsed("publisher watch f a --content-type application/vnd.postern.deleted").err().unwrap();
    assert!(deleted.to_string().contains("there is no file"), "{deleted}");
}

#[test]
fn a_wrong_url_is_not_repeated() {
    for flag in ["--amqp-url amqp:/user:s3cret@host", "--gateway ftp://user:s3cret@host"] {
        let error = parsed(&format!("publisher emit a x {flag}")).err().unwrap();
        let name = flag.split(' ').next().unwrap();
        assert!(!error.to_string().contains("s3cret") && error.to_string().contains(name), "{error}");
        assert!(error.use_stderr());
    }
}
