//! The routes of mailboxes: [`poll`] and [`stream`] hand out events, [`status`], [`bind`], [`unbind`] and [`delete`]
//! administer.

mod admin;
mod poll;
mod request;
mod stream;

pub(super) use self::{
    admin::{bind, count_new, delete, status, unbind},
    poll::poll,
    request::{MAX_TOPICS, read},
    stream::stream,
};
