//! An HTTP answer (RFC 9112).

use std::borrow::Cow;

use memchr::memmem;

use super::{
    Malformed,
    body::{Body, Chunk},
};

/// The maximum length of a head.
const MAX_HEAD: usize = 64 << 10;

/// The maximum length of a whole answer.
const MAX_ANSWER: usize = 64 << 20;

/// Status and headers of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    /// The status code.
    pub(crate) status: u16,
    /// Where the body ends.
    pub(crate) body: Body,
    /// The connection serves no request after this.
    pub(crate) is_last: bool,
    /// How many bytes it takes, with what comes before the body.
    pub(crate) length: usize,
    lines: &'a [u8],
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// Status and headers.
    pub(crate) head: Head<'a>,
    /// The content.
    pub(crate) content: Cow<'a, [u8]>,
}

impl<'a> Head<'a> {
    /// Reads a head; `None` if there must be more of it to come.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let mut start = 0;
        loop {
            let rest = &bytes[start..];
            let Some(end) = memmem::find(rest, b"\r\n\r\n") else {
                return if rest.len() > MAX_HEAD { Err(Malformed("a head without an end")) } else { Ok(None) };
            };
            let lines = &rest[..end];
            let status =
                lines.strip_prefix(b"HTTP/1.").and_then(|line| str::from_utf8(line.get(2..5)?).ok()?.parse().ok());
            let status: u16 = status.ok_or(Malformed("no status in an answer"))?;
            start += end + 4;
            // Informational (RFC 9110, section 15.2): another head comes.
            if (100..200).contains(&status) {
                continue;
            }
            let mut head = Self { status, body: Body::ToEnd, is_last: false, length: start, lines };
            let is_chunked =
                head.header("transfer-encoding").is_some_and(|value| !value.eq_ignore_ascii_case(b"identity"));
            let connection = head.header("connection").unwrap_or_default().to_ascii_lowercase();
            // Those two have no body, whatever their headers say (RFC 9112, section 6.3).
            if [204, 304].contains(&status) {
                head.body = Body::Length(0);
            } else if is_chunked {
                head.body = Body::Chunked(Chunk::Size);
            } else if let Some(length) = head.header("content-length") {
                let length = str::from_utf8(length).ok().and_then(|length| length.parse().ok());
                head.body = Body::Length(length.ok_or(Malformed("a content-length that is no number"))?);
            }
            let is_old = lines.starts_with(b"HTTP/1.0") && memmem::find(&connection, b"keep-alive").is_none();
            head.is_last = is_old || head.body == Body::ToEnd || memmem::find(&connection, b"close").is_some();
            return Ok(Some(head));
        }
    }

    /// Returns a header, named in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.lines.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
            let (found, value) = line.split_at_checked(name.len())?;
            let value = found.eq_ignore_ascii_case(name.as_bytes()).then(|| value.strip_prefix(b":"))??;
            Some(value.trim_ascii())
        })
    }

    /// Returns for how many seconds the server asks a client to stay away.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        str::from_utf8(self.header("retry-after")?).ok()?.parse().ok()
    }
}

impl<'a> Answer<'a> {
    /// Reads an answer; `None` if there must be more of it to come. `ended` tells that nothing more can come.
    pub(crate) fn read(bytes: &'a [u8], ended: bool) -> Result<Option<Self>, Malformed> {
        let Some(head) = Head::read(bytes)? else { return Ok(None) };
        let rest = &bytes[head.length..];
        if bytes.len() > MAX_ANSWER {
            return Err(Malformed("an answer of more than 64 MiB"));
        }
        let content = match head.body {
            Body::Length(length) if rest.len() < length => return Ok(None),
            Body::Length(length) if rest.len() > length => {
                return Err(Malformed("more than one answer to one request"));
            }
            Body::ToEnd if !ended => return Ok(None),
            Body::Length(_) | Body::ToEnd => Cow::Borrowed(rest),
            mut body @ Body::Chunked(_) => {
                let mut content = Vec::new();
                match body.take(rest, &mut content)? {
                    (_, false) => return Ok(None),
                    (taken, true) if taken < rest.len() => {
                        return Err(Malformed("more than one answer to one request"));
                    }
                    (_, true) => Cow::Owned(content),
                }
            }
        };
        Ok(Some(Self { head, content }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        let whole = b"HTTP/1.1 200 OK\r\nEtag: \"T\"\r\ncontent-length: 21\r\n\r\n[{\"n\":7},{\"n\":12},{}]";
        for cut in 0..whole.len() {
            assert!(Answer::read(&whole[..cut], false).unwrap().is_none(), "{cut}");
        }
        let Answer { head, content } = Answer::read(whole, false).unwrap().unwrap();
        assert_eq!((head.status, head.header("etag"), head.header("tag")), (200, Some(&b"\"T\""[..]), None));
        assert_eq!((&content[..], head.is_last), (&b"[{\"n\":7},{\"n\":12},{}]"[..], false));
        assert!(Answer::read(&[&whole[..], b"HTTP"].concat(), false).is_err());
    }

    #[test]
    fn an_answer_in_chunks_is_read_when_it_is_whole() {
        let whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        for cut in 0..whole.len() {
            assert!(Answer::read(&whole[..cut], false).unwrap().is_none(), "{cut}");
        }
        assert_eq!(&Answer::read(whole, false).unwrap().unwrap().content[..], b"abcde");
        assert!(Answer::read(&[&whole[..], b"H"].concat(), false).is_err());
    }

    #[test]
    fn an_answer_without_a_body_needs_no_length() {
        let nothing = Answer::read(b"HTTP/1.1 204 No Content\r\nlast-seen: T\r\n\r\n", false).unwrap().unwrap();
        assert_eq!((nothing.head.status, nothing.content.len()), (204, 0));
        let same = b"HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(Answer::read(same, false).unwrap().unwrap().content.len(), 0);
    }

    #[test]
    fn an_answer_without_a_length_ends_with_the_connection() {
        let answer = b"HTTP/1.0 200 OK\r\n\r\nabc";
        assert!(Answer::read(answer, false).unwrap().is_none());
        let whole = Answer::read(answer, true).unwrap().unwrap();
        assert_eq!((&whole.content[..], whole.head.is_last), (&b"abc"[..], true));
    }

    #[test]
    fn a_server_can_say_that_it_goes_on_later() {
        let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nRetry-After: 7\r\nConnection: Close\r\ncontent-length: 0\r\n\r\n";
        let head = Answer::read(answer, false).unwrap().unwrap().head;
        assert_eq!((head.status, head.retry_after(), head.is_last), (503, Some(7), true));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for wrong in [&b"SSH-2.0\r\n\r\n"[..], b"HTTP/1.1 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"]
        {
            assert!(Answer::read(wrong, false).is_err(), "{wrong:?}");
        }
        assert!(Head::read(&vec![b'x'; MAX_HEAD + 1]).is_err());
    }
}
