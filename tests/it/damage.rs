//! A store whose files were damaged: a clear error, or a start that says what is missing to the operator and to the
//! clients. Never a panic, never wrong bytes, never silence.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use postern_tests::{Answer, Folder, Gateway, GatewayBuilder, HttpConnection, Poll, Request};

const EVENTS: u64 = 400;

/// Large enough that the engine has made tables of the older events when the newest are still in its journal.
const PAYLOAD: usize = 40_000;

/// How many random damages are tried on a small store, and on a large one, which takes longer to read than to damage.
const TRIES: u64 = 30;
const TRIES_OF_LARGE: u64 = 8;

fn embedded(folder: &Path) -> GatewayBuilder {
    Gateway::builder().flag("--data-dir", folder)
}

fn body(number: u64, payload: usize) -> String {
    // Different at every place, so that no part can stand for another.
    let parts: Vec<u64> = (0..payload as u64 / 20).map(|part| 10_u64.pow(18) + number * 1_000_003 + part).collect();
    serde_json::json!({ "n": number, "parts": parts }).to_string()
}

/// Makes a store with events that a client has not seen, and ends its gateway in order or with -9.
async fn fill(folder: &Folder, payload: usize, in_order: bool) {
    let mut gateway = embedded(folder.path()).start().await;
    Poll::of("reader").topics("a.*").wait(0).send(&gateway).await.expect_status(204);
    let mut connection = HttpConnection::open(gateway.address()).await;
    for number in 0..EVENTS {
        let publish = Request::publish("a.b", "application/json", body(number, payload));
        connection.request(&publish).await.expect_status(202);
    }
    if in_order {
        gateway.terminate();
        assert!(gateway.wait_exit(Duration::from_secs(30)).await.success());
    } else {
        gateway.kill9();
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

/// Flips one bit of one file, or cuts it, wherever the number leads.
fn damage(folder: &Path, random: u64) -> String {
    let files: Vec<PathBuf> = files(folder).into_iter().filter(|file| file.metadata().unwrap().len() > 0).collect();
    let path = &files[usize::try_from(random).unwrap() % files.len()];
    let file = File::options().read(true).write(true).open(path).unwrap();
    // The journal is laid out in advance, and mostly empty.
    let content = fs::read(path).unwrap();
    let used = content.iter().rposition(|byte| *byte != 0).map_or(content.len(), |last| last + 1) as u64;
    let (at, cut) = ((random >> 16) % used, (random >> 8).is_multiple_of(3));
    if cut {
        file.set_len(at).unwrap();
    } else {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        byte[0] ^= 1 << ((random >> 12) % 8);
        file.write_all_at(&byte, at).unwrap();
    }
    format!("{} at {at} of {used} of {}", if cut { "a cut" } else { "a flipped bit" }, path.display())
}

/// What a client saw that comes back after the damage.
#[derive(Debug, Default)]
struct Seen {
    numbers: Vec<u64>,
    told: bool,
}

/// Who reads: a mailbox that was made before, or a feed from its oldest event on.
#[derive(Debug, Clone, Copy)]
enum Reader {
    Mailbox,
    Feed,
}

impl Reader {
    fn poll(self, token: &str) -> Request {
        match self {
            Self::Mailbox => Poll::of("reader").topics("a.*").last_seen(token).wait(5).request(),
            Self::Feed => Request::get(&format!("/topics/a.*/events?last_seen={token}&wait=0")),
        }
    }
}

/// Reads up to the last event, or to the end.
async fn read(gateway: &Gateway, payload: usize, reader: Reader) -> Seen {
    read_until(gateway, payload, reader, |seen| seen.numbers.last() == Some(&(EVENTS - 1))).await
}

async fn read_until(gateway: &Gateway, payload: usize, reader: Reader, is_enough: impl Fn(&Seen) -> bool) -> Seen {
    let first = match reader {
        Reader::Mailbox => "older",
        Reader::Feed => "oldest",
    };
    let (mut seen, mut token) = (Seen::default(), first.to_owned());
    let mut connection = HttpConnection::open(gateway.address()).await;
    loop {
        let answer: Answer = connection.request(&reader.poll(&token)).await;
        if answer.status == 204 {
            return seen;
        }
        let batch = answer.batch();
        seen.told |= batch.reset;
        for event in &batch.events {
            let number = event.data.as_ref().unwrap()["n"].as_u64().unwrap();
            let expected: serde_json::Value = serde_json::from_str(&body(number, payload)).unwrap();
            assert_eq!(event.data.as_ref(), Some(&expected), "wrong bytes");
            seen.numbers.push(number);
        }
        token.clone_from(&batch.last_seen);
        if is_enough(&seen) {
            return seen;
        }
    }
}

async fn survives_damage(payload: usize, in_order: bool, tries: u64) {
    let original = Folder::new("original");
    fill(&original, payload, in_order).await;
    for _ in 0..tries {
        let folder = Folder::new("damaged");
        copy(original.path(), folder.path());
        let damage = damage(folder.path(), rand::random());
        let finished = embedded(folder.path()).flag("--listen", "127.0.0.1:0").try_start().await;
        let (outcome, log) = match finished {
            Err(finished) => {
                let said = finished.stderr.contains("damaged") && finished.stderr.contains("move");
                assert!(finished.status.code() == Some(1) && said, "{damage}: {finished:?}");
                ("an error".to_owned(), finished.stderr)
            }
            Ok(gateway) => {
                gateway.wait_ready().await;
                let (mut outcome, mut all) = (String::new(), String::new());
                for reader in [Reader::Mailbox, Reader::Feed] {
                    let seen = read(&gateway, payload, reader).await;
                    assert!(seen.numbers.is_sorted_by(|a, b| a < b), "{damage}: out of order: {:?}", seen.numbers);
                    let (missing, log) = (EVENTS - seen.numbers.len() as u64, gateway.log().tail(usize::MAX));
                    assert!(missing == 0 || seen.told, "{damage}: {reader:?} was not told of {missing} missing events");
                    assert!(
                        missing == 0 || log.contains("damaged"),
                        "{damage}: {missing} events are missing in silence: {log}"
                    );
                    outcome = format!("{outcome} {missing} missing in the {reader:?}");
                    all = log;
                }
                (outcome, all)
            }
        };
        assert!(!log.contains("panicked"), "{damage}: {outcome}: {log}");
        #[expect(clippy::print_stderr, reason = "a failed test shows what was tried before")]
        {
            eprintln!("{damage}: {outcome}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_a_small_store_that_was_closed() {
    survives_damage(20, true, TRIES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_a_small_store_after_a_crash() {
    survives_damage(20, false, TRIES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_a_store_with_tables() {
    survives_damage(PAYLOAD, true, TRIES_OF_LARGE).await;
}

/// The engine would begin an empty keyspace in its place, and throw away what is left of the old one.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lacks_a_file_is_refused_and_not_begun_anew() {
    let original = Folder::new("original");
    fill(&original, 20, true).await;
    let keyspaces = (0..=4).map(|number| format!("keyspaces/{number}/current"));
    for missing in ["version", "lock", "keyspaces/1"].map(str::to_owned).into_iter().chain(keyspaces) {
        let folder = Folder::new("damaged");
        copy(original.path(), folder.path());
        let (path, aside) = (folder.path().join("engine").join(&missing), folder.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        let start = || embedded(folder.path()).flag("--listen", "127.0.0.1:0");
        let refused = start().try_start().await.expect_err("it is not whole");
        assert_eq!(refused.status.code(), Some(1), "without {missing}: {refused:?}");
        for words in ["is damaged", "missing", "nothing was changed", "backup"] {
            assert!(refused.stderr.contains(words), "without {missing}: {refused:?}");
        }
        // Nor does it help that the mark of what was synced is gone, by which the store is known to be in use.
        fs::remove_file(folder.path().join("synced")).unwrap();
        let refused = start().try_start().await.expect_err("it is not whole");
        assert!(refused.stderr.contains("missing"), "without {missing}, and without the mark: {refused:?}");
        fs::rename(&aside, &path).unwrap();
        let seen = read(&start().start().await, 20, Reader::Mailbox).await;
        assert_eq!(seen.numbers, (0..EVENTS).collect::<Vec<_>>(), "nothing was changed for lack of {missing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_the_mark_of_what_was_synced_is_read_and_said_to_be_damaged() {
    let folder = Folder::new("unmarked");
    fill(&folder, 20, true).await;
    fs::remove_file(folder.path().join("synced")).unwrap();
    let gateway = embedded(folder.path()).start().await;
    gateway.wait_logged("the store was damaged; clients are told what concerns them", Duration::from_secs(5)).await;
    for reader in [Reader::Mailbox, Reader::Feed] {
        let seen = read_until(&gateway, 20, reader, |seen| seen.told).await;
        assert_eq!(seen.numbers, (0..EVENTS).collect::<Vec<_>>());
        assert!(seen.told, "{reader:?} is not told that what was written last may be missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_its_engine_is_refused_and_not_begun_anew() {
    let folder = Folder::new("emptied");
    fill(&folder, 20, true).await;
    fs::remove_dir_all(folder.path().join("engine")).unwrap();
    for _ in 0..2 {
        let refused =
            embedded(folder.path()).flag("--listen", "127.0.0.1:0").try_start().await.expect_err("it is lost");
        assert!(refused.stderr.contains("missing") && refused.stderr.contains("nothing was changed"), "{refused:?}");
    }
}

/// The engine asks for memory for all of them before it compares a checksum; the allocator of the gateway gives it,
/// because none of it is used.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_says_it_has_billions_of_parts_is_said_to_be_damaged() {
    let folder = Folder::new("boastful");
    fill(&folder, 20, true).await;
    let lists = files(&folder.path().join("engine/keyspaces/1"));
    let list = lists.iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with('v')).unwrap();
    let content = fs::read(list).unwrap();
    let contents = content.windows(4).position(|bytes| bytes == b"TOC!").unwrap() as u64;
    File::options().write(true).open(list).unwrap().write_all_at(&[0xff; 4], contents + 4).unwrap();
    let refused = embedded(folder.path()).flag("--listen", "127.0.0.1:0").try_start().await.expect_err("it is damaged");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.contains("is damaged"), "{refused:?}");
}
