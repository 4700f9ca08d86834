//! What a client sends on a connection, to a whole gateway in memory: each request gets an answer that is HTTP, none a
//! 500.
//!
//! An input is the bytes of the connection, as they are: HTTP/1.1, HTTP/2, or neither.

#![no_main]

mod answer;
mod gateway;

use libfuzzer_sys::fuzz_target;

/// The most headers that are counted: hyper takes 100.
const MAX_HEADERS: usize = 100;

/// What a connection of HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Returns the method of the first request, if its head is whole.
fn first_method(input: &[u8]) -> Option<String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(input) {
        Ok(httparse::Status::Complete(_)) => request.method.map(str::to_owned),
        _ => None,
    }
}

fuzz_target!(|input: &[u8]| {
    let conversation = gateway::answers_to(input);
    let Some(method) = first_method(input) else { return };
    // After a head that hyper refuses by itself it takes this for what the connection began with, and closes it.
    if input.windows(PREFACE.len()).skip(1).any(|bytes| bytes == PREFACE) {
        return;
    }
    assert!(!conversation.answers.is_empty(), "there is no answer");
    answer::check(&conversation, &method, input);
});
