//! Frames for the tests of the repairs, as a broker would send them, with text as good or bad as asked.

use proptest::{collection::vec, prelude::*};

/// Writes a frame.
pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    [&[kind], &channel.to_be_bytes()[..], &long(payload), &[0xCE]].concat()
}

/// Writes a method frame on channel 1.
pub(crate) fn method(class: u16, number: u16, arguments: &[u8]) -> Vec<u8> {
    frame(1, 1, &[&class.to_be_bytes(), &number.to_be_bytes(), arguments].concat())
}

/// Writes a content header frame on channel 1, of an empty message with these properties.
pub(crate) fn header(flags: u16, properties: &[u8]) -> Vec<u8> {
    frame(2, 1, &[&[0, 60, 0, 0], &[0; 8][..], &flags.to_be_bytes(), properties].concat())
}

/// Writes a content header frame with headers only.
pub(crate) fn headers(entries: &[u8]) -> Vec<u8> {
    header(1 << 13, &long(entries))
}

/// Writes a string after its length in one byte.
pub(crate) fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

/// Writes bytes after their length in four bytes.
pub(crate) fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// Writes a table's entry.
pub(crate) fn entry(key: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
    [&short(key)[..], &[kind], value].concat()
}

/// Writes the entries of a table in which arrays are nested so deeply.
pub(crate) fn nested(depth: usize) -> Vec<u8> {
    // From the innermost outwards; prepending would take quadratic time.
    let sizes = (0..depth).rev().map(|inner| u32::try_from(5 * inner).unwrap().to_be_bytes());
    let arrays: Vec<u8> = sizes.flat_map(|size| [&b"A"[..], &size].concat()).collect();
    [&short(b"deep")[..], &arrays].concat()
}

/// Texts of up to 255 bytes: UTF-8, or anything.
fn text(any_bytes: bool) -> BoxedStrategy<Vec<u8>> {
    let good = "\\PC{0,30}".prop_map(String::into_bytes);
    if any_bytes { prop_oneof![good, vec(any::<u8>(), 0..30), vec(any::<u8>(), 255)].boxed() } else { good.boxed() }
}

fn entries(value: impl Strategy<Value = (u8, Vec<u8>)>, bad: bool) -> impl Strategy<Value = Vec<u8>> {
    let entry = (text(bad), value).prop_map(|(key, (kind, value))| entry(&key, kind, &value));
    vec(entry, 0..4).prop_map(|entries| entries.concat())
}

/// Values of a table: their type and what follows it.
fn value(bad: bool) -> impl Strategy<Value = (u8, Vec<u8>)> {
    let fixed = [(b"V", 0), (b"t", 1), (b"b", 1), (b"B", 1), (b"s", 2), (b"u", 2), (b"I", 4), (b"i", 4), (b"f", 4)];
    let fixed = [&fixed[..], &[(b"D", 5), (b"l", 8), (b"L", 8), (b"d", 8), (b"T", 8)]].concat();
    let fixed = prop::sample::select(fixed)
        .prop_flat_map(|([kind], size)| vec(any::<u8>(), size).prop_map(move |bytes| (*kind, bytes)));
    let bytes = (prop::sample::select(&b"Sx"[..]), vec(any::<u8>(), 0..20)).prop_map(|(kind, b)| (kind, long(&b)));
    prop_oneof![fixed, bytes].prop_recursive(4, 20, 3, move |inner| {
        let array = vec(inner.clone().prop_map(|(kind, value)| [&[kind], &value[..]].concat()), 0..3);
        let array = array.prop_map(|values| (b'A', long(&values.concat())));
        prop_oneof![array, entries(inner, bad).prop_map(|entries| (b'F', long(&entries)))]
    })
}

/// Content headers with any of the properties.
fn any_header(bad: bool) -> impl Strategy<Value = Vec<u8>> {
    (any::<u16>(), vec(text(bad), 10), entries(value(bad), bad), vec(any::<u8>(), 10)).prop_map(
        |(flags, texts, entries, rest)| {
            let mut texts = texts.iter().map(|text| short(text));
            let written = (2..16).rev().filter_map(|bit| {
                let property = match bit {
                    13 => long(&entries),
                    12 | 11 => rest[..1].to_vec(),
                    6 => rest[2..].to_vec(),
                    _ => texts.next()?,
                };
                (flags & (1 << bit) != 0).then_some(property)
            });
            header(flags, &written.collect::<Vec<_>>().concat())
        },
    )
}

fn any_method(bad: bool) -> impl Strategy<Value = Vec<u8>> {
    (vec(text(bad), 3), 0..7_u8).prop_map(move |(texts, which)| {
        let [a, b, c] = [0, 1, 2].map(|n| short(&texts[n]));
        let long_long = [7; 8];
        match which {
            0 => method(10, 50, &[&[1, 64], &a[..], &[0; 4]].concat()),
            1 => method(20, 40, &[&[1, 64], &a[..], &[0; 4]].concat()),
            2 => method(60, 50, &[&[1, 64], &a[..], &b, &c].concat()),
            3 => method(60, 60, &[&a[..], &long_long, &[1], &b, &c].concat()),
            4 => method(60, 71, &[&long_long[..], &[0], &a, &b, &[0; 4]].concat()),
            5 => method(60, 80, &[&long_long[..], &[1]].concat()),
            // After a 20.40 one that the library does not expect.
            _ if bad => method(20, 41, &[]),
            _ => method(60, 11, &[]),
        }
    })
}

/// Well-formed frames, one by one: with good text only, or with some that is bad.
pub(crate) fn frames(bad: bool) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let body = vec(any::<u8>(), 0..300).prop_map(|payload| frame(3, 1, &payload));
    vec(prop_oneof![2 => any_header(bad), 2 => any_method(bad), 1 => body, 1 => Just(frame(8, 0, b""))], 0..8)
}
