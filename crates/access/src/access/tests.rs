use std::{
    collections::VecDeque,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::AtomicUsize,
};

use parking_lot::Mutex;
use serde_json::json;
use tokio::time::advance;

use super::*;
use crate::testing::{Issuer, key_set};

/// A folder that is gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("postern-access-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn options(files: KeyFiles, has_key_set: bool, anonymous: Option<Rights>) -> AccessOptions {
    let tokens =
        TokenOptions { issuer: None, audience: None, lifetime: Duration::from_hours(48), claim: "postern".to_owned() };
    AccessOptions { tokens, files, has_key_set, anonymous }
}

fn access(files: KeyFiles, has_key_set: bool, anonymous: Option<Rights>) -> Access {
    Access::new(options(files, has_key_set, anonymous), Arc::default()).unwrap()
}

fn of_file(path: &Path) -> KeyFiles {
    KeyFiles { public: vec![path.to_owned()], secret: Vec::new() }
}

/// A URL that answers with what it was given, one after another, and from then on with the last of it.
struct Url {
    answers: Mutex<VecDeque<Result<String, String>>>,
    asked: AtomicUsize,
}

impl Url {
    fn new(answers: impl IntoIterator<Item = Result<String, String>>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl KeySetSource for Arc<Url> {
    async fn fetch(&self) -> Result<String, String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut answers = self.answers.lock();
        if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() }
    }
}

fn follow(access: &Arc<Access>, url: &Arc<Url>) {
    let (access, url) = (Arc::clone(access), Arc::clone(url));
    tokio::spawn(async move { access.follow_key_set(&url).await });
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn without_keys_a_token_is_not_looked_at() {
    let open = Access::open();
    assert!(open.rights(None).is_ok() && open.rights(Some("whatever")).is_ok() && !open.takes_tokens());
}

#[tokio::test]
async fn a_bad_token_is_refused_where_none_would_do() {
    let (folder, issuer) = (Folder::new("bad"), Issuer::es256());
    let files = of_file(&folder.write("keys", &issuer.file, 0o644));
    let closed = access(files.clone(), false, None);
    assert_eq!(closed.rights(None).unwrap_err(), NotAllowed::NoToken);
    let half_open = access(files, false, Some(Rights::default()));
    assert!(half_open.rights(None).is_ok());
    assert_eq!(half_open.rights(Some("x")).unwrap_err(), NotAllowed::Token(TokenError::Malformed));
    let token = issuer.token_for_an_hour(&json!({"sub": "alice"}));
    assert_eq!(closed.rights(Some(&token)).unwrap().subject.as_deref(), Some("alice"));
}

#[tokio::test]
async fn files_are_read_again_and_a_bad_one_changes_nothing() {
    let folder = Folder::new("reload");
    let [old, new] = [Issuer::es256(), Issuer::eddsa()];
    let [of_old, of_new] = [&old, &new].map(|issuer| issuer.token_for_an_hour(&json!({})));
    let access = access(of_file(&folder.write("keys", &old.file, 0o644)), false, None);
    let taken = || [&of_old, &of_new].map(|token| access.rights(Some(token)).is_ok());
    assert_eq!(taken(), [true, false]);
    for (text, expected) in [
        (format!("{}{}", old.file, new.file), [true, true]),
        ("no keys".to_owned(), [true, true]),
        // What was verified by a key goes with it.
        (new.file.clone(), [false, true]),
    ] {
        folder.write("keys", &text, 0o644);
        access.reload_files().await;
        assert_eq!(taken(), expected, "{text}");
    }
    assert_eq!(access.metrics.keys_failed.get(), 1);
}

#[tokio::test]
async fn a_file_of_keys_is_checked_before_it_is_used() {
    let folder = Folder::new("files");
    let secret = "s".repeat(32);
    let public = |path: PathBuf| KeyFiles { public: vec![path], secret: Vec::new() };
    let secrets = |path: PathBuf| KeyFiles { public: Vec::new(), secret: vec![path] };
    assert!(secrets(folder.write("private", &secret, 0o600)).read().is_ok());
    assert!(secrets(folder.write("group", &secret, 0o640)).read().is_ok());
    for (files, said) in [
        (secrets(folder.write("open", &secret, 0o644)), "can be read by every user of this machine"),
        (secrets(folder.write("short", "hunter2", 0o600)), "its line 1 has fewer than 32 bytes"),
        (public(folder.0.join("missing")), "cannot read "),
        (public(folder.write("large", &"x".repeat(65 * 1024), 0o644)), "has more than 65536 bytes"),
        (public(folder.write("empty", "", 0o644)), "it holds no key"),
    ] {
        let error = files.read().map(|keys| keys.len()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    fs::write(folder.0.join("bytes"), [0xff, 0xfe]).unwrap();
    assert!(matches!(public(folder.0.join("bytes")).read(), Err(KeyFileError::NoText(_))));
}

#[tokio::test(start_paused = true)]
async fn nothing_can_be_checked_before_the_key_set_has_come() {
    let issuer = Issuer::es256().named("one");
    let url = Url::new([Err("no answer".to_owned()), Ok(key_set([&issuer]))]);
    let access = Arc::new(access(KeyFiles::default(), true, None));
    let token = issuer.token_for_an_hour(&json!({}));
    follow(&access, &url);
    settle().await;
    assert_eq!((access.is_ready(), access.rights(Some(&token)).unwrap_err()), (false, NotAllowed::NoKeys));
    advance(Duration::from_secs(2)).await;
    settle().await;
    assert!(access.is_ready() && access.rights(Some(&token)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_fetched_once_for_all_and_not_too_often() {
    let [old, new, strange] = ["old", "new", "strange"].map(|id| Issuer::es256().named(id));
    let url = Url::new([Ok(key_set([&old])), Ok(key_set([&old, &new]))]);
    let access = Arc::new(access(KeyFiles::default(), true, None));
    follow(&access, &url);
    settle().await;
    let [of_new, of_strange] = [&new, &strange].map(|issuer| issuer.token_for_an_hour(&json!({})));
    let refused = NotAllowed::Token(TokenError::UnknownKey);
    // There was a fetch just now.
    assert_eq!(access.rights_with_new_keys(Some(&of_new)).await.unwrap_err(), refused);
    assert_eq!(url.asked(), 1);
    advance(FETCH_AT_MOST_EVERY).await;
    let together = futures(&access, &of_new, 50).await;
    assert!(together.iter().all(Result::is_ok));
    assert_eq!(url.asked(), 2);
    for _ in 0..100 {
        assert_eq!(access.rights_with_new_keys(Some(&of_strange)).await.unwrap_err(), refused);
    }
    assert_eq!(url.asked(), 2);
}

async fn futures(access: &Arc<Access>, token: &str, count: usize) -> Vec<Result<Arc<Rights>, NotAllowed>> {
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..count {
        let (access, token) = (Arc::clone(access), token.to_owned());
        asking.spawn(async move { access.rights_with_new_keys(Some(&token)).await });
    }
    asking.join_all().await
}

#[tokio::test(start_paused = true)]
async fn a_key_set_is_used_for_a_day_while_its_url_fails() {
    let issuer = Issuer::es256().named("one");
    let url = Url::new([Ok(key_set([&issuer])), Err("connection refused".to_owned())]);
    let access = Arc::new(access(KeyFiles::default(), true, None));
    follow(&access, &url);
    settle().await;
    let token = issuer.token(&json!({"exp": crate::testing::seconds_from_now(47 * 3600)}));
    assert!(access.rights(Some(&token)).is_ok());
    for _ in 0..23 * 60 {
        advance(Duration::from_mins(1)).await;
        settle().await;
    }
    assert!(access.rights(Some(&token)).is_ok() && access.metrics.keys_failed.get() > 100);
    for _ in 0..2 * 60 {
        advance(Duration::from_mins(1)).await;
        settle().await;
    }
    assert_eq!(access.rights(Some(&token)).unwrap_err(), NotAllowed::NoKeys);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_key_set_does_not_replace_one() {
    let issuer = Issuer::es256().named("one");
    let url = Url::new([Ok(key_set([&issuer])), Ok("<html>".to_owned()), Ok("{\"keys\":[]}".to_owned())]);
    let access = Arc::new(access(KeyFiles::default(), true, None));
    follow(&access, &url);
    settle().await;
    for _ in 0..3 {
        advance(Duration::from_mins(12)).await;
        settle().await;
        assert!(access.rights(Some(&issuer.token_for_an_hour(&json!({})))).is_ok());
    }
    assert!(access.metrics.keys_failed.get() >= 2);
}
