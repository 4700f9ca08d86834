//! Keys, and the tokens that they have verified. Both are replaced together: a key that is gone takes its tokens along.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{
    keys::Key,
    rights::Rights,
    token::{self, TokenError, TokenOptions},
};

/// How many tokens one generation remembers; there are two.
const MAX_REMEMBERED: usize = 5_000;

/// See the module.
pub(crate) struct Keyring {
    keys: Vec<Key>,
    verified: Mutex<Verified>,
}

impl Keyring {
    pub(crate) fn new(keys: Vec<Key>) -> Self {
        Self { keys, verified: Mutex::default() }
    }

    /// Returns how many keys there are.
    pub(crate) const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Tells whether these are its keys.
    pub(crate) fn has(&self, keys: &[Key]) -> bool {
        self.keys == keys
    }

    /// Checks a token. A signature costs several times as much as a poll, so a token that was verified is remembered.
    pub(crate) fn verify(&self, token: &str, options: &TokenOptions) -> Result<Arc<Rights>, TokenError> {
        let digest = Sha256::digest(token).into();
        if let Some(rights) = self.verified.lock().get(&digest) {
            return Ok(rights);
        }
        let rights = Arc::new(token::verify(token, &self.keys, options)?);
        self.verified.lock().insert(digest, Arc::clone(&rights));
        Ok(rights)
    }
}

/// Tokens by their digest: the text of a token is a secret, and long. When a generation is full it becomes the older
/// one, and the older one is forgotten; what is used stays in the newer one.
#[derive(Default)]
struct Verified {
    newer: HashMap<[u8; 32], Arc<Rights>>,
    older: HashMap<[u8; 32], Arc<Rights>>,
}

impl Verified {
    fn get(&mut self, digest: &[u8; 32]) -> Option<Arc<Rights>> {
        let is_valid = |rights: &&Arc<Rights>| rights.expires.is_none_or(|expires| Instant::now() < expires);
        if let Some(rights) = self.newer.get(digest) {
            return Some(rights).filter(is_valid).cloned();
        }
        let rights = self.older.remove(digest).filter(|rights| is_valid(&rights))?;
        self.insert(*digest, Arc::clone(&rights));
        Some(rights)
    }

    fn insert(&mut self, digest: [u8; 32], rights: Arc<Rights>) {
        if self.newer.len() >= MAX_REMEMBERED {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(digest, rights);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rights(lifetime: u64) -> Arc<Rights> {
        Arc::new(Rights { expires: Some(Instant::now() + Duration::from_secs(lifetime)), ..Rights::default() })
    }

    fn digest(number: usize) -> [u8; 32] {
        Sha256::digest(number.to_le_bytes()).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_remembered_until_it_ends() {
        let mut verified = Verified::default();
        verified.insert(digest(1), rights(10));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(verified.get(&digest(1)).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(verified.get(&digest(1)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded_and_what_is_used_stays() {
        let mut verified = Verified::default();
        for number in 0..3 * MAX_REMEMBERED {
            verified.insert(digest(number), rights(3600));
            if number % 1000 == 0 {
                assert!(verified.get(&digest(0)).is_some(), "{number}");
            }
        }
        assert!(verified.newer.len() + verified.older.len() <= 2 * MAX_REMEMBERED);
        assert!(verified.get(&digest(1)).is_none());
    }
}
