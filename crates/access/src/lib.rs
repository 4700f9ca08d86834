//! Who may do what: tokens, the rights that they carry, and the keys that they are checked by.
//!
//! ```text
//! the text of a token → `token` (its header, one of the `keys`, its claims) → Rights → may it …?
//! ```
//!
//! * [`Rights`] answer the questions of a request: this mailbox, these topics, this publish. A token's come from its
//!   `claims`, those of a request without a token from the operator.
//! * `keys` are read from files, and by [`KeySetSource`] from a URL. They are replaced as a whole, and what was verified
//!   by the old ones is forgotten with them (`keyring`).
//! * [`Limits`] remember what each sender has used of what it may do. Who it is, a [`Principal`] says.
//! * [`Access`] brings it together: it knows no HTTP, no mailbox and no broker.
//!
//! A token is a JSON Web Token (RFC 7519), signed (RFC 7515) by the application's backend. It is checked at every
//! request, without a call to anything but memory.

mod access;
mod claims;
mod key_files;
mod keyring;
mod keys;
mod limits;
mod metrics;
mod rights;
#[cfg(any(test, feature = "testing"))]
#[allow(
    missing_docs,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "for tests"
)]
pub mod testing;
mod token;

pub use self::{
    access::{Access, AccessOptions, KeySetSource, NotAllowed},
    key_files::{KeyFileError, KeyFiles},
    keys::KeyError,
    limits::{Allowance, Holding, Limits, PeerPrefix, Place, Principal, Rate},
    metrics::AccessMetrics,
    rights::{ClientPattern, ClientPatternError, Denied, Rights},
    token::{TokenError, TokenOptions},
};
