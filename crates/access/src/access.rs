//! Who a request comes from, and what it may do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{info, warn};

use crate::{
    key_files::{KeyFileError, KeyFiles},
    keyring::Keyring,
    keys::{self, Key},
    metrics::AccessMetrics,
    rights::Rights,
    token::{TokenError, TokenOptions},
};

/// How often files are looked at.
const FILES_EVERY: Duration = Duration::from_secs(10);

/// How often a key set is fetched, ±10 %.
const FETCH_EVERY: Duration = Duration::from_mins(10);

/// How often at most, whatever tokens come: a stranger can invent any number of key names.
const FETCH_AT_MOST_EVERY: Duration = Duration::from_secs(30);

/// How long a fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long keys are used after they were last fetched.
const KEPT_FOR: Duration = Duration::from_hours(24);

/// What an operator can set about access.
#[derive(Debug, Clone)]
pub struct AccessOptions {
    /// What is asked of tokens.
    pub tokens: TokenOptions,
    /// Where keys are.
    pub files: KeyFiles,
    /// More keys come from a [`KeySetSource`].
    pub has_key_set: bool,
    /// What a request without a token may do; `None`: nothing that needs a right.
    pub anonymous: Option<Rights>,
}

/// Where a key set is fetched from.
pub trait KeySetSource: Send + Sync {
    /// Fetches it, or says why not.
    fn fetch(&self) -> impl Future<Output = Result<String, String>> + Send;
}

/// Why a request has no rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAllowed {
    /// It has no token, and without one nothing is allowed.
    NoToken,
    /// Its token is not taken.
    Token(TokenError),
    /// No keys were fetched yet.
    NoKeys,
}

/// See the module.
pub struct Access {
    options: AccessOptions,
    anonymous: Option<Arc<Rights>>,
    keys: RwLock<Keys>,
    /// A key set is wanted before its time.
    wanted: Notify,
    /// When the last fetch began and when it was over.
    fetches: watch::Sender<Fetch>,
    has_warned_of_files: AtomicBool,
    has_warned_of_key_set: AtomicBool,
    metrics: Arc<AccessMetrics>,
}

impl std::fmt::Debug for Access {
    /// Shows no key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("options", &self.options).finish_non_exhaustive()
    }
}

struct Keys {
    of_files: Vec<Key>,
    /// With the time at which they were fetched.
    fetched: Option<(Vec<Key>, Instant)>,
    ring: Arc<Keyring>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Fetch {
    began: Option<Instant>,
    count: u64,
}

impl Access {
    /// Allows everything, without a token.
    #[must_use]
    pub fn open() -> Self {
        let tokens = TokenOptions { issuer: None, audience: None, lifetime: Duration::ZERO, claim: String::new() };
        let anonymous = Some(Rights::all());
        let files = KeyFiles::default();
        Self::of(AccessOptions { tokens, files, has_key_set: false, anonymous }, Vec::new(), Arc::default())
    }

    /// Reads the keys and takes the rest.
    pub fn new(options: AccessOptions, metrics: Arc<AccessMetrics>) -> Result<Self, KeyFileError> {
        let of_files = options.files.read()?;
        Ok(Self::of(options, of_files, metrics))
    }

    fn of(options: AccessOptions, of_files: Vec<Key>, metrics: Arc<AccessMetrics>) -> Self {
        let ring = Arc::new(Keyring::new(of_files.clone()));
        metrics.keys.set(i64::try_from(ring.len()).unwrap_or(i64::MAX));
        Self {
            anonymous: options.anonymous.clone().map(|rights| Arc::new(Rights { is_anonymous: true, ..rights })),
            options,
            keys: RwLock::new(Keys { of_files, fetched: None, ring }),
            wanted: Notify::new(),
            fetches: watch::Sender::default(),
            has_warned_of_files: AtomicBool::new(false),
            has_warned_of_key_set: AtomicBool::new(false),
            metrics,
        }
    }

    /// Tells whether tokens are looked at.
    #[must_use]
    pub const fn takes_tokens(&self) -> bool {
        self.options.has_key_set || !self.options.files.is_empty()
    }

    /// Tells whether tokens can be checked, if they are looked at.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.options.has_key_set || self.keys.read().fetched.is_some()
    }

    /// Returns what is counted.
    #[must_use]
    pub fn metrics(&self) -> &AccessMetrics {
        &self.metrics
    }

    /// Returns what a request with this token may do.
    pub fn rights(&self, token: Option<&str>) -> Result<Arc<Rights>, NotAllowed> {
        let Some(token) = token.filter(|_| self.takes_tokens()) else {
            return self.anonymous.clone().ok_or(NotAllowed::NoToken);
        };
        let ring = Arc::clone(&self.keys.read().ring);
        match ring.verify(token, &self.options.tokens) {
            Ok(rights) => Ok(rights),
            Err(TokenError::UnknownKey | TokenError::Algorithm) if !self.is_ready() => Err(NotAllowed::NoKeys),
            Err(error) => Err(NotAllowed::Token(error)),
        }
    }

    /// The same, but a token of an unknown key has the key set fetched, which may be older than the key.
    pub async fn rights_with_new_keys(&self, token: Option<&str>) -> Result<Arc<Rights>, NotAllowed> {
        let mut outcome = self.rights(token);
        if matches!(outcome, Err(NotAllowed::Token(TokenError::UnknownKey | TokenError::Algorithm)))
            && self.fetched_anew().await
        {
            outcome = self.rights(token);
        }
        outcome
    }

    /// Waits for a fetch of the key set, unless there was one just now.
    async fn fetched_anew(&self) -> bool {
        let mut fetches = self.fetches.subscribe();
        let last = *fetches.borrow_and_update();
        if !self.options.has_key_set || !self.is_due() {
            return false;
        }
        self.wanted.notify_one();
        let next = fetches.wait_for(|fetch| fetch.count > last.count);
        timeout(FETCH_TIMEOUT + Duration::from_secs(1), next).await.is_ok()
    }

    /// Tells whether the last fetch began long enough ago.
    fn is_due(&self) -> bool {
        self.fetches.borrow().began.is_some_and(|began| began.elapsed() >= FETCH_AT_MOST_EVERY)
    }

    /// Fetches the key set again and again. Ends only by being dropped.
    pub async fn follow_key_set(&self, source: &impl KeySetSource) {
        let mut due = Instant::now();
        let mut backoff = Duration::from_secs(1);
        loop {
            tokio::select! {
                () = sleep_until(due) => {}
                // What was asked for during a fetch is answered by it.
                () = self.wanted.notified() => if !self.is_due() { continue },
            }
            let began = Instant::now();
            let text = timeout(FETCH_TIMEOUT, source.fetch()).await;
            let text = text.unwrap_or_else(|_| Err(format!("no answer within {FETCH_TIMEOUT:?}")));
            match text.and_then(|text| keys::public(&text).map_err(|error| error.to_string())) {
                Ok(fetched) => {
                    self.has_warned_of_key_set.store(false, Ordering::Relaxed);
                    self.replace(|keys| keys.fetched = Some((fetched, Instant::now())));
                    due = Instant::now() + FETCH_EVERY.mul_f64(rand::random_range(0.9..1.1));
                    backoff = Duration::from_secs(1);
                }
                Err(error) => {
                    self.metrics.keys_failed.inc();
                    if !self.has_warned_of_key_set.swap(true, Ordering::Relaxed) {
                        warn!(
                            error,
                            "cannot fetch the keys of tokens (--jwks-url); those from before are used for 24 h"
                        );
                    }
                    let is_over = |(_, at): &(_, Instant)| at.elapsed() >= KEPT_FOR;
                    if self.keys.read().fetched.as_ref().is_some_and(is_over) {
                        self.replace(|keys| keys.fetched = None);
                    }
                    due = Instant::now() + backoff;
                    backoff = (backoff * 2).min(FETCH_AT_MOST_EVERY);
                }
            }
            self.fetches.send_modify(|fetch| *fetch = Fetch { began: Some(began), count: fetch.count + 1 });
        }
    }

    /// Looks at the files of keys again and again. Ends only by being dropped.
    pub async fn follow_files(&self) {
        loop {
            sleep(FILES_EVERY).await;
            self.reload_files().await;
        }
    }

    /// Reads the files of keys. If one of them is wrong, the keys from before stay.
    pub async fn reload_files(&self) {
        let files = self.options.files.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || files.read()).await else { return };
        match read {
            Ok(of_files) => {
                self.has_warned_of_files.store(false, Ordering::Relaxed);
                self.replace(|keys| keys.of_files = of_files);
            }
            Err(error) => {
                self.metrics.keys_failed.inc();
                if !self.has_warned_of_files.swap(true, Ordering::Relaxed) {
                    warn!(%error, "cannot read the keys of tokens; those from before stay in use");
                }
            }
        }
    }

    /// Changes the keys. What was verified is forgotten only if they are others.
    fn replace(&self, change: impl FnOnce(&mut Keys)) {
        let keys = &mut *self.keys.write();
        change(keys);
        let all: Vec<Key> =
            keys.of_files.iter().chain(keys.fetched.iter().flat_map(|(keys, _)| keys)).cloned().collect();
        if !keys.ring.has(&all) {
            info!(keys = all.len(), "the keys of tokens have changed");
            self.metrics.keys.set(i64::try_from(all.len()).unwrap_or(i64::MAX));
            keys.ring = Arc::new(Keyring::new(all));
        }
    }
}

#[cfg(test)]
mod tests;
