//! The damage itself: each answers with what it did.

use crate::{event::Random, store::Failure};
use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

const PAGE: usize = 4096;

fn files(folder: &Path, into: &mut Vec<(PathBuf, u64)>) -> Result<(), Failure> {
    for entry in fs::read_dir(folder)? {
        let (path, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
        if metadata.is_dir() {
            files(&path, into)?;
        } else if metadata.len() > 0 {
            // Beyond its blocks a preallocated file is one hole, where damage means nothing.
            into.push((path, metadata.len().min(metadata.blocks() * 512)));
        }
    }
    into.sort();
    Ok(())
}

/// Chooses a file: half of the tries any, half by its size.
fn choose(folder: &Path, random: &mut Random) -> Result<(PathBuf, u64), Failure> {
    let mut all = Vec::new();
    files(folder, &mut all)?;
    if random.below(2) == 0 {
        let index = usize::try_from(random.below(all.len() as u64))?;
        return Ok(all.swap_remove(index));
    }
    let mut place = random.below(all.iter().map(|(_, size)| size).sum());
    for (path, size) in all {
        if place < size {
            return Ok((path, size));
        }
        place -= size;
    }
    Err("the store is empty".into())
}

/// Turns one bit of one file.
pub fn flip(folder: &Path, random: &mut Random) -> Result<String, Failure> {
    let (path, size) = choose(folder, random)?;
    let (place, bit) = (random.below(size), random.below(8));
    let file = File::options().read(true).write(true).open(&path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, place)?;
    file.write_all_at(&[byte[0] ^ 1 << bit], place)?;
    Ok(format!("{} bit {bit} at {place} of {size}", name(folder, &path)))
}

/// Cuts one file short.
pub fn cut(folder: &Path, random: &mut Random) -> Result<String, Failure> {
    let (path, size) = choose(folder, random)?;
    let place = random.below(size);
    File::options().write(true).open(&path)?.set_len(place)?;
    Ok(format!("{} at {place} of {size}", name(folder, &path)))
}

/// Puts back some of the pages that the last batch changed.
pub fn tear(before: &Path, folder: &Path, random: &mut Random) -> Result<String, Failure> {
    let mut all = Vec::new();
    files(folder, &mut all)?;
    let (mut changed, mut kept) = (0, 0);
    // From half of the pages to nearly all: a cut may come early or late in the write.
    let odds = 2 << (2 * random.below(3));
    for (path, _) in all {
        // Everything else is synced by the engine itself before it counts.
        if !path.extension().is_some_and(|extension| extension == "jnl" || extension == "redb") {
            continue;
        }
        let (old, new) = (fs::read(before.join(path.strip_prefix(folder)?)).unwrap_or_default(), fs::read(&path)?);
        let file = File::options().write(true).open(&path)?;
        for (index, page) in new.chunks(PAGE).enumerate() {
            let start = index * PAGE;
            let mut back = old.get(start..).map_or(Vec::new(), |rest| rest[..rest.len().min(page.len())].to_vec());
            back.resize(page.len(), 0);
            if back != page {
                changed += 1;
                if random.below(odds) == 0 {
                    file.write_all_at(&back, start as u64)?;
                } else {
                    kept += 1;
                }
            }
        }
    }
    Ok(format!("{kept} of {changed} pages"))
}

fn name(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}
