//! The bytes that a server is sent.

use std::{fmt::Write as _, io::Write as _, net::SocketAddr};

use super::{
    file::Asked,
    place::Source,
    template::{Bound, Values},
};

/// A request that only has to be filled in.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The request line, and the headers that never change.
    head: Bound,
    /// The headers with a place, which are left out until there is one.
    with_place: Vec<Bound>,
    body: Option<Bound>,
}

/// What all requests have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Common<'a> {
    /// Where the server listens.
    pub(super) address: SocketAddr,
    /// More headers.
    pub(super) headers: &'a [(String, String)],
}

impl Request {
    /// Makes a request ready.
    pub(super) fn new(asked: &Asked, default: &str, accept: &str, places: &[Source], common: Common<'_>) -> Self {
        let places: Vec<String> = places.iter().map(|place| place.name.clone()).collect();
        let method = asked.method.as_deref().unwrap_or(default);
        let path = asked.path.get_ref().bind(&places, true);
        let mut fixed = " HTTP/1.1\r\n".to_owned();
        let has = |name: &str| {
            let names = asked.headers.keys().chain(common.headers.iter().map(|(name, _)| name));
            names.into_iter().any(|known| known.eq_ignore_ascii_case(name))
        };
        // Writing to memory cannot fail.
        if !has("host") {
            let _ = write!(fixed, "host: {}\r\n", common.address);
        }
        if !accept.is_empty() && !has("accept") {
            let _ = write!(fixed, "accept: {accept}\r\n");
        }
        for (name, value) in common.headers {
            let _ = write!(fixed, "{name}: {value}\r\n");
        }
        let headers = asked.headers.iter().map(|(name, value)| {
            let value = value.get_ref().bind(&places, false);
            Bound::join([Bound::text(format!("{name}: ")), value, Bound::text("\r\n".to_owned())])
        });
        let (with_place, others): (Vec<Bound>, Vec<Bound>) = headers.partition(Bound::needs_place);
        let line = [Bound::text(format!("{method} ")), path, Bound::text(fixed)];
        let body = asked.body.as_ref().map(|body| body.get_ref().bind(&places, false));
        Self { head: Bound::join(line.into_iter().chain(others)), with_place, body }
    }

    /// Writes it.
    pub(crate) fn render(&self, values: &Values<'_>, request: &mut Vec<u8>) {
        request.clear();
        self.head.render(values, request);
        if values.place.is_known() {
            self.with_place.iter().for_each(|header| header.render(values, request));
        }
        let Some(body) = &self.body else {
            request.extend_from_slice(b"\r\n");
            return;
        };
        let mut content = Vec::with_capacity(values.payload.len() + 64);
        body.render(values, &mut content);
        // Writing to memory cannot fail.
        let _ = write!(request, "content-length: {}\r\n\r\n", content.len());
        request.extend_from_slice(&content);
    }
}
