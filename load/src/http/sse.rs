//! Server-Sent Events (WHATWG HTML, section 9.2), as they come.

use memchr::memchr2;

/// One event, or fields that stand alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    /// The last event id, if there is one.
    pub(crate) id: Option<&'a [u8]>,
    /// For how many milliseconds the server asks a client to stay away once the stream has ended.
    pub(crate) retry: Option<u64>,
    /// All of it.
    pub(crate) text: &'a [u8],
}

/// Takes the first whole event of a text, and tells how many bytes it takes.
pub(crate) fn first(text: &[u8]) -> Option<(Block<'_>, usize)> {
    let mut at = 0;
    let mut block = Block::default();
    // Comments before the fields are no part of the event.
    let mut begin = 0;
    // A line ends with CR, LF or both. Where LF comes later than CR, it is an empty line that says nothing.
    while let Some(length) = memchr2(b'\n', b'\r', &text[at..]) {
        let (line, start) = (&text[at..at + length], at);
        at += length + if text[at + length..].starts_with(b"\r\n") { 2 } else { 1 };
        if line.is_empty() {
            return Some((Block { text: &text[begin..at], ..block }, at));
        } else if line.starts_with(b":") && begin == start {
            begin = at;
        } else if let Some(id) = value(line, b"id") {
            block.id = Some(id);
        } else if let Some(retry) = value(line, b"retry") {
            block.retry = str::from_utf8(retry).ok().and_then(|retry| retry.parse().ok());
        }
    }
    None
}

fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name)?.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "retry: 100\n\n: hello\n\nid: a\ndata: {\"n\":1}\n\nid:b\r\ndata: 2\r\n\r\nid: c\rdata: 3\r\rid: d\nda";

    type Fields = (Option<String>, Option<u64>);

    fn blocks(text: &str) -> (Vec<Fields>, usize) {
        let (mut blocks, mut taken) = (Vec::new(), 0);
        while let Some((block, length)) = first(&text.as_bytes()[taken..]) {
            taken += length;
            // What says nothing may be the LF of a CRLF that came in two.
            if block.id.is_some() || block.retry.is_some() {
                blocks.push((block.id.map(|id| String::from_utf8(id.to_vec()).unwrap()), block.retry));
            }
        }
        (blocks, taken)
    }

    #[test]
    fn whole_events_are_taken_and_the_rest_is_left() {
        let (found, taken) = blocks(TEXT);
        let id = |id: &str| Some(id.to_owned());
        assert_eq!(found, [(None, Some(100)), (id("a"), None), (id("b"), None), (id("c"), None)]);
        assert_eq!(&TEXT[taken..], "id: d\nda");
        for cut in 0..TEXT.len() {
            let (mut first, taken) = blocks(&TEXT[..cut]);
            first.extend(blocks(&TEXT[taken..]).0);
            assert_eq!(first, found, "{cut}");
        }
    }

    #[test]
    fn a_comment_is_no_part_of_an_event() {
        let text = |text: &'static str| first(text.as_bytes()).map(|(block, _)| str::from_utf8(block.text).unwrap());
        assert_eq!(text(": {\"n\":1}\r\n\r\n"), Some("\r\n"));
        assert_eq!(text(": a\n: b\ndata: 1\n\n"), Some("data: 1\n\n"));
    }
}
