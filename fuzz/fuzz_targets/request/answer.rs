//! Whether what came back is HTTP, and what the contract says.

use serde_json::Value;

use super::gateway::Conversation;

/// One answer of a conversation.
struct Answer<'a> {
    status: u16,
    headers: Vec<(String, &'a [u8])>,
    body: Vec<u8>,
    /// All of the body is there.
    is_whole: bool,
}

/// Checks the answers of a conversation; the first one is to a request of this method.
pub(super) fn check(conversation: &Conversation, method: &str, input: &[u8]) {
    let mut rest = &conversation.answers[..];
    let mut is_head = method == "HEAD";
    while !rest.is_empty() {
        let Some(answer) = split_off(&mut rest, is_head) else {
            assert!(!conversation.is_over, "an answer is cut: {}", rest.escape_ascii());
            return;
        };
        assert!(answer.is_whole || !conversation.is_over || answer.is("content-type", "text/event-stream"));
        check_one(&answer, is_head);
        // Which of the requests that follow are of which method is not looked at.
        if answer.status >= 200 && input.windows(4).any(|bytes| bytes == b"HEAD") {
            return;
        }
        is_head &= answer.status < 200;
    }
}

impl<'a> Answer<'a> {
    fn header(&self, name: &str) -> Option<&'a [u8]> {
        let mut named = self.headers.iter().filter(|(known, _)| known == name);
        let value = named.next().map(|(_, value)| *value);
        assert!(named.next().is_none(), "{name} is there twice");
        value
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.header(name) == Some(value.as_bytes())
    }
}

/// Splits the first answer off; `None` if its head is not whole.
fn split_off<'a>(bytes: &mut &'a [u8], is_head: bool) -> Option<Answer<'a>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii()));
    let httparse::Status::Complete(length) = parsed else { return None };
    let status = response.code.expect("it is parsed");
    let headers = response.headers.iter().map(|header| (header.name.to_ascii_lowercase(), header.value)).collect();
    let mut answer = Answer { status, headers, body: Vec::new(), is_whole: true };
    let mut rest = &bytes[length..];
    let length = answer.header("content-length").map(|length| {
        std::str::from_utf8(length).ok().and_then(|length| length.parse::<usize>().ok()).expect("a length")
    });
    let is_chunked = answer.is("transfer-encoding", "chunked");
    assert!(length.is_none() || !is_chunked, "an answer has two lengths");
    if is_head || status < 200 || matches!(status, 204 | 304) {
        assert!(!is_chunked || is_head, "{status} has a body");
    } else if let Some(length) = length {
        answer.is_whole = length <= rest.len();
        let (body, after) = rest.split_at(length.min(rest.len()));
        answer.body = body.to_vec();
        rest = after;
    } else if is_chunked {
        answer.is_whole = take_chunks(&mut rest, &mut answer.body);
    } else {
        answer.body = std::mem::take(&mut rest).to_vec();
    }
    *bytes = rest;
    Some(answer)
}

/// Takes the pieces of a body; tells whether the last one was there.
fn take_chunks(bytes: &mut &[u8], body: &mut Vec<u8>) -> bool {
    loop {
        let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
            *bytes = &[];
            return false;
        };
        let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("the size of a piece");
        let piece = &bytes[end + 2..];
        if piece.len() < size + 2 {
            *bytes = &[];
            return false;
        }
        assert_eq!(&piece[size..size + 2], b"\r\n", "a piece has an end");
        body.extend_from_slice(&piece[..size]);
        *bytes = &piece[size + 2..];
        if size == 0 {
            return true;
        }
    }
}

fn check_one(answer: &Answer, is_head: bool) {
    let Answer { status, body, .. } = answer;
    assert!((100..600).contains(status) && *status != 500, "{status}: {}", body.escape_ascii());
    if *status < 200 {
        return;
    }
    if answer.header("x-request-id").is_none() {
        // hyper itself refuses what is no HTTP, and what is too long.
        assert!(matches!(status, 400 | 414 | 431) && body.is_empty(), "{status}: {}", body.escape_ascii());
        return;
    }
    if is_head || !answer.is_whole {
        return;
    }
    match answer.header("content-type") {
        Some(b"application/problem+json") => {
            assert!(*status >= 400);
            let problem: Value = serde_json::from_slice(body).expect("a problem is JSON");
            assert_eq!(problem["status"], *status);
            assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        }
        Some(b"application/json") => {
            let json: Value = serde_json::from_slice(body).expect("an answer is JSON");
            assert!(json.is_object() && *status < 300);
            if let Some(token) = answer.header("last-seen") {
                assert_eq!(json["last_seen"].as_str().map(str::as_bytes), Some(token));
                assert!(json["events"].is_array());
            }
        }
        Some(b"text/event-stream") => check_stream(body),
        _ => assert!(*status < 400, "{status} is no problem: {}", body.escape_ascii()),
    }
}

fn check_stream(body: &[u8]) {
    let text = std::str::from_utf8(body).expect("a stream is UTF-8");
    for block in text.split("\n\n").filter(|block| !block.is_empty()) {
        let mut data = Vec::new();
        for line in block.split('\n') {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            assert!(matches!(field, "" | "id" | "data" | "event" | "retry"), "{line:?}");
            if field == "data" {
                data.push(value.trim_start_matches(' '));
            }
        }
        if !data.is_empty() {
            let value: Value = serde_json::from_str(&data.join("\n")).expect("what comes on a stream is JSON");
            assert!(value.is_object());
        }
    }
}
