//! What is counted of access: tokens that were refused, rights that were missing, keys.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{rights::Denied, token::TokenError};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Right {
    right: &'static str,
}

/// See the module.
#[derive(Debug, Default)]
pub struct AccessMetrics {
    refused: Family<Reason, Counter>,
    denied: Family<Right, Counter>,
    pub(crate) keys: Gauge,
    pub(crate) keys_failed: Counter,
}

impl AccessMetrics {
    /// Shows them in a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "tokens_refused",
            "Tokens that were refused with 401, by what is wrong with them",
            self.refused.clone(),
        );
        registry.register(
            "requests_denied",
            "Requests that were refused with 403, by the right that their token, or a request without one, lacks",
            self.denied.clone(),
        );
        registry.register("token_keys", "Keys that tokens are checked by", self.keys.clone());
        registry.register(
            "token_keys_failed",
            "Failed attempts to read the keys of tokens, from a file or from --jwks-url; the keys before stay in use",
            self.keys_failed.clone(),
        );
    }

    /// Counts a token that was refused.
    pub fn refused(&self, error: &TokenError) {
        self.refused.get_or_create(&Reason { reason: error.word() }).inc();
    }

    /// Counts a request that its rights do not include.
    pub fn denied(&self, denied: &Denied) {
        let right = match denied {
            Denied::Client(_) => "mailbox",
            Denied::Read(_) => "read",
            Denied::Publish(_) | Denied::PublishAny => "publish",
        };
        self.denied.get_or_create(&Right { right }).inc();
    }
}
