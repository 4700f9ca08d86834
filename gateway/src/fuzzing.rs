//! What fuzz targets (`fuzz/`) see besides the public interface. It is there with the feature `fuzzing` alone.

pub use crate::{
    broker::embedded::fuzzing::{Record, Records, read_again, recover},
    http::fuzzing::{Server, encode_event},
    mailbox::fuzzing::{names_the_same, remade},
};
