//! Tokens and ids: what is read, written and read again is the same.

#![no_main]

use std::convert::Infallible;

use events::{ClientId, EventId};
use feeds::{Cursor, Start};
use gateway::fuzzing::{names_the_same, remade};
use libfuzzer_sys::fuzz_target;
use mailboxes::LastSeen;

/// The longest token that a client may send, in bytes.
const MAX_TOKEN: usize = 128;

fn check_last_seen(text: &str) {
    let is_token = (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(events::is_token_byte);
    let Ok(token) = text.parse::<LastSeen>() else {
        assert!(!is_token, "{text:?} is refused");
        return;
    };
    assert!(is_token, "{text:?} is taken");
    assert_eq!((token.to_string().as_str(), token.as_str()), (text, text));
    if let Some(remade) = remade(&token) {
        let again: LastSeen = remade.as_str().parse().expect("what is given out is taken back");
        assert!(names_the_same(&token, &again) && again == remade, "{text:?} became {remade}");
    }
}

fn check_cursor(cursor: Cursor) {
    let text = cursor.to_string();
    assert_eq!(text.parse(), Ok::<_, Infallible>(Start::After(cursor)));
    assert_eq!(Cursor::beginning(&text), Some(cursor));
    assert_eq!(Cursor::beginning(&format!("{text}-gzip")), Some(cursor));
    assert!(text.parse::<LastSeen>().is_ok(), "{text:?} would be refused where a client may send it");
}

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    check_last_seen(&text);
    let Ok(start) = text.parse::<Start>();
    if let Start::After(cursor) = start {
        check_cursor(cursor);
    }
    if let Some(cursor) = Cursor::beginning(&text) {
        check_cursor(cursor);
    }
    if let Ok(client) = text.parse::<ClientId>() {
        assert_eq!(client.as_str(), text);
    }
    match EventId::from_publisher(&text) {
        None => assert!(text.is_empty()),
        Some(id) => {
            assert_eq!(id.as_str().parse().as_ref(), Ok(&id), "{text:?}");
            assert_eq!(EventId::from_publisher(id.as_str()).as_ref(), Some(&id), "{text:?} has two ids");
            let _ = id.unix_millis();
        }
    }
});
