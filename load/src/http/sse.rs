//! Server-Sent Events (WHATWG HTML, section 9.2), as they come.

use memchr::memchr;

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
    while let Some(length) = memchr(b'\n', &text[at..]) {
        let line = text[at..at + length].strip_suffix(b"\r").unwrap_or(&text[at..at + length]);
        at += length + 1;
        if line.is_empty() {
            return Some((Block { text: &text[..at], ..block }, at));
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

    const TEXT: &str = "retry: 100\n\n: hello\n\nid: a\ndata: {\"n\":1}\n\nid:b\r\ndata: 2\r\n\r\nid: c\nda";

    type Fields = (Option<String>, Option<u64>);

    fn blocks(text: &str) -> (Vec<Fields>, usize) {
        let (mut blocks, mut taken) = (Vec::new(), 0);
        while let Some((block, length)) = first(&text.as_bytes()[taken..]) {
            blocks.push((block.id.map(|id| String::from_utf8(id.to_vec()).unwrap()), block.retry));
            taken += length;
        }
        (blocks, taken)
    }

    #[test]
    fn whole_events_are_taken_and_the_rest_is_left() {
        let (found, taken) = blocks(TEXT);
        let id = |id: &str| Some(id.to_owned());
        assert_eq!(found, [(None, Some(100)), (None, None), (id("a"), None), (id("b"), None)]);
        assert_eq!(&TEXT[taken..], "id: c\nda");
        for cut in 0..TEXT.len() {
            let (mut first, taken) = blocks(&TEXT[..cut]);
            first.extend(blocks(&TEXT[taken..]).0);
            assert_eq!(first, found, "{cut}");
        }
    }
}
