//! Other servers, described by a file.

use crate::{
    stub::{Faults, Stub},
    tool::{load, load_on, path},
};

const FILE: &str = r#"
name = "mine"

[read.list]
poll.path = "/topics/{topic}/events?last_seen={next}&wait=1"
first.path = "/topics/{topic}/events?wait=0"
leave.method = "DELETE"
leave.path = "/{client}"
places.next.pointer = "/next"

[publish]
path = "/topics/{topic}/events"
"#;

#[test]
fn a_server_that_tells_its_place_in_json_is_read_to_the_end() {
    let file = path("target.toml");
    std::fs::write(&file, FILE).unwrap();
    let stub = Stub::start(Faults { is_place_in_body: true, dropped: Some((100, 0)), ..Faults::default() });
    let flags =
        format!("--target {} --drain 1s --clients 10 --topic prices --pace confirmed --events 200", file.display());
    let ended = load_on(&stub, &flags);
    assert_eq!(["received", "lost"].map(|field| ended.step(field)), [1980, 20], "{}", ended.stderr());
    assert_eq!(ended.report["target"], format!("mine at {}", stub.address()));
    assert_eq!(stub.deleted(), 10);
    // Also those that went after their step.
    let flags = format!("--target {} --clients 4,12,3 --pace confirmed --events 5", file.display());
    assert_eq!(load_on(&stub, &flags).report["steps"][1]["received"], 60);
    assert_eq!(stub.deleted(), 10 + 12);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_built_in_target_is_an_example_that_can_be_read() {
    for name in ["postern", "nchan"] {
        let printed = load(&format!("--print-target {name}"));
        assert!(printed.status.success());
        let file = path("printed.toml");
        std::fs::write(&file, &printed.stdout).unwrap();
        let refused = load(&format!("--target {} --read nothing", file.display()));
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(text.contains(&format!("the target {name} has no [read.nothing]")), "{text}");
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn a_wrong_file_is_refused_with_its_line() {
    let file = path("wrong.toml");
    std::fs::write(&file, FILE.replace("{next}", "{nxt}")).unwrap();
    let refused = load(&format!("--target {}", file.display()));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(64));
    assert!(text.contains("line 5: there is no variable {nxt}") && text.contains("--print-target"), "{text}");
    std::fs::remove_file(file).unwrap();
}
