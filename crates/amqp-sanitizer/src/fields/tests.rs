use super::*;
use crate::tests::samples::{entry, long, nested, short};

fn repaired(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    repair_text(&mut text);
    text
}

/// Repairs headers and returns their entries after that, and whether they can be read.
fn in_headers(entries: &[u8]) -> (Vec<u8>, bool) {
    let mut payload = [&[0; BEFORE_FLAGS][..], &[HEADERS_FLAG, 0], &long(entries)].concat();
    let place = BEFORE_FLAGS + 2..payload.len();
    let (_, headers) = repair_properties(&mut payload);
    let headers = headers.unwrap();
    assert_eq!(headers.place, place);
    (payload[place.start + 4..].to_vec(), headers.readable)
}

#[test]
fn only_the_bytes_that_are_no_character_are_replaced() {
    for (text, expected) in [
        (&b""[..], &b""[..]),
        (b"plain", b"plain"),
        ("caf\u{e9} \u{20ac} \u{1f389}".as_bytes(), "caf\u{e9} \u{20ac} \u{1f389}".as_bytes()),
        (b"caf\xe9", b"caf?"),
        (b"\xe9t\xe9", b"?t?"),
        (b"\xff\xfe", b"??"),
        // A character that is cut short, one that is longer than it need be, half of a surrogate pair.
        (b"\xe2\x82", b"??"),
        (b"\xe2\x82A", b"??A"),
        (b"\xc0\x80", b"??"),
        (b"\xed\xa0\x80", b"???"),
        ("\u{e9}\u{1f389}".as_bytes().split_last().unwrap().1, "\u{e9}???".as_bytes()),
    ] {
        assert_eq!(repaired(text), expected, "{text:x?}");
    }
}

#[test]
fn keys_are_text_at_every_depth_and_values_are_not() {
    let bad = |key: &[u8]| {
        let inner = entry(key, b'S', &long(b"\xff"));
        let array = [&b"F"[..], &long(&inner), b"t\x07"].concat();
        [
            entry(key, b'F', &long(&inner)),
            entry(key, b'A', &long(&array)),
            entry(key, b'x', &long(b"\xff")),
            entry(key, b'V', b""),
            entry(key, b'D', b"\xff\xff\xff\xff\xff"),
            entry(key, b'T', &[0xff; 8]),
        ]
        .concat()
    };
    assert_eq!(in_headers(&bad(b"\xe9")), (bad(b"?"), true));
}

#[test]
fn what_is_nested_too_deeply_becomes_bytes() {
    for depth in [0, 1, MAX_NESTED, MAX_NESTED + 1, 20_000] {
        let entries = if depth == 0 { Vec::new() } else { nested(depth) };
        let mut expected = entries.clone();
        if let Some(kind) = expected.get_mut(short(b"deep").len() + 5 * MAX_NESTED) {
            *kind = b'x';
        }
        assert!(in_headers(&entries) == (expected, true), "{depth}");
    }
}

#[test]
fn an_unknown_type_is_contained_where_it_can_be() {
    let unknown = entry(b"k", b'?', b"\0\0\0\0");
    assert_eq!(in_headers(&unknown), (unknown.clone(), false));
    let (as_table, as_bytes) = (entry(b"k", b'F', &long(&unknown)), entry(b"k", b'x', &long(&unknown)));
    assert_eq!(in_headers(&as_table), (as_bytes, true));
}

#[test]
fn headers_are_taken_out_and_the_rest_closes_up() {
    let before = [&[0; BEFORE_FLAGS][..], &[HEADERS_FLAG | 0x80, 0x80], &short(b"a/b")].concat();
    let mut payload = [&before[..], &long(&nested(2)), &short(b"id")].concat();
    let (changed, headers) = repair_properties(&mut payload);
    let size = strip_headers(&mut payload, headers.unwrap().place);
    assert!(!changed);
    assert_eq!(payload[..size], [&[0; BEFORE_FLAGS][..], &[0x80, 0x80], &short(b"a/b"), &short(b"id")].concat());
}
