//! The routes of feeds.

mod poll;
mod request;
mod sharing;
mod stream;

pub(super) use self::{
    poll::poll,
    request::{FeedPoll, Manner, read},
    stream::stream,
};
