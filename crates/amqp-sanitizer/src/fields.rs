//! The fields of a frame's payload: reading past each, and repairing what the library does not read.
//!
//! Layouts are those of AMQP 0-9-1, sections 4.2.5 and 4.2.6, with RabbitMQ's types of table values. A repair changes
//! bytes in place and no length. A payload that is malformed is repaired as far as it can be read.

use std::ops::Range;

use super::method::Method;

/// How deeply tables and arrays may be nested; the library parses them by recursion on a stack of 2 MiB.
const MAX_NESTED: usize = 32;

/// The kinds of fields outside of tables.
#[derive(Clone, Copy)]
enum Field {
    /// As many bytes.
    Fixed(usize),
    ShortString,
    Table,
}

use Field::{Fixed, ShortString, Table};

/// The properties of a message in the order of their flags, highest bit first (section 1.8).
const PROPERTIES: [Field; 14] = [
    ShortString, // content-type
    ShortString, // content-encoding
    Table,       // headers
    Fixed(1),    // delivery-mode
    Fixed(1),    // priority
    ShortString, // correlation-id
    ShortString, // reply-to
    ShortString, // expiration
    ShortString, // message-id
    Fixed(8),    // timestamp
    ShortString, // type
    ShortString, // user-id
    ShortString, // app-id
    ShortString, // cluster-id
];

/// What stands before the flags of the properties: class, weight and the size of the body.
const BEFORE_FLAGS: usize = 2 + 2 + 8;

/// The bit of the headers in the first byte of the flags.
const HEADERS_FLAG: u8 = 1 << 5;

/// The headers of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Headers {
    /// Where they are in the payload, with their length before them.
    pub(super) place: Range<usize>,
    /// Whether the library will read them.
    pub(super) readable: bool,
}

/// Returns the fields of a method that carries text of another client.
///
/// Not all of them are foreign: the text of an error is cut at 255 bytes by RabbitMQ, within a character or not.
fn layout(method: Method) -> &'static [Field] {
    match method {
        // connection.close and channel.close: code, text, class, method
        (10, 50) | (20, 40) => &[Fixed(2), ShortString, Fixed(4)],
        // basic.return: code, text, exchange, routing key
        (60, 50) => &[Fixed(2), ShortString, ShortString, ShortString],
        // basic.deliver: consumer tag, delivery tag, redelivered, exchange, routing key
        (60, 60) => &[ShortString, Fixed(8 + 1), ShortString, ShortString],
        // basic.get-ok: delivery tag, redelivered, exchange, routing key, messages left
        (60, 71) => &[Fixed(8 + 1), ShortString, ShortString, Fixed(4)],
        _ => &[],
    }
}

/// Tells whether [`repair_method`] could have anything to do.
pub(super) fn has_foreign_text(method: Method) -> bool {
    !layout(method).is_empty()
}

/// Repairs the arguments of a method; returns whether it changed anything.
pub(super) fn repair_method(method: Method, arguments: &mut [u8]) -> bool {
    let mut fields = Fields::of(arguments);
    for field in layout(method) {
        if fields.pass(*field).is_none() {
            // It is cut short: the library will complain.
            break;
        }
    }
    fields.changed
}

/// Repairs the payload of a content header; returns whether it changed anything, and its headers if it has any.
pub(super) fn repair_properties(payload: &mut [u8]) -> (bool, Option<Headers>) {
    let mut fields = Fields::of(payload);
    let mut headers = None;
    let to_the_end = fields.properties(&mut headers).is_some();
    (fields.changed, headers.filter(|_| to_the_end))
}

/// Takes the headers out of a payload and returns its new, smaller size. What lies beyond it is left over.
pub(super) fn strip_headers(payload: &mut [u8], headers: Range<usize>) -> usize {
    payload[BEFORE_FLAGS] &= !HEADERS_FLAG;
    let size = payload.len() - headers.len();
    payload.copy_within(headers.end.., headers.start);
    size
}

/// What is left to read of a payload, or of a table in it.
struct Fields<'a> {
    rest: &'a mut [u8],
    changed: bool,
}

impl<'a> Fields<'a> {
    const fn of(bytes: &'a mut [u8]) -> Self {
        Self { rest: bytes, changed: false }
    }

    fn take(&mut self, size: usize) -> Option<&'a mut [u8]> {
        let (taken, rest) = std::mem::take(&mut self.rest).split_at_mut_checked(size)?;
        self.rest = rest;
        Some(taken)
    }

    fn take_array<const SIZE: usize>(&mut self) -> Option<&'a mut [u8; SIZE]> {
        self.take(SIZE)?.try_into().ok()
    }

    /// Takes what is preceded by its length in four bytes.
    fn take_long(&mut self) -> Option<&'a mut [u8]> {
        let size = u32::from_be_bytes(*self.take_array()?);
        self.take(usize::try_from(size).ok()?)
    }

    fn properties(&mut self, headers: &mut Option<Headers>) -> Option<()> {
        let whole = self.rest.len();
        self.take(BEFORE_FLAGS)?;
        let flags = u16::from_be_bytes(*self.take_array()?);
        for (bit, field) in (0..16).rev().zip(PROPERTIES) {
            if flags & (1 << bit) == 0 {
                continue;
            }
            let start = whole - self.rest.len();
            let readable = self.pass(field)?;
            if matches!(field, Table) {
                *headers = Some(Headers { place: start..whole - self.rest.len(), readable });
            }
        }
        Some(())
    }

    /// Goes past a field; returns whether the library will read it, or `None` where even its end is unknown.
    fn pass(&mut self, field: Field) -> Option<bool> {
        match field {
            Fixed(size) => {
                self.take(size)?;
            }
            ShortString => self.short_string()?,
            Table => {
                let entries = self.take_long()?;
                return Some(self.nested(entries, |inner| inner.entries(0)));
            }
        }
        Some(true)
    }

    fn short_string(&mut self) -> Option<()> {
        let [size] = *self.take_array()?;
        let text = self.take(size.into())?;
        self.changed |= repair_text(text);
        Some(())
    }

    /// Reads something within its own bounds; returns whether that was possible to the end.
    fn nested(&mut self, bytes: &'a mut [u8], read: impl FnOnce(&mut Self) -> Option<()>) -> bool {
        let mut inner = Fields::of(bytes);
        let done = read(&mut inner).is_some();
        self.changed |= inner.changed;
        done
    }

    fn entries(&mut self, depth: usize) -> Option<()> {
        while !self.rest.is_empty() {
            self.short_string()?;
            self.value(depth)?;
        }
        Some(())
    }

    fn values(&mut self, depth: usize) -> Option<()> {
        while !self.rest.is_empty() {
            self.value(depth)?;
        }
        Some(())
    }

    /// Goes past the value of a table's entry, which is at this depth.
    fn value(&mut self, depth: usize) -> Option<()> {
        let [kind] = self.take_array()?;
        let fixed = match kind {
            b'V' => 0,
            b't' | b'b' | b'B' => 1,
            b's' | b'u' | b'U' => 2,
            b'I' | b'i' | b'f' => 4,
            b'D' => 5,
            b'l' | b'L' | b'd' | b'T' => 8,
            b'S' | b'x' => return self.take_long().map(drop),
            b'F' | b'A' => {
                let is_table = *kind == b'F';
                let bytes = self.take_long()?;
                let read = |inner: &mut Self| if is_table { inner.entries(depth + 1) } else { inner.values(depth + 1) };
                if depth >= MAX_NESTED || !self.nested(bytes, read) {
                    // A byte array is written like a table, and whatever is in it is read.
                    *kind = b'x';
                    self.changed = true;
                }
                return Some(());
            }
            _ => return None,
        };
        self.take(fixed).map(drop)
    }
}

/// Replaces every byte that belongs to no UTF-8 character; returns whether there were any.
fn repair_text(text: &mut [u8]) -> bool {
    let mut from = 0;
    while let Err(error) = std::str::from_utf8(&text[from..]) {
        let start = from + error.valid_up_to();
        let end = error.error_len().map_or(text.len(), |size| start + size);
        text[start..end].fill(b'?');
        from = end;
    }
    from > 0
}

#[cfg(test)]
mod tests;
