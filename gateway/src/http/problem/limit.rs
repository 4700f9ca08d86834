//! The words for the limits of one sender.

use crate::http::metrics::Limit;

/// Says what a sender has too much of, and which setting says so.
pub(super) const fn too_many(limit: Limit) -> &'static str {
    match limit {
        Limit::Connections => {
            "one address has as many connections as it may (--max-connections-per-peer; a proxy is named with \
             --trusted-proxy); end one, or try again"
        }
        Limit::Polls => {
            "one client holds as many polls and streams as it may (--max-polls-per-token, for an address without a token \
             --max-polls-per-peer); end one, or try again"
        }
        Limit::Publishes => {
            "one client publishes more than it may (--publish-rate, --publish-burst); try again after the time of Retry-After"
        }
        Limit::Mailboxes => {
            "one client makes more mailboxes than it may (--mailbox-rate, --mailbox-burst); use one that is there, or try \
             again after the time of Retry-After"
        }
        Limit::Failures => {
            "too many requests of one client for mailboxes were refused, or found none (--failure-rate); try again after the \
             time of Retry-After"
        }
    }
}
