//! The methods that frames are known by (AMQP 0-9-1, section 2.3.5.1).

/// The class and the number of a method, as in the specification.
pub(super) type Method = (u16, u16);

/// The method by which the broker says how large a frame may be.
pub(super) const TUNE: Method = (10, 30);

/// The method by which the broker says that a channel is open.
pub(super) const CHANNEL_OPEN_OK: Method = (20, 11);

/// The methods by which either side closes one, and the other agrees.
pub(super) const CHANNEL_CLOSE: Method = (20, 40);
pub(super) const CHANNEL_CLOSE_OK: Method = (20, 41);

/// Reads a method from the beginning of a frame's payload.
pub(super) fn method(id: &[u8]) -> Method {
    match *id {
        [c, d, m, n, ..] => (u16::from_be_bytes([c, d]), u16::from_be_bytes([m, n])),
        _ => (0, 0),
    }
}
