//! Which mailboxes are kept, and for how long.

use std::time::Duration;

use broker_embedded::KeptMailboxes;
use settings::{Setting, whole_number};

use super::values::{MAX_NUMBER, positive_duration};

#[allow(clippy::doc_markdown, reason = "these are the texts of --help, which is not Markdown")]
/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct MailboxesKept {
    /// How long the broker keeps a mailbox that no client reads, ±10 %. Far above the longest absence of a client
    #[arg(long, env = "POSTERN_MAILBOX_EXPIRY", value_name = "DURATION", default_value = "24h",
          value_parser = Setting(positive_duration), help_heading = "Broker")]
    pub(super) mailbox_expiry: Duration,

    /// Without RabbitMQ: the same for a mailbox of which no event was ever confirmed, if that is shorter. Above the time
    /// from when a mailbox is bound for a client to when the client has got its first event
    #[arg(long, env = "POSTERN_UNCONFIRMED_MAILBOX_EXPIRY", value_name = "DURATION", default_value = "12h",
          value_parser = Setting(positive_duration), help_heading = "Broker")]
    unconfirmed_mailbox_expiry: Duration,

    /// Without RabbitMQ: maximum of mailboxes that are kept, read or not; what would make one more gets 503
    #[arg(long, env = "POSTERN_MAX_KEPT_MAILBOXES", value_name = "N", default_value_t = 100_000,
          value_parser = Setting(whole_number(1..=MAX_NUMBER)), help_heading = "Broker")]
    max_kept_mailboxes: usize,
}

impl MailboxesKept {
    /// Returns what the embedded broker keeps.
    pub(super) const fn embedded(&self) -> KeptMailboxes {
        KeptMailboxes {
            expiry: self.mailbox_expiry,
            unconfirmed_expiry: self.unconfirmed_mailbox_expiry,
            max: self.max_kept_mailboxes,
        }
    }
}
