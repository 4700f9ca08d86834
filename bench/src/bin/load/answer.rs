//! As much of an HTTP answer as a client of a feed needs.

use anyhow::{Context, ensure};

/// What stands before the number of an event in its payload.
const NUMBER: &[u8] = b"\"n\":";

/// A whole answer, where it lies in the buffer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// The status code.
    pub(crate) status: u16,
    head: &'a [u8],
    body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Reads an answer; `None` if there must be more of it to come.
    pub(crate) fn read(bytes: &'a [u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let (head, body) = (&bytes[..end], &bytes[end + 4..]);
        let status = head.get(9..12).and_then(|status| str::from_utf8(status).ok()?.parse().ok());
        let mut answer = Self { status: status.context("no status in an answer")?, head, body };
        let length = if let Some(length) = answer.header("content-length") {
            str::from_utf8(length)?.parse().context("a length is a number")?
        } else {
            // These have no body (RFC 9110, section 6.4.1); for all else the server has to say where it ends.
            ensure!([204, 304].contains(&answer.status), "an answer without a length: {}", answer.text());
            0
        };
        if body.len() < length {
            return Ok(None);
        }
        ensure!(body.len() == length, "more than one answer to one request");
        answer.body = &body[..length];
        Ok(Some(answer))
    }

    /// Returns a header, named in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.head.split(|byte| *byte == b'\n').find_map(|line| {
            let (found, value) = line.split_at_checked(name.len())?;
            let value = found.eq_ignore_ascii_case(name.as_bytes()).then(|| value.strip_prefix(b":"))??;
            Some(value.trim_ascii())
        })
    }

    /// Returns the numbers of the events, in order.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        let starts = self.body.windows(NUMBER.len()).enumerate().filter(|(_, window)| *window == NUMBER);
        starts.map(|(start, _)| {
            let digits = self.body[start + NUMBER.len()..].iter().take_while(|byte| byte.is_ascii_digit());
            digits.fold(0, |number: u32, digit| number.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
        })
    }

    /// Returns all of it, for people.
    pub(crate) fn text(&self) -> String {
        format!("{} {}", String::from_utf8_lossy(self.head), String::from_utf8_lossy(self.body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        let whole = b"HTTP/1.1 200 OK\r\nEtag: \"T\"\r\ncontent-length: 21\r\n\r\n[{\"n\":7},{\"n\":12},{}]";
        for cut in 0..whole.len() {
            assert!(Answer::read(&whole[..cut]).unwrap().is_none(), "{cut}");
        }
        let answer = Answer::read(whole).unwrap().unwrap();
        assert_eq!((answer.status, answer.header("etag"), answer.header("tag")), (200, Some(&b"\"T\""[..]), None));
        assert_eq!(answer.numbers().collect::<Vec<_>>(), [7, 12]);
        assert!(Answer::read(&[&whole[..], b"HTTP"].concat()).is_err());
    }

    #[test]
    fn an_answer_without_a_body_needs_no_length() {
        let nothing = Answer::read(b"HTTP/1.1 204 No Content\r\nlast-seen: T\r\n\r\n").unwrap().unwrap();
        assert_eq!((nothing.status, nothing.numbers().count()), (204, 0));
        assert!(Answer::read(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
