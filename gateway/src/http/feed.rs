//! The routes of feeds.

mod poll;
mod request;
mod stream;

pub(super) use self::{
    poll::poll,
    request::{EmptyStatus, read},
    stream::stream,
};
