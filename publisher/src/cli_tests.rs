//! What the command line takes, and what it refuses.

use super::*;

fn parsed(line: &str) -> Result<Options, clap::Error> {
    Cli::try_parse_from(line.split(' ')).and_then(Options::try_from)
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
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
    assert_eq!(options.url.to_string(), "amqp://u@h:1 (vhost v)");
}

#[test]
fn a_wrong_url_is_not_repeated() {
    let error = parsed("publisher emit a x --amqp-url amqp:/user:s3cret@host").err().unwrap();
    assert!(!error.to_string().contains("s3cret") && error.to_string().contains("--amqp-url"), "{error}");
    assert!(error.use_stderr());
}

#[test]
fn sizes_times_and_rates_have_units_and_limits() {
    assert_eq!((byte_size("8MiB"), byte_size("64KiB"), byte_size("7")), (Ok(8 << 20), Ok(65536), Ok(7)));
    for bad in ["", "0", "MiB", "1GiB", "513MiB", "-1", "1.5MiB", "ü"] {
        assert!(byte_size(bad).is_err(), "{bad}");
    }
    for bad in ["0s", "5", "", "1000years"] {
        assert!(positive_duration(bad).is_err(), "{bad}");
    }
    for bad in ["0", "-1", "NaN", "inf", "x"] {
        assert!(rate(bad).is_err(), "{bad}");
    }
    assert!(prefix(&"p".repeat(200)).is_ok() && prefix(&"p".repeat(201)).is_err() && prefix("a.*").is_err());
}
