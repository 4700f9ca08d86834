//! What can happen to files.

use std::collections::BTreeMap;

use super::original::File;

/// How many pieces of an input are looked at.
const MAX_PIECES: usize = 8;

/// Takes a file away.
const GONE: u8 = 0xff;

/// Returns a place in so many bytes, near the beginning or near the end.
fn place(at: u16, length: usize) -> usize {
    let from = usize::from(at & 0x7fff) % length;
    if at & 0x8000 == 0 { from } else { length - 1 - from }
}

fn change(file: &mut File, what: u8, at: u16, with: u8) {
    let used = file.content.len();
    if used == 0 {
        return;
    }
    let at = place(at, used);
    let run = at..used.min(at + 16 * (usize::from(with) + 1));
    match what % 7 {
        0 => file.content[at] ^= 1 << (with % 8),
        1 => file.content[at] = with,
        2 => {
            file.content.truncate(at);
            file.length = at;
        }
        3 => file.content[run].fill(0),
        4 => {
            // As far as there is room for it.
            let to = usize::from(with) * 16 % used;
            let end = run.end.min(run.start + used - to);
            file.content.copy_within(run.start..end, to);
        }
        5 => {
            file.content.splice(at..at, [with; 16]);
            file.length += 16;
        }
        _ => {
            let end = used.min(at + 8);
            file.content[at..end].fill(with);
        }
    }
}

/// Returns what an input makes of files, by their numbers; `None`: it is gone.
pub(super) fn damage(files: &[File], input: &[u8]) -> BTreeMap<usize, Option<File>> {
    let mut damaged = BTreeMap::new();
    for piece in input.chunks_exact(5).take(MAX_PIECES) {
        let [file, what, high, low, with] = *piece else { continue };
        let number = usize::from(file) % files.len();
        let file = damaged.entry(number).or_insert_with(|| Some(files[number].clone()));
        match file {
            Some(_) if what == GONE => *file = None,
            Some(file) => change(file, what, u16::from_be_bytes([high, low]), with),
            None => {}
        }
    }
    damaged
}
