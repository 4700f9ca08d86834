use super::{place::Place, *};
use crate::http::answer::Answer;

fn wanted<'a>(target: &'a str, way: Option<&'a str>, stream: bool, headers: &'a [(String, String)]) -> Wanted<'a> {
    let address = SocketAddr::from(([127, 0, 0, 1], 8080));
    Wanted { target, way, stream, address, publish_address: address, headers }
}

fn names() -> Names {
    Names { client: "c{}".to_owned(), topic: "t.{}.x".to_owned() }
}

fn rendered(request: &Request, place: &Place) -> String {
    let names = names();
    let values = Values { names: &names, client: 7, topic: 3, place, payload: br#"{"n":1}"# };
    let mut bytes = Vec::new();
    request.render(&values, &mut bytes);
    String::from_utf8(bytes).unwrap()
}

fn place(sources: &[Source], answer: &str) -> Place {
    let mut place = Place::default();
    place.note(sources, &Answer::read(answer.as_bytes(), false).unwrap().unwrap(), &mut Vec::new());
    place
}

#[test]
fn a_feed_of_postern_is_asked_for_its_place_first() {
    let target = Target::find(&wanted("postern", None, false, &[])).unwrap();
    assert_eq!((target.read.way.as_str(), target.read.own_topics), ("feed", false));
    let first = rendered(target.read.first.as_ref().unwrap(), &Place::default());
    assert_eq!(first, "GET /topics/t.3.x/events?last_seen=now&wait=0 HTTP/1.1\r\nhost: 127.0.0.1:8080\r\n\r\n");
    let place = place(&target.read.places, "HTTP/1.1 204 No Content\r\nLast-Seen: a.b\r\n\r\n");
    let next = rendered(&target.read.next, &place);
    assert!(next.starts_with("GET /topics/t.3.x/events?last_seen=a.b&wait=25 HTTP/1.1\r\n"), "{next}");
    let publish = target.publish.unwrap();
    assert!(
        rendered(&publish.request, &place)
            .ends_with("content-type: application/json\r\ncontent-length: 7\r\n\r\n{\"n\":1}")
    );
    assert!(publish.confirmed.contains(&202));
}

#[test]
fn a_mailbox_of_postern_names_its_place_by_a_header_that_is_left_out_at_first() {
    let headers = [("authorization".to_owned(), "Bearer x".to_owned())];
    let target = Target::find(&wanted("postern", Some("mailbox"), true, &headers)).unwrap();
    assert!(target.read.own_topics && target.read.is_stream);
    let next = rendered(&target.read.next, &Place::default());
    let head = "GET /clients/c7/events HTTP/1.1\r\nhost: 127.0.0.1:8080\r\naccept: text/event-stream\r\nauthorization: Bearer x\r\n";
    assert_eq!(next, format!("{head}\r\n"));
    let mut place = Place::default();
    place.note_id(b"a.b");
    assert_eq!(rendered(&target.read.next, &place), format!("{head}last-event-id: a.b\r\n\r\n"));
    assert!(rendered(&target.read.leave.unwrap(), &place).starts_with("DELETE /clients/c7 HTTP/1.1\r\n"));
}

#[test]
fn nchan_needs_two_headers() {
    let target = Target::find(&wanted("nchan", None, false, &[])).unwrap();
    let place =
        place(&target.read.places, "HTTP/1.1 200 OK\r\nEtag: 0\r\nLast-Modified: Now\r\ncontent-length: 0\r\n\r\n");
    let next = rendered(&target.read.next, &place);
    assert!(next.ends_with("if-modified-since: Now\r\nif-none-match: 0\r\n\r\n"), "{next}");
}

#[test]
fn a_place_may_be_in_the_body_and_is_escaped_in_a_path() {
    let text = "name = 'x'\n[read.a]\npoll.path = '/p?since={since}'\nplaces.since.pointer = '/next/0'\n";
    let target = Target::build(File::read(text).unwrap(), &wanted("x", None, false, &[])).unwrap();
    for (json, since) in [(r#"{"next":["a b&"]}"#, "a%20b%26"), (r#"{"next":[12]}"#, "12"), ("[]", "")] {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{json}", json.len());
        let next = rendered(&target.read.next, &place(&target.read.places, &answer));
        assert!(next.starts_with(&format!("GET /p?since={since} HTTP")), "{next}");
    }
}

#[test]
fn an_answer_without_a_place_leaves_it() {
    let target = Target::find(&wanted("postern", None, false, &[])).unwrap();
    let mut place = place(&target.read.places, "HTTP/1.1 204 No Content\r\nlast-seen: T\r\n\r\n");
    let without = Answer::read(b"HTTP/1.1 204 No Content\r\n\r\n", false).unwrap().unwrap();
    place.note(&target.read.places, &without, &mut Vec::new());
    assert!(rendered(&target.read.next, &place).contains("last_seen=T&"));
}

#[test]
fn braces_of_json_are_no_variables() {
    let text = "name = 'x'\n[read.a]\npoll.path = '/p'\n[publish]\npath = '/api'\nbody = '{\"channel\":\"{topic}\",\"data\":{payload}}'\n";
    let target = Target::build(File::read(text).unwrap(), &wanted("x", None, false, &[])).unwrap();
    let publish = rendered(&target.publish.unwrap().request, &Place::default());
    assert!(publish.ends_with("\r\ncontent-length: 34\r\n\r\n{\"channel\":\"t.3.x\",\"data\":{\"n\":1}}"), "{publish}");
}

#[test]
fn an_error_names_the_line_and_the_remedy() {
    let beginning = "name = 'x'\n[read.a]\n";
    for (rest, line, part) in [
        ("poll.path = '/{plaec}'", "line 3", "{client}, {topic}, {number}, {payload}, or name a place \"plaec\""),
        ("poll.path = 'x'", "line 3", "begins with `/`"),
        ("poll.paht = '/x'", "line 3", "paht"),
        ("poll.path = \"/x\\r\\n\"", "line 3", "take the line end out"),
        ("poll.path = '/x'\nplaces.place.haeder = 'x'", "line 4", "haeder"),
        ("poll.path = '/x'\nnothing = ['x']", "line 4", "u16"),
        ("nothing = [204]", "[read.a]", "add one of them"),
        ("poll.path = '/x", "line 3", ""),
        ("poll.path = '/x'\nplaces.topic.header = 'x'", "[read.a]", "choose another name"),
    ] {
        let error = File::read(&format!("{beginning}{rest}\n")).unwrap_err();
        assert!(error.contains(line) && error.contains(part), "{rest}: {error}");
    }
}

#[test]
fn what_a_target_lacks_is_said() {
    let error = |wanted: &Wanted<'_>| Target::find(wanted).unwrap_err().to_string();
    assert!(error(&wanted("postern", Some("x"), false, &[])).contains("has no [read.x]; it has feed, mailbox"));
    assert!(error(&wanted("/no/such/file", None, false, &[])).contains("postern and nchan"));
    let text = "name = 'x'\n[read.a]\npoll.path = '/p'\n";
    let error = Target::build(File::read(text).unwrap(), &wanted("x", None, true, &[])).unwrap_err();
    assert!(error.to_string().contains("`stream.path`"), "{error}");
}
