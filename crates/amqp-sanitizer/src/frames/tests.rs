use amq_protocol::frame::{AMQPFrame, parse_frame};
use proptest::prelude::*;

use super::*;
use crate::tests::samples::{entry, frame, frames, header, headers, long, method, nested, short};

fn looked(bytes: &[u8]) -> Vec<u8> {
    looked_by(&mut Frames::new(None), bytes)
}

fn looked_by(frames: &mut Frames, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let progress = frames.sanitize(&mut bytes);
    assert_eq!((progress.ready, progress.needed), (bytes.len(), 0));
    bytes
}

/// Reads frames as the library does; panics where that would give up.
fn parsed(mut bytes: &[u8]) -> Vec<AMQPFrame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (rest, frame) = parse_frame(bytes).unwrap_or_else(|error| panic!("{error}: {bytes:x?}"));
        frames.push(frame);
        bytes = rest;
    }
    frames
}

#[test]
fn foreign_text_is_repaired_and_nothing_else() {
    let (bad, good) = (short(b"caf\xe9"), short(b"caf?"));
    let deliver = |key: &[u8]| method(60, 60, &[&short(b"tag")[..], &[0; 9], &short(b"x"), key].concat());
    let table = |key: &[u8]| headers(&[key, b"V"].concat());
    let id = |id: &[u8]| header(1 << 7, id);
    let untouched = [frame(3, 1, &id(&bad)), frame(8, 0, b""), method(60, 80, &[0xff; 9]), method(60, 61, &bad)];
    let stream = |text: &[u8]| [deliver(text), table(text), untouched.concat(), id(text), deliver(text)].concat();
    assert_eq!(looked(&stream(&bad)), stream(&good));
}

#[test]
fn the_answer_to_a_close_that_crossed_the_broker_s_own_is_passed_over() {
    let (open_ok, close_ok) = (method(20, 11, &long(b"")), method(20, 41, b""));
    let close = method(20, 40, &[&[1, 0x94][..], &short(b"no queue"), &[0; 4]].concat());
    let other = frame(1, 2, &[0, 20, 0, 41]);
    let looked = looked(&[&open_ok[..], &close, &other, &close_ok, &open_ok, &close_ok].concat());
    let expected = [&open_ok[..], &close, &other, &frame(8, 0, &[0; 4]), &open_ok, &close_ok].concat();
    assert_eq!(parsed(&looked).len(), 6);
    let answer = open_ok.len() + close.len() + other.len();
    assert_eq!((&looked[..answer + 7], &looked[answer + 11..]), (&expected[..answer + 7], &expected[answer + 11..]));
}

#[test]
fn a_look_wants_what_it_needs_and_no_more() {
    let long_id = header(1 << 7, &short(&[0xff; 200]));
    let body = frame(3, 1, &[0; 100]);
    for (bytes, pass, want) in [
        (&long_id[..6], 0, HEAD),
        (&long_id[..7], 0, long_id.len()),
        (&long_id[..long_id.len() - 1], 0, long_id.len()),
        (&body[..6], 0, HEAD),
        (&body[..7], 7, 0),
        (&[&body[..], &long_id[..9]].concat()[..], body.len(), long_id.len()),
        (&method(60, 60, &[])[..HEAD], 0, HEAD + 4),
        (&method(60, 80, &[0; 9])[..HEAD + 4], HEAD + 4, 0),
    ] {
        let progress = Frames::new(None).sanitize(&mut bytes.to_vec());
        assert_eq!((progress.ready, progress.needed), (pass, want), "{bytes:x?}");
    }
}

#[test]
fn what_is_not_amqp_or_malformed_is_left_alone() {
    let bad_id = header(1 << 7, &short(b"\xff"));
    let mut no_end = bad_id.clone();
    *no_end.last_mut().unwrap() = 0;
    for bytes in [
        &b"\x16\x03\x03\0\x7a"[..],
        &[b"AMQP\0\0\x09\x01", &bad_id[..]].concat(),
        &no_end,
        // Too short for what its flags or its own lengths say, too large to be looked at, of no known class.
        &header(u16::MAX, b""),
        &header(1 << 7, b"\xff\xff"),
        &header(1 << 13, &[0, 0, 0, 1, 0xff]),
        &[2, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 60],
        &frame(2, 1, &[&[0, 61, 0, 0][..], &[0; 8], &[0, 0x80], &short(b"\xff")].concat()),
        &method(60, 60, b"\xff"),
        &frame(1, 1, b"\0\x3c"),
        &frame(1, 0, &[0, 10, 0, 30, 0]),
    ] {
        assert_eq!(looked(bytes), bytes);
    }
}

#[test]
fn headers_that_make_a_frame_too_large_are_left_out() {
    let tune = |size: u32| frame(1, 0, &[&[0, 10, 0, 30, 7, 0xff], &size.to_be_bytes()[..], &[0, 60]].concat());
    let with_header = |size: usize| {
        header(0x2080, &[&long(&entry(b"k", b'S', &long(&vec![b'x'; size])))[..], &short(b"id")].concat())
    };
    let overhead = with_header(0).len();
    for (url, broker, largest) in
        [(None, 131_072, 131_072), (Some(0), 9000, 9000), (Some(4096), 131_072, 4096), (Some(9000), 0, 9000)]
    {
        for (size, fits) in [(largest, true), (largest + 1, false), (2 * largest + 3, false), (3 * largest, false)] {
            let mut frames = Frames::new(url);
            looked_by(&mut frames, &tune(broker));
            let before = with_header(size - overhead);
            let after = looked_by(&mut frames, &before);
            assert_eq!((before == after, after.len()), (fits, size));
            if !fits {
                let alone = header(0x80, &short(b"id"));
                assert_eq!(after[..alone.len()], alone);
                let mut rest = &after[alone.len()..];
                while !rest.is_empty() {
                    let (next, frame) = parse_frame(rest).unwrap();
                    assert_eq!(frame, AMQPFrame::Heartbeat);
                    assert!(rest.len() - next.len() <= largest);
                    rest = next;
                }
            }
        }
    }
}

#[test]
fn headers_that_no_reader_can_read_are_left_out() {
    let unknown = headers(&entry(b"key", b'?', b""));
    assert_eq!(
        looked(&unknown),
        [header(0, b""), frame(8, 0, &unknown[unknown.len() - 2..unknown.len() - 1])].concat()
    );
}

#[test]
fn deep_nesting_does_not_overflow_the_stack_of_the_parser() {
    assert!(matches!(&parsed(&looked(&headers(&nested(26_000))))[..], [AMQPFrame::Header(1, _)]));
}

proptest! {
    #[test]
    fn the_library_reads_all_that_was_repaired(frames in frames(true)) {
        let before = frames.concat();
        let after = looked(&before);
        prop_assert_eq!(after.len(), before.len());
        prop_assert_eq!(parsed(&after).len(), frames.len());
        prop_assert_eq!(looked(&after), after);
    }

    #[test]
    fn what_the_library_would_read_anyway_stays_as_it_is(frames in frames(false)) {
        let before = frames.concat();
        let mut after = before.clone();
        let progress = Frames::new(None).sanitize(&mut after);
        prop_assert_eq!(progress, Progress { ready: before.len(), needed: 0, repaired: false });
        prop_assert_eq!(after, before);
    }

    #[test]
    fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 1..4_u8) {
        let frame = frame(kind, 1, &[&[0, 60, 0, 60][..], &bytes].concat());
        prop_assert_eq!(looked(&frame).len(), frame.len());
        Frames::new(None).sanitize(&mut bytes.clone());
    }
}
