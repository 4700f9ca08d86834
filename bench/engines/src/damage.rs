//! What an engine answers after damage: stores of known content, one damage each, everything read back in a child.
//!
//! Ends of a store: `closed` in order; `killed` after one batch that was not synced; `lazy`, after several commits that
//! were not synced. Kinds of damage: `flip` one bit of one file, `cut` one file short, and `torn`: the pages of the
//! last, not yet synced batch reach the disk in part, as after a power cut.

mod injury;

use self::injury::{cut, flip, tear};
use crate::{
    event::{Event, Random, mailbox},
    process,
    store::{ENGINES, Failure, Fjall, Redb, Store, Survives},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

/// Events that were acknowledged before the damage.
const EVENTS: u64 = 12_000;
/// Clients with a mailbox record.
const CLIENTS: u64 = 300;
/// Events in one batch.
const BATCH: u64 = 40;
/// A child that has not answered by now hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Damages stores of both engines and prints how often each class of outcome came.
pub fn compare(folder: &Path, tries: u64) -> Result<(), Failure> {
    for engine in ENGINES {
        for end in ["closed", "killed", "lazy"] {
            let (before, after) =
                (folder.join(format!("{engine}-{end}")), folder.join(format!("{engine}-{end}-after")));
            fill(engine, end, &before, &after)?;
            let kinds: &[&str] = match end {
                "closed" => &["none", "flip", "cut"],
                "killed" => &["none", "flip", "cut", "torn"],
                _ => &["torn"],
            };
            for kind in kinds {
                let tries = if *kind == "none" { 1 } else { tries };
                let mut classes: BTreeMap<String, (u64, String)> = BTreeMap::new();
                for seed in 0..tries {
                    let victim = folder.join("victim");
                    copy(if *kind == "torn" { &after } else { &before }, &victim)?;
                    let mut random = Random::new(seed + 1000);
                    let what = match *kind {
                        "flip" => flip(&victim, &mut random)?,
                        "cut" => cut(&victim, &mut random)?,
                        "torn" => tear(&before, &victim, &mut random)?,
                        _ => String::new(),
                    };
                    let (class, detail) = look(engine, &victim)?;
                    let entry = classes.entry(class).or_default();
                    entry.0 += 1;
                    if entry.1.is_empty() {
                        entry.1 = format!("seed {seed} {what}: {detail}");
                    }
                }
                for (class, (count, example)) in classes {
                    println!("{engine} {end} {kind}: {count}/{tries} {class} [{example}]");
                }
            }
        }
    }
    Ok(())
}

/// Fills a store; `before` is its state with all events acknowledged, `after` with one unsynced batch more.
fn fill(engine: &str, end: &str, before: &Path, after: &Path) -> Result<(), Failure> {
    for folder in [before, after] {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
    }
    fs::create_dir_all(before.parent().ok_or("no parent")?)?;
    let work = before.with_extension("work");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    let mut child = process::child(&["damage", engine, &work.to_string_lossy(), "fill", end])?.spawn()?;
    let mut input = child.stdin.take().ok_or("no stdin")?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
    let mut expect = |word: &str| match lines.next() {
        Some(Ok(line)) if line == word => Ok(()),
        other => Err(Failure::from(format!("the filling child said {other:?} and not {word}"))),
    };
    expect("acknowledged")?;
    if end == "closed" {
        drop(input);
        expect("closed")?;
        child.wait()?;
        copy(&work, before)?;
    } else {
        copy(&work, before)?;
        input.write_all(b"more\n")?;
        expect("more")?;
        copy(&work, after)?;
        child.kill()?;
        child.wait()?;
    }
    fs::remove_dir_all(&work)?;
    Ok(())
}

/// Copies a folder; holes stay holes, and a copy of a store that is open looks like one that was killed.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    let done = Command::new("cp").args(["-r", "--sparse=always"]).arg(from).arg(to).status()?;
    if done.success() { Ok(()) } else { Err("cannot copy the store".into()) }
}

/// Opens and reads a store in a child; answers with the class and one example's detail.
fn look(engine: &str, folder: &Path) -> Result<(String, String), Failure> {
    let mut child =
        process::child(&["damage", engine, &folder.to_string_lossy(), "check"])?.stderr(Stdio::piped()).spawn()?;
    // The pipes are read meanwhile, so that a talkative child cannot wait for its reader.
    let (stdout, stderr) = (child.stdout.take().ok_or("no stdout")?, child.stderr.take().ok_or("no stderr")?);
    let readers = [drain(stdout), drain(stderr)];
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if start.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(Duration::from_millis(2));
    };
    let [said, erred] = readers.map(|reader| reader.join().unwrap_or_default());
    let first = said.lines().last().unwrap_or("").to_owned();
    let (class, detail) = first.split_once('|').unwrap_or((&first, ""));
    let last = erred.lines().last().unwrap_or("").to_owned();
    Ok(match status {
        None => ("hang".into(), last),
        Some(status) if status.success() => (class.to_owned(), detail.to_owned()),
        Some(status) => {
            let panic = erred.lines().find(|line| line.contains("panicked at")).unwrap_or("");
            let place = panic.split("panicked at ").nth(1).unwrap_or("").rsplit('/').take(3).collect::<Vec<_>>();
            let place = place.into_iter().rev().collect::<Vec<_>>().join("/");
            if place.is_empty() { (format!("abort ({status})"), last) } else { (format!("panic at {place}"), last) }
        }
    })
}

fn drain(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Fills or checks a store in this process.
pub fn child(words: &[&str]) -> Result<(), Failure> {
    match words {
        ["fjall", folder, "fill", end] => filling::<Fjall>(Path::new(folder), end),
        ["redb", folder, "fill", end] => filling::<Redb>(Path::new(folder), end),
        ["fjall", folder, "check"] => checking::<Fjall>(Path::new(folder)),
        ["redb", folder, "check"] => checking::<Redb>(Path::new(folder)),
        _ => Err("no such case".into()),
    }
}

fn filling<S: Store>(folder: &Path, end: &str) -> Result<(), Failure> {
    let store = S::open(folder)?;
    for first in (0..EVENTS).step_by(40) {
        store.publish(&batch(first), Survives::Kill)?;
        let records: Vec<_> =
            (0..5).map(|n| (first / BATCH + n) % CLIENTS).map(|client| (client, mailbox(client, 1))).collect();
        store.confirm(&records)?;
    }
    let records: Vec<_> = (0..CLIENTS).map(|client| (client, mailbox(client, 2))).collect();
    store.confirm(&records)?;
    store.publish(&batch(EVENTS), Survives::PowerCut)?;
    say("acknowledged");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    if end != "closed" {
        if end == "lazy" {
            for _ in 0..3 {
                store.confirm(&records)?;
            }
        }
        let large: Vec<_> = (EVENTS + BATCH..EVENTS + BATCH + 10).map(|offset| Event::new(offset, 12_000)).collect();
        store.publish(&large, Survives::Kill)?;
        say("more");
        line.clear();
        std::io::stdin().read_line(&mut line)?;
        return Err("the filling child outlived its kill".into());
    }
    drop(store);
    say("closed");
    Ok(())
}

fn batch(first: u64) -> Vec<Event> {
    (first..first + BATCH).map(Event::mixed).collect()
}

fn say(line: &str) {
    println!("{line}");
    let _ = std::io::stdout().flush();
}

/// Counts what became of the records of one kind, in the order of their numbers.
#[derive(Default)]
struct Tally {
    missing: BTreeSet<u64>,
    /// An earlier version of the record, whole.
    stale: u64,
    wrong: u64,
    failed: u64,
    error: String,
}

impl Tally {
    fn note(&mut self, number: u64, expected: &[u8], earlier: &[u8], found: Result<Option<Vec<u8>>, Failure>) {
        match found {
            Ok(Some(bytes)) if bytes == expected => {}
            Ok(Some(bytes)) if bytes == earlier => self.stale += 1,
            Ok(Some(_)) => self.wrong += 1,
            Ok(None) => {
                self.missing.insert(number);
            }
            Err(error) => {
                self.failed += 1;
                self.error = error.to_string();
            }
        }
    }
}

fn checking<S: Store>(folder: &Path) -> Result<(), Failure> {
    log::set_logger(&LOG).map_err(|error| error.to_string())?;
    log::set_max_level(log::LevelFilter::Debug);
    let mut store = match S::open(folder) {
        Ok(store) => store,
        Err(error) => {
            println!("open fails|{} {}", one_line(&error.to_string()), logged());
            return Ok(());
        }
    };
    let last = EVENTS + BATCH;
    let mut tally = Tally::default();
    let mut found = BTreeMap::new();
    let ranged = store.events(0..u64::MAX, &mut |offset, bytes| {
        found.insert(offset, bytes.to_vec());
    });
    let mut heads = BTreeMap::new();
    let headed = store.heads(&mut |offset, bytes| {
        heads.insert(offset, bytes.to_vec());
    });
    let foreign = found.keys().filter(|offset| **offset >= last + BATCH).count();
    for offset in 0..last {
        let event = Event::mixed(offset);
        // A failed scan says so once; after it only single reads tell what is left.
        if ranged.is_ok() {
            tally.note(offset, &event.body, &[], Ok(found.remove(&offset)));
        }
        tally.note(offset, &event.body, &[], store.event(offset));
        if headed.is_ok() {
            tally.note(offset, &event.head, &[], Ok(heads.remove(&offset)));
        }
    }
    let scans = [ranged, headed].into_iter().filter_map(Result::err).map(|error| error.to_string()).collect::<Vec<_>>();
    let mut boxes = Tally::default();
    for client in 0..CLIENTS {
        boxes.note(client, &mailbox(client, 2), &mailbox(client, 1), store.mailbox(client));
    }
    let verified = match store.verify() {
        Ok(true) => "engine's own check: fine",
        Ok(false) => "engine's own check: DAMAGED",
        Err(_) => "engine's own check: error",
    };
    let tail = tally.missing.first().is_none_or(|first| first + tally.missing.len() as u64 == last);
    let class = if tally.wrong + boxes.wrong > 0 || foreign > 0 {
        "WRONG bytes or records"
    } else if !tally.missing.is_empty() && !tail {
        "silently missing middle"
    } else if !tally.missing.is_empty() {
        "silently missing tail"
    } else if !boxes.missing.is_empty() || boxes.stale > 0 {
        "silently missing or stale mailboxes"
    } else if tally.failed + boxes.failed > 0 || !scans.is_empty() {
        "read fails"
    } else {
        "intact"
    };
    println!(
        "{class}, {verified}|missing {} wrong {} failed {}; mailboxes missing {} stale {} wrong {} failed {}; {} {} {}",
        tally.missing.len(),
        tally.wrong,
        tally.failed,
        boxes.missing.len(),
        boxes.stale,
        boxes.wrong,
        boxes.failed,
        one_line(&scans.join(" / ")),
        one_line(&tally.error),
        logged()
    );
    Ok(())
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c == '\n' || c == '|' { ' ' } else { c }).take(300).collect()
}

/// Keeps what the engine logs of damage: everything from a warning up, and what debug says of a cut journal.
struct Log(Mutex<Vec<String>>);

static LOG: Log = Log(Mutex::new(Vec::new()));

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        if (record.level() <= log::Level::Warn || text.contains("nvalid batch") || text.contains("runcating"))
            && let Ok(mut lines) = self.0.lock()
            && lines.len() < 6
        {
            lines.push(format!("{}: {text}", record.level()));
        }
    }

    fn flush(&self) {}
}

fn logged() -> String {
    LOG.0
        .lock()
        .map_or(String::new(), |lines| format!("log {:?}", lines.iter().map(|line| one_line(line)).collect::<Vec<_>>()))
}
