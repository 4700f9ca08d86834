//! What an engine answers on a full file system: the error, whether it can go on, and whether anything acknowledged
//! went.

use crate::{
    event::Event,
    process,
    store::{ENGINES, Failure, Fjall, Redb, Store, Survives},
};
use std::{
    fs,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

/// Bytes that are set free again once the store is full.
const FILLER: usize = 12 << 20;
const BATCH: u64 = 16;

/// Fills the file system of `folder` with each engine, once with and once without a sync for each batch.
pub fn compare(folder: &Path) -> Result<(), Failure> {
    for (engine, pace) in ENGINES.iter().flat_map(|engine| ["synced", "unsynced"].map(|pace| (*engine, pace))) {
        // A folder of its own: whatever else lies there stays.
        let folder = folder.join("engines-full");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        println!("{engine} {pace}");
        let mut child = process::child(&["full", engine, &folder.to_string_lossy(), pace])?;
        child.stdout(Stdio::inherit());
        let mut child = child.spawn()?;
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                println!("  ended with {status}");
                break;
            }
            if start.elapsed().as_secs() > 60 {
                println!("  HANGS");
                child.kill()?;
                child.wait()?;
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

/// Plays the whole story with one engine.
pub fn child(words: &[&str]) -> Result<(), Failure> {
    match words {
        ["fjall", folder, "open"] => {
            second(Fjall::open(Path::new(folder)));
            Ok(())
        }
        ["redb", folder, "open"] => {
            second(Redb::open(Path::new(folder)));
            Ok(())
        }
        ["fjall", folder, pace] => story::<Fjall>("fjall", Path::new(folder), pace),
        ["redb", folder, pace] => story::<Redb>("redb", Path::new(folder), pace),
        _ => Err("no such case".into()),
    }
}

fn second<S>(opened: Result<S, Failure>) {
    let answer = opened.map_or_else(|error| format!("{error:?}"), |_| "OPENS TOO".into());
    println!("  a second process: {answer}");
}

fn story<S: Store>(name: &str, folder: &Path, pace: &str) -> Result<(), Failure> {
    let (filler, store_folder) = (folder.join("filler"), folder.join("store"));
    fs::write(&filler, vec![1; FILLER])?;
    let store = S::open(&store_folder)?;
    let output = process::child(&["full", name, &store_folder.to_string_lossy(), "open"])?.output()?;
    print!("{}", String::from_utf8_lossy(&output.stdout));

    let survives = if pace == "synced" { Survives::PowerCut } else { Survives::Kill };
    let mut next = 0;
    let error = loop {
        match store.publish(&batch(next), survives) {
            Ok(()) => next += BATCH,
            Err(error) => break error,
        }
    };
    println!("  full after {next} events: {error:?}");
    let mut acknowledged = next;
    for attempt in 1..4 {
        acknowledged = again(&store, acknowledged, &format!("attempt {attempt}, still full"));
    }
    println!("  readable meanwhile: {}", readable(&store, acknowledged));
    fs::remove_file(&filler)?;
    acknowledged = again(&store, acknowledged, "with room again, same handle");
    let start = Instant::now();
    drop(store);
    println!("  drop took {:?}", start.elapsed());
    fs::write(&filler, vec![1; 1 << 20])?;
    let store = match S::open(&store_folder) {
        Ok(store) => store,
        Err(error) => {
            println!("  reopen: {error:?}");
            return Ok(());
        }
    };
    println!("  readable after reopening: {}", readable(&store, acknowledged));
    again(&store, acknowledged + 10_000, "after reopening");
    Ok(())
}

fn again<S: Store>(store: &S, next: u64, when: &str) -> u64 {
    let start = Instant::now();
    let answer = store.publish(&batch(next), Survives::PowerCut);
    println!("  {when}: {answer:?} in {:?}", start.elapsed());
    if answer.is_ok() && next < 1_000_000 { next + BATCH } else { next }
}

fn readable<S: Store>(store: &S, end: u64) -> String {
    let (mut lost, mut wrong, mut failed) = (0, 0, 0);
    for offset in 0..end {
        match store.event(offset) {
            Ok(Some(bytes)) if bytes == Event::new(offset, 4096).body => {}
            Ok(Some(_)) => wrong += 1,
            Ok(None) => lost += 1,
            Err(_) => failed += 1,
        }
    }
    format!("{end} acknowledged, {lost} lost, {wrong} wrong, {failed} unreadable")
}

fn batch(first: u64) -> Vec<Event> {
    (first..first + BATCH).map(|offset| Event::new(offset, 4096)).collect()
}
