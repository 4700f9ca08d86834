use std::collections::VecDeque;

use futures_util::{FutureExt, future::poll_fn};
use proptest::prelude::*;

use super::*;
use crate::tests::samples::{frame, frames, header, short};

/// What comes from a broker, piece by piece; before each piece nothing is there, once.
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    waited: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.waited = !self.waited;
        if self.waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(mut piece) = self.pieces.pop_front() else { return Poll::Ready(Ok(0)) };
        let rest = piece.split_off(piece.len().min(buffer.len()));
        buffer[..piece.len()].copy_from_slice(&piece);
        if !rest.is_empty() {
            self.pieces.push_front(rest);
        }
        Poll::Ready(Ok(piece.len()))
    }
}

/// Reads a stream that comes in pieces to its end, into buffers of this size.
fn read(pieces: VecDeque<Vec<u8>>, buffer: usize) -> Vec<u8> {
    let mut stream = SanitizedStream::new(Pieces { pieces, waited: false }, None);
    let (mut all, mut buffer) = (Vec::new(), vec![0; buffer]);
    loop {
        let mut reading = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut buffer));
        // Abandoning a read and reading again must lose nothing.
        let size = loop {
            if let Some(size) = (&mut reading).now_or_never() {
                break size.unwrap();
            }
        };
        if size == 0 {
            return all;
        }
        all.extend_from_slice(&buffer[..size]);
    }
}

fn cut(mut bytes: &[u8], sizes: &[usize]) -> VecDeque<Vec<u8>> {
    let mut pieces = VecDeque::new();
    for size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at(bytes.len().min(*size));
        pieces.push_back(piece.to_vec());
        bytes = rest;
    }
    pieces
}

#[test]
fn a_frame_that_is_never_finished_arrives_as_far_as_it_came() {
    let whole = header(1 << 7, &short(b"\xff"));
    for size in 1..whole.len() {
        let begun = [&frame(3, 1, b"abc")[..], &whole[..size]].concat();
        assert_eq!(read(cut(&begun, &[5]), 100), begun);
    }
}

proptest! {
    #[test]
    fn pieces_and_buffers_of_any_size_give_the_same(
        frames in frames(true),
        sizes in proptest::collection::vec(1..80_usize, 1..10),
        buffer in 1..200_usize,
    ) {
        let bytes = frames.concat();
        let mut expected = bytes.clone();
        Frames::new(None).sanitize(&mut expected);
        prop_assert_eq!(read(cut(&bytes, &sizes), buffer), &expected[..]);
        prop_assert_eq!(read(cut(&bytes, &[1]), buffer), expected);
    }
}
