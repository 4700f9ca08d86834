use super::*;

fn parsed(line: &str) -> Result<Asked, String> {
    parse(line.split(' ').map(OsString::from)).map_err(|error| error.to_string())
}

fn options_of(line: &str) -> Options {
    match parsed(line) {
        Ok(Asked::Run(options)) => *options,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_command_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn defaults_are_a_feed_that_all_read() {
    let options = options_of("load");
    assert_eq!((options.clients.as_slice(), options.streams), (&[1000][..], Streams { topics: 1, publishers: 1 }));
    assert_eq!((options.pace, options.duration), (Pace::Rate(10.0), Some(Duration::from_secs(10))));
}

#[test]
fn mailboxes_have_a_topic_each() {
    let options = options_of("load --read mailbox --clients 10,30 --publishers 4 --pace confirmed --events 7");
    assert_eq!(options.streams, Streams { topics: 30, publishers: 4 });
    assert_eq!((options.pace, options.duration, options.events), (Pace::Confirmed, None, Some(7)));
    assert_eq!(options_of("load --read mailbox --topics 3 --clients 10").streams.topics, 3);
}

#[test]
fn what_does_not_go_together_is_told() {
    for (line, part) in [
        ("load --rate 5/s --burst 3", "cannot be used with"),
        ("load --topics 3 --topic x", "put {}"),
        ("load --read box", "has no [read.box]"),
        ("load --pace lockstep --publishers 2", "one publisher"),
        ("load --streams-per-connection 3", "add --connection http2"),
        ("load --watch-pid 0", "no process 0"),
        ("load --find-limit p99=5", "no time such as 50ms"),
        ("load --require lots=5", "there is no condition"),
        ("load --find-limit lost=0 --clients 1,2", "chooses the steps"),
        ("load --target /no/such", "cannot read the target"),
        ("load --print-target x", "postern and nchan"),
        ("load --clients 0", "1..=4000000"),
        ("load --find-limit lost=0 --clients 20 --max 5", "more than the 5 of --max"),
    ] {
        let error = parsed(line).unwrap_err();
        assert!(error.contains(part), "{line}: {error}");
    }
}

#[test]
fn secrets_do_not_come_into_the_report() {
    let line = ["load", "--header", "authorization: Bearer secret"].map(OsString::from);
    let Ok(Asked::Run(options)) = parse(line) else { panic!("it is a run") };
    assert!(!options.command.contains("secret"));
}

#[test]
fn a_broker_is_asked_for_and_its_password_is_not_told() {
    let url = "amqp://me:secret@127.0.0.1:1/x";
    let options = options_of(&format!("load --publish amqp --amqp-url {url}"));
    assert!(
        options.amqp.is_some() && !options.command.contains("secret") && !format!("{options:?}").contains("secret")
    );
    // Asked directly: the variable may be set where tests run.
    assert!(broker(&options.target, None).unwrap_err().contains("give it by --amqp-url or AMQP_URL"));
    for (line, part) in [
        (format!("load --amqp-url {url}"), "--publish amqp goes: add that"),
        (format!("load --publish amqp --target nchan --amqp-url {url}"), "leave out --publish amqp"),
        ("load --publish amqp --amqp-url http://me:secret@x".to_owned(), "--amqp-url or AMQP_URL: "),
    ] {
        let error = parsed(&line).unwrap_err();
        assert!(error.contains(part) && !error.contains("secret"), "{line}: {error}");
    }
}
