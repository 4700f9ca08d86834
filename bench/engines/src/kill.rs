//! Kills a store at work, again and again: whatever was acknowledged must be there at the next start.

use crate::{
    event::{Event, Random, mailbox},
    process,
    store::{ENGINES, Failure, Fjall, Redb, Store, Survives},
};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Events in one batch of about 80 KiB.
const BATCH: u64 = 100;
/// Events kept; the oldest are forgotten beyond.
const KEPT: u64 = 20_000;
const CLIENTS: u64 = 50;

/// What the parent knows to be acknowledged.
#[derive(Clone, Copy, Default)]
struct Known {
    /// The first event that must be there.
    floor: u64,
    /// The first event that need not be there.
    next: u64,
    /// Confirms that were acknowledged; the number is the version.
    confirms: u64,
}

/// Kills each engine `rounds` times on one folder that goes on growing and forgetting.
pub fn compare(folder: &Path, rounds: u64) -> Result<(), Failure> {
    for engine in ENGINES {
        let store = folder.join(engine);
        if store.exists() {
            fs::remove_dir_all(&store)?;
        }
        let mut random = Random::new(7);
        let (mut known, mut bad, mut opens) = (Known::default(), 0, Vec::new());
        for round in 0..rounds {
            let numbers = [known.floor, known.next, known.confirms].map(|number| number.to_string());
            let words = ["kill", engine, &store.to_string_lossy(), &numbers[0], &numbers[1], &numbers[2]];
            let mut child = process::child(&words)?.spawn()?;
            let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
            let checked = lines.next().transpose()?.unwrap_or_else(|| "ended before it had checked".into());
            if let Some(took) = checked.strip_prefix("fine ") {
                opens.push(took.parse::<f64>()?);
            } else {
                bad += 1;
                println!("{engine} round {round}: {checked}");
            }
            let reader = thread::spawn(move || {
                let mut last = known;
                for line in lines.map_while(Result::ok) {
                    let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
                    if let [floor, next, confirms] = numbers[..] {
                        last = Known { floor, next, confirms };
                    }
                }
                last
            });
            thread::sleep(Duration::from_micros(20_000 + random.below(600_000)));
            child.kill()?;
            child.wait()?;
            known = reader.join().map_err(|_| "the reader panicked")?;
        }
        opens.sort_by(f64::total_cmp);
        println!(
            "{engine}: {rounds} kills, {bad} bad, {} events published, {} confirms; open after a kill: median {:.0} ms, most {:.0} ms",
            known.next,
            known.confirms,
            opens[opens.len() / 2],
            opens[opens.len() - 1]
        );
        fs::remove_dir_all(&store)?;
    }
    Ok(())
}

/// Checks a store and works on it until it is killed.
pub fn child(words: &[&str]) -> Result<(), Failure> {
    let [engine, folder, numbers @ ..] = words else { return Err("no such case".into()) };
    let numbers: Vec<u64> = numbers.iter().map(|word| word.parse()).collect::<Result<_, _>>()?;
    let [floor, next, confirms] = numbers[..] else { return Err("no such case".into()) };
    let known = Known { floor, next, confirms };
    match *engine {
        "fjall" => work::<Fjall>(Path::new(folder), known),
        _ => work::<Redb>(Path::new(folder), known),
    }
}

fn work<S: Store>(folder: &Path, known: Known) -> Result<(), Failure> {
    let start = Instant::now();
    let store = match S::open(folder) {
        Ok(store) => store,
        Err(error) => {
            println!("open fails: {error:?}");
            return Ok(());
        }
    };
    let opened = start.elapsed();
    match check(&store, known) {
        Ok(()) => println!("fine {}", opened.as_secs_f64() * 1e3),
        Err(error) => println!("{error}"),
    }
    let Known { mut floor, mut next, mut confirms } = known;
    loop {
        let events: Vec<_> = (next..next + BATCH).map(Event::mixed).collect();
        store.publish(&events, Survives::PowerCut)?;
        next += BATCH;
        acknowledge(Known { floor, next, confirms });
        for _ in 0..20 {
            let client = confirms % CLIENTS;
            store.confirm(&[(client, mailbox(client, confirms))])?;
            confirms += 1;
            acknowledge(Known { floor, next, confirms });
        }
        if next > floor + KEPT + 2000 {
            floor = next - KEPT;
            // Said before it is done: from here on no reader may count on what lies below.
            acknowledge(Known { floor, next, confirms });
            store.forget(0..floor)?;
        }
    }
}

fn acknowledge(known: Known) {
    println!("{} {} {}", known.floor, known.next, known.confirms);
    let _ = std::io::stdout().flush();
}

fn check<S: Store>(store: &S, known: Known) -> Result<(), Failure> {
    let (mut expected, mut wrong) = (known.floor, 0);
    store.events(known.floor..known.next, &mut |offset, bytes| {
        if offset == expected && bytes == Event::mixed(offset).body {
            expected += 1;
        } else {
            wrong += 1;
        }
    })?;
    let mut heads = 0;
    store.heads(&mut |offset, bytes| {
        if (known.floor..known.next).contains(&offset) && bytes == Event::mixed(offset).head {
            heads += 1;
        }
    })?;
    if expected != known.next || wrong > 0 || heads != known.next - known.floor {
        return Err(format!(
            "events {}..{}: right up to {expected}, {wrong} wrong, {heads} heads",
            known.floor, known.next
        )
        .into());
    }
    for client in 0..CLIENTS.min(known.confirms) {
        // The last acknowledged version, or the one that was on its way when the kill came.
        let last = (known.confirms - 1 - client) / CLIENTS * CLIENTS + client;
        let found = store.mailbox(client)?;
        if ![last, last + CLIENTS].iter().any(|version| found.as_deref() == Some(&mailbox(client, *version))) {
            return Err(format!("mailbox {client} is not at version {last}").into());
        }
    }
    Ok(())
}
