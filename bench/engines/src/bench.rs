//! The benchmark: one child per engine, case and round; medians and the ratio of both sides.

use crate::{
    event::{Event, mailbox},
    process::{self, Written},
    store::{ENGINES, Failure, Fjall, Redb, Store, Survives},
};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// The sync time of a disk wanders with its neighbours: many short rounds in turn show both sides the same weather.
const ROUNDS: usize = 7;
/// How long one closed loop runs.
const SPELL: Duration = Duration::from_secs(1);
/// Bytes that one commit takes at most.
const BATCH: usize = 4 << 20;
/// Small events for the opening: 1,000,000 of 100 bytes.
const MANY: u64 = 1_000_000;
/// Bytes published in the retention case.
const PUBLISHED: u64 = 1 << 30;
/// Bytes of one of its events.
const BODY: usize = 4096;
/// Bytes kept meanwhile.
const KEPT: u64 = 100 << 20;

/// Runs all cases on both engines in turn and prints medians.
pub fn compare(folder: &Path) -> Result<(), Failure> {
    let mut cases: Vec<Vec<String>> = Vec::new();
    for size in [200, 4096] {
        for publishers in [1, 32, 256] {
            cases.push(vec!["publish".into(), format!("{publishers}"), format!("{size}")]);
        }
    }
    cases.extend([1, 64].map(|records| vec!["confirm".into(), format!("{records}")]));
    cases.push(vec!["open".into()]);
    cases.push(vec!["retain".into()]);
    println!("{:<34} {:>12} {:>12} {:>8}", format!("median of {ROUNDS} rounds"), ENGINES[0], ENGINES[1], "ratio");
    for case in cases {
        // The long cases once: they spread little.
        let rounds = if case.len() > 1 { ROUNDS } else { 1 };
        let mut sides: [BTreeMap<String, Vec<f64>>; 2] = Default::default();
        for round in 0..rounds {
            for turn in 0..2 {
                let side = (round + turn) % 2;
                let store = folder.join(ENGINES[side]);
                run(&case, ENGINES[side], &store, &mut sides[side])?;
                remove(&store)?;
            }
        }
        println!("{}", case.join(" "));
        let [left, right] = &mut sides;
        for (name, values) in left {
            let (one, other) = (median(values), right.get_mut(name).map_or(f64::NAN, |values| median(values)));
            println!("  {name:<32} {one:>12.2} {other:>12.2} {:>8.2}", one / other);
        }
    }
    Ok(())
}

fn run(case: &[String], engine: &str, store: &Path, into: &mut BTreeMap<String, Vec<f64>>) -> Result<(), Failure> {
    remove(store)?;
    let path = store.to_string_lossy();
    let words: Vec<&str> = ["bench", engine, &path].into_iter().chain(case.iter().map(String::as_str)).collect();
    let mut collect = |words: &[&str], prefix: &str| -> Result<(), Failure> {
        for (name, value) in process::figures(words)? {
            into.entry(format!("{prefix}{name}")).or_default().push(value);
        }
        Ok(())
    };
    if case[0] == "open" {
        // Once closed in order, once ended in the middle, as a kill would.
        for end in ["closed", "killed"] {
            remove(store)?;
            process::figures(&["bench", engine, &path, "fill", end])?;
            collect(&words, &format!("{end}: "))?;
        }
        return Ok(());
    }
    collect(&words, "")
}

fn remove(folder: &Path) -> Result<(), Failure> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs one case in this process.
pub fn child(words: &[&str]) -> Result<(), Failure> {
    match words {
        ["fjall", folder, case @ ..] => measure::<Fjall>(Path::new(folder), case),
        ["redb", folder, case @ ..] => measure::<Redb>(Path::new(folder), case),
        _ => Err("no such engine".into()),
    }
}

fn measure<S: Store>(folder: &Path, case: &[&str]) -> Result<(), Failure> {
    match case {
        ["publish", publishers, size] => publish::<S>(folder, publishers.parse()?, size.parse()?),
        ["confirm", records] => confirm::<S>(folder, records.parse()?),
        ["fill", end] => fill::<S>(folder, end),
        ["open"] => open::<S>(folder),
        ["retain"] => retain::<S>(folder),
        _ => Err("no such case".into()),
    }
}

/// Publishers wait for the sync of their own event before they send the next one.
fn publish<S: Store>(folder: &Path, publishers: usize, size: usize) -> Result<(), Failure> {
    let store = S::open(folder)?;
    let before = Written::now()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel::<(Vec<u8>, thread::Thread, Arc<AtomicBool>)>();
    let threads: Vec<_> = (0..publishers)
        .map(|number| {
            let (sender, stop) = (sender.clone(), Arc::clone(&stop));
            let body = Event::new(number as u64, size).body;
            thread::Builder::new().stack_size(64 << 10).spawn(move || {
                let answered = Arc::new(AtomicBool::new(false));
                while !stop.load(Ordering::Relaxed) {
                    answered.store(false, Ordering::Release);
                    if sender.send((body.clone(), thread::current(), Arc::clone(&answered))).is_err() {
                        return;
                    }
                    while !answered.load(Ordering::Acquire) {
                        thread::park();
                    }
                }
            })
        })
        .collect::<Result<_, _>>()?;
    drop(sender);

    let start = Instant::now();
    let (mut offset, mut syncs) = (0, 0);
    while let Ok(first) = receiver.recv() {
        let mut bytes = first.0.len();
        let mut waiting = vec![first];
        while bytes < BATCH
            && let Ok(next) = receiver.try_recv()
        {
            bytes += next.0.len();
            waiting.push(next);
        }
        let events: Vec<_> = waiting
            .iter_mut()
            .map(|(body, ..)| {
                offset += 1;
                Event { offset, head: vec![b'h'; 40], body: std::mem::take(body) }
            })
            .collect();
        store.publish(&events, Survives::PowerCut)?;
        syncs += 1;
        if start.elapsed() > SPELL {
            stop.store(true, Ordering::Relaxed);
        }
        for (_, publisher, answered) in waiting {
            answered.store(true, Ordering::Release);
            publisher.unpark();
        }
    }
    let took = start.elapsed().as_secs_f64();
    for publisher in threads {
        publisher.join().map_err(|_| "a publisher panicked")?;
    }
    let (_, peak) = process::memory()?;
    drop(store);
    let after = Written::now()?;
    let payload = (offset * size as u64) as f64;
    println!("published/s {}", offset as f64 / took);
    println!("events/sync {}", offset as f64 / f64::from(syncs));
    println!("asked/payload {}", (after.asked - before.asked) as f64 / payload);
    println!("disk/payload {}", (after.disk - before.disk) as f64 / payload);
    println!("peak-MiB {peak}");
    Ok(())
}

/// Overwrites the mailboxes of 10,000 clients in turn, some per commit.
fn confirm<S: Store>(folder: &Path, records: u64) -> Result<(), Failure> {
    let store = S::open(folder)?;
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < SPELL {
        let batch: Vec<_> = (count..count + records).map(|n| (n % 10_000, mailbox(n % 10_000, n))).collect();
        store.confirm(&batch)?;
        count += records;
    }
    println!("confirmed/s {}", count as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

fn fill<S: Store>(folder: &Path, end: &str) -> Result<(), Failure> {
    let store = S::open(folder)?;
    for first in (0..MANY).step_by(2000) {
        let events: Vec<_> = (first..first + 2000).map(|offset| Event::new(offset, 100)).collect();
        store.publish(&events, Survives::Kill)?;
    }
    store.publish(&[Event::new(MANY, 100)], Survives::PowerCut)?;
    if end == "killed" {
        std::process::exit(0);
    }
    Ok(())
}

fn open<S: Store>(folder: &Path) -> Result<(), Failure> {
    let start = Instant::now();
    let store = S::open(folder)?;
    let opened = start.elapsed();
    let start = Instant::now();
    let (mut heads, mut events) = (0, 0);
    store.heads(&mut |_, _| heads += 1)?;
    let headed = start.elapsed();
    let start = Instant::now();
    store.events(0..u64::MAX, &mut |_, _| events += 1)?;
    let read = start.elapsed();
    let start = Instant::now();
    for n in 0..10_000 {
        store.event(n * 7919 % MANY)?.ok_or("an event is missing")?;
    }
    let points = start.elapsed();
    if heads != MANY + 1 || events != MANY + 1 {
        return Err(format!("{heads} heads and {events} events").into());
    }
    let (now, peak) = process::memory()?;
    println!("open-ms {}", opened.as_secs_f64() * 1e3);
    println!("heads-ms {}", headed.as_secs_f64() * 1e3);
    println!("events-ms {}", read.as_secs_f64() * 1e3);
    println!("point-us {}", points.as_secs_f64() * 1e6 / 1e4);
    println!("memory-MiB {now}");
    println!("peak-MiB {peak}");
    println!("disk-MiB {}", process::disk(folder)? as f64 / f64::from(1 << 20));
    let start = Instant::now();
    drop(store);
    println!("drop-ms {}", start.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

/// Publishes 4-KiB events, 64 per sync, and forgets the oldest.
fn retain<S: Store>(folder: &Path) -> Result<(), Failure> {
    const SIZE: u64 = BODY as u64;
    const STEP: u64 = 64;
    let store = S::open(folder)?;
    let before = Written::now()?;
    let start = Instant::now();
    let mut floor = 0;
    let (mut usage, mut slowest) = (Vec::new(), Duration::ZERO);
    for first in (0..PUBLISHED / SIZE).step_by(64) {
        let events: Vec<_> = (first..first + STEP).map(|offset| Event::new(offset, BODY)).collect();
        let began = Instant::now();
        store.publish(&events, Survives::PowerCut)?;
        let keep_from = (first + STEP).saturating_sub(KEPT / SIZE);
        // Retention looks once in 4 MiB.
        if keep_from > floor + 1024 {
            store.forget(0..keep_from)?;
            floor = keep_from;
        }
        slowest = slowest.max(began.elapsed());
        if first > PUBLISHED / SIZE / 2 && first % 2048 == 0 {
            usage.push(process::disk(folder)? as f64 / f64::from(1 << 20));
        }
    }
    let took = start.elapsed().as_secs_f64();
    let (now, peak) = process::memory()?;
    // All goes, then a little is written: what the folder cannot give back shows.
    store.forget(0..PUBLISHED / SIZE)?;
    for first in (0..10).map(|n| PUBLISHED / SIZE + n * STEP) {
        let events: Vec<_> = (first..first + STEP).map(|offset| Event::new(offset, BODY)).collect();
        store.publish(&events, Survives::PowerCut)?;
    }
    let emptied = process::disk(folder)?;
    let start = Instant::now();
    drop(store);
    println!("drop-ms {}", start.elapsed().as_secs_f64() * 1e3);
    println!("disk-emptied-MiB {}", emptied as f64 / f64::from(1 << 20));
    let after = Written::now()?;
    println!("MB/s {}", PUBLISHED as f64 / 1e6 / took);
    println!("slowest-commit-ms {}", slowest.as_secs_f64() * 1e3);
    println!("disk-median-MiB {}", median(&mut usage));
    println!("disk-most-MiB {}", usage.last().copied().unwrap_or(0.0));
    println!("disk-closed-MiB {}", process::disk(folder)? as f64 / f64::from(1 << 20));
    println!("asked/payload {}", (after.asked - before.asked) as f64 / PUBLISHED as f64);
    println!("disk/payload {}", (after.disk - before.disk) as f64 / PUBLISHED as f64);
    println!("memory-MiB {now}");
    println!("peak-MiB {peak}");
    Ok(())
}
