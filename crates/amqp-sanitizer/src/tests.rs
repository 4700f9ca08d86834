pub(crate) mod samples;

use amq_protocol::frame::parse_frame;

use self::samples::{header, headers, short};
use super::*;

/// Fails once the library reads what is mended here: then that part of the crate can go.
#[test]
fn the_library_still_gives_up_over_what_is_mended() {
    let unknown = [short(b"key"), b"?".to_vec()].concat();
    for frame in [header(1 << 7, &short(b"caf\xe9")), headers(&unknown)] {
        assert!(parse_frame(&frame[..]).is_err(), "{frame:x?}");
        let mut mended = frame.clone();
        sanitize(&mut mended);
        assert!(parse_frame(&mended[..]).is_ok(), "{mended:x?}");
    }
}

#[tokio::test]
async fn the_library_sees_a_plain_url_to_the_same_place_and_speaks_no_tls_itself() {
    for (url, plain) in [
        ("amqp://u:p@broker/v", "amqp://u:p@broker:5672/v"),
        ("amqps://u:p%2F@broker/v?frame_max=9000", "amqp://u:p%2F@broker:5671/v"),
        ("amqp://u:p@%3A%3A1/v", "amqp://u:p@%3A%3A1:5672/v"),
    ] {
        let (address, _) = sanitizing(url, None).unwrap();
        assert_eq!(address.split('?').next(), Some(plain));
    }
}
