//! What a browser opens and imports: the page, and the client as a module.

mod client_js;
mod page;

pub(super) use self::{client_js::client_js, page::page};
