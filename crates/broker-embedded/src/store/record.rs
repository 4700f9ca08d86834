//! What is written, byte for byte: a header in postcard's format, the payload if there is one, and a CRC-32 of the key
//! and all of it, which tells a record that was damaged, or that stands under a key that is not its own.

use bytes::Bytes;
use events::{CloudEvent, ContentType, Event, EventTime, Payload, TopicPattern};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::super::{
    clock::{LogTime, Reading},
    log::EventMeta,
    mailbox::{Binding, Gone, Mailbox, Marker},
    position::{MAX_OFFSET, Position},
    repeats::Fingerprint,
};

/// The largest payload that the engine takes, in bytes.
const MAX_PAYLOAD: u64 = u32::MAX as u64;

/// Says that a record is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its checksum or its content is wrong")]
pub(super) struct Damaged;

/// The state of the store as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// Of these formats; see [`FORMAT`].
    pub(super) format: u32,
    /// Everything before this offset is dropped.
    pub(super) oldest: u64,
    /// The offset that the next event gets.
    pub(super) next: u64,
    /// How many batches were synced.
    pub(super) synced: u64,
    /// The last process ended in order.
    pub(super) signed_off: bool,
    /// What the clocks showed with the last batch; follows the rest, and older gateways neither write nor read it.
    #[serde(skip)]
    pub(super) clock: Option<Reading>,
}

/// The newest version of these formats: an event is a `CloudEvent`, which older gateways would take for damage. Until there is
/// one they can open the store.
pub(super) const FORMAT: u32 = 2;

/// The version of a new store.
pub(super) const FIRST_FORMAT: u32 = 1;

/// Returns the version of the formats in which events are written.
pub(super) fn format_of<'a>(mut events: impl Iterator<Item = &'a Event>) -> u32 {
    if events.any(|event| event.cloud_event.is_some()) { FORMAT } else { FIRST_FORMAT }
}

#[derive(Serialize, Deserialize)]
struct EventHeader {
    id: String,
    topic: String,
    time: u64,
    content_type: Option<String>,
    /// A boolean in version 1: [`RESENT`] or nothing.
    flags: u8,
}

/// The event was sent again.
const RESENT: u8 = 1;

/// The attributes of a `CloudEvent` follow the header.
const CLOUD_EVENT: u8 = 2;

#[derive(Serialize, Deserialize)]
struct HeadRecord {
    topic: String,
    bytes: u64,
    stored: u64,
}

#[derive(Serialize, Deserialize)]
struct MailboxRecord {
    /// Pattern, from, until.
    bindings: Vec<(String, u64, Option<u64>)>,
    unconfirmed: u64,
    handed_over: u64,
    /// Id, before.
    marker: Option<(String, u64)>,
}

/// Returns an offset as it was read, if a store can have it: others would overflow as soon as something is added to
/// them.
fn offset(read: u64) -> Result<u64, Damaged> {
    if read <= MAX_OFFSET { Ok(read) } else { Err(Damaged) }
}

/// Returns a position by its number, if a store can have it.
fn position(read: u64) -> Result<Position, Damaged> {
    let position = Position::from_number(read);
    if position <= Position::MAX { Ok(position) } else { Err(Damaged) }
}

fn seal(key: &[u8], header: &impl Serialize, payload: &[u8]) -> Vec<u8> {
    // Serializing plain structs into memory cannot fail; an empty record would be noticed when it is read.
    let mut record = postcard::to_allocvec(header).unwrap_or_default();
    record.extend_from_slice(payload);
    let check = check(key, &record);
    record.extend_from_slice(&check.to_be_bytes());
    record
}

fn unseal<'a, H: Deserialize<'a>>(key: &[u8], record: &'a [u8]) -> Result<(H, &'a [u8]), Damaged> {
    let (body, sum) = record.split_last_chunk::<4>().ok_or(Damaged)?;
    if check(key, body) != u32::from_be_bytes(*sum) {
        return Err(Damaged);
    }
    postcard::take_from_bytes(body).map_err(|_| Damaged)
}

fn check(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

/// Writes a record that has no payload.
pub(super) fn plain(key: &[u8], record: &impl Serialize) -> Vec<u8> {
    seal(key, record, &[])
}

/// Reads a record that has no payload.
pub(super) fn read_plain<R: DeserializeOwned>(key: &[u8], record: &[u8]) -> Result<R, Damaged> {
    unseal(key, record).map(|(read, _)| read)
}

pub(super) fn event(key: &[u8], event: &Event) -> Vec<u8> {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let header = EventHeader {
        id: event.id.as_str().to_owned(),
        topic: event.topic.as_str().to_owned(),
        time: event.time.unix_millis(),
        content_type: event.content_type.as_ref().map(|text| text.as_str().to_owned()),
        flags: flag(event.resent, RESENT) | flag(event.cloud_event.is_some(), CLOUD_EVENT),
    };
    match &event.cloud_event {
        Some(attributes) => seal(key, &(header, attributes.as_json()), &event.payload),
        None => seal(key, &header, &event.payload),
    }
}

pub(super) fn read_event(key: &[u8], record: &[u8]) -> Result<Event, Damaged> {
    let (header, payload): (EventHeader, _) = unseal(key, record)?;
    if header.flags > RESENT | CLOUD_EVENT {
        return Err(Damaged);
    }
    let (cloud_event, payload) = if header.flags & CLOUD_EVENT == 0 {
        (None, payload)
    } else {
        let (json, payload): (&str, _) = postcard::take_from_bytes(payload).map_err(|_| Damaged)?;
        (Some(CloudEvent::from_stored(json).ok_or(Damaged)?), payload)
    };
    let content_type = match header.content_type {
        Some(text) => Some(ContentType::new(&text).map_err(|_| Damaged)?),
        None => None,
    };
    Ok(Event {
        id: header.id.parse().map_err(|_| Damaged)?,
        topic: header.topic.parse().map_err(|_| Damaged)?,
        time: EventTime::from_unix_millis(header.time).ok_or(Damaged)?,
        time_is_known: true,
        payload: Payload::of(content_type.as_ref(), Bytes::copy_from_slice(payload)),
        content_type,
        content_encoding: None,
        resent: header.flags & RESENT != 0,
        headers: None,
        cloud_event,
    })
}

pub(super) fn meta(key: &[u8], meta: &Meta) -> Vec<u8> {
    let clock = meta.clock.and_then(|clock| postcard::to_allocvec(&clock).ok());
    seal(key, meta, &clock.unwrap_or_default())
}

pub(super) fn read_meta(key: &[u8], record: &[u8]) -> Result<Meta, Damaged> {
    let (meta, clock): (Meta, _) = unseal(key, record)?;
    if meta.oldest > offset(meta.next)? {
        return Err(Damaged);
    }
    Ok(Meta { clock: postcard::from_bytes(clock).ok(), ..meta })
}

pub(super) fn head(key: &[u8], head: &EventMeta) -> Vec<u8> {
    let (topic, stored) = (head.topic.as_str().to_owned(), head.stored.millis());
    // The fingerprint follows the rest, and older gateways neither write nor read it.
    let fingerprint = head.fingerprint.map(|fingerprint| fingerprint.0);
    seal(key, &HeadRecord { topic, bytes: head.bytes, stored }, fingerprint.as_ref().map_or(&[], |bytes| bytes))
}

pub(super) fn read_head(key: &[u8], record: &[u8]) -> Result<EventMeta, Damaged> {
    let (head, fingerprint): (HeadRecord, _) = unseal(key, record)?;
    let (topic, stored) = (head.topic.parse().map_err(|_| Damaged)?, LogTime::from_millis(head.stored));
    let fingerprint = fingerprint.try_into().ok().map(Fingerprint);
    if head.bytes > MAX_PAYLOAD {
        return Err(Damaged);
    }
    Ok(EventMeta { topic, bytes: head.bytes, stored, fingerprint })
}

pub(super) fn mailbox(key: &[u8], mailbox: &Mailbox) -> Vec<u8> {
    let binding = |binding: &Binding| (binding.pattern.as_str().to_owned(), binding.from, binding.until);
    let record = MailboxRecord {
        bindings: mailbox.bindings.iter().map(binding).collect(),
        unconfirmed: mailbox.unconfirmed.number(),
        handed_over: mailbox.handed_over.number(),
        marker: mailbox.marker.as_ref().map(|marker| (marker_text(marker), marker.before)),
    };
    // The mark follows the rest, and older gateways neither write nor read it.
    seal(key, &record, if mailbox.is_new { &[NEW] } else { &[] })
}

/// Says of a mailbox that nothing in it was ever confirmed.
const NEW: u8 = 1;

/// Writes the position up to which a mailbox is confirmed.
pub(super) fn confirmed(key: &[u8], unconfirmed: Position) -> Vec<u8> {
    plain(key, &unconfirmed.number())
}

pub(super) fn read_confirmed(key: &[u8], record: &[u8]) -> Result<Position, Damaged> {
    read_plain(key, record).and_then(position)
}

pub(super) fn read_mailbox(key: &[u8], record: &[u8]) -> Result<Mailbox, Damaged> {
    let (record, mark): (MailboxRecord, _) = unseal(key, record)?;
    let binding = |(pattern, from, until): (String, u64, Option<u64>)| {
        let pattern = TopicPattern::from_stored(&pattern).map_err(|_| Damaged)?;
        Ok(Binding { pattern, from: offset(from)?, until: until.map(offset).transpose()? })
    };
    let marker = match record.marker {
        Some((text, before)) => {
            let (id, gone) = match text.strip_prefix(CREATED) {
                Some(id) => (id, Gone::OlderMailbox),
                None => (text.as_str(), Gone::Events),
            };
            Some(Marker::stored(id.parse().map_err(|_| Damaged)?, offset(before)?, gone))
        }
        None => None,
    };
    Ok(Mailbox {
        bindings: record.bindings.into_iter().map(binding).collect::<Result<_, _>>()?,
        unconfirmed: position(record.unconfirmed)?,
        handed_over: position(record.handed_over)?,
        marker,
        is_new: mark == [NEW],
    })
}

/// Stands before the id of a marker that tells of a creation only. Without it a marker tells of a loss, as every marker
/// did before there was the difference. An older gateway reads both as an id.
const CREATED: &str = "created~";

fn marker_text(marker: &Marker) -> String {
    match marker.gone {
        Gone::OlderMailbox => format!("{CREATED}{}", marker.id),
        Gone::Events => marker.id.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use events::{EventId, Form};

    use super::{super::super::clock::Clock, *};

    fn full_event() -> Event {
        let mut event = Event::new("jobs.1".parse().unwrap(), Some(ContentType::json()), &b"{\"n\":1}"[..]);
        event.resent = true;
        event
    }

    #[test]
    fn what_was_written_comes_back() {
        let mut event = full_event();
        assert_eq!(read_event(b"key", &super::event(b"key", &event)), Ok(event.clone()));
        let attributes = r#"{"source":"/a","specversion":"1.0","type":"b"}"#;
        event.cloud_event = CloudEvent::from_stored(attributes);
        for resent in [false, true] {
            event.resent = resent;
            assert_eq!(read_event(b"key", &super::event(b"key", &event)), Ok(event.clone()));
        }
        let bindings = vec![Binding { pattern: "a.#".parse().unwrap(), from: 3, until: Some(MAX_OFFSET) }];
        let (unconfirmed, handed_over) = (Position::of_event(7), Position::before(9));
        for gone in [Gone::OlderMailbox, Gone::Events] {
            let marker = Some(Marker::new(8, gone));
            let is_new = gone == Gone::OlderMailbox;
            let mailbox = Mailbox { bindings: bindings.clone(), unconfirmed, handed_over, marker, is_new };
            assert_eq!(read_mailbox(b"key", &super::mailbox(b"key", &mailbox)), Ok(mailbox));
        }
        for fingerprint in [None, Some(Fingerprint([7; 16]))] {
            let head =
                EventMeta { topic: "a".parse().unwrap(), bytes: 9, stored: LogTime::from_millis(1234), fingerprint };
            assert_eq!(read_head(b"key", &super::head(b"key", &head)), Ok(head));
        }
        let clock = Some(Clock::resume(None).read());
        let meta = Meta { next: 7, clock, ..Meta::default() };
        assert_eq!(read_meta(b"key", &super::meta(b"key", &meta)), Ok(meta));
    }

    #[test]
    fn an_event_from_before_payloads_had_a_kind_is_read_and_written_as_it_was() {
        let written = b"\x03a-1\x06jobs.1\xfb\xd0\x95\xff\xbc1\x01\x10application/json\x01{\"n\":1}||s!";
        let read = read_event(b"key", written).unwrap();
        assert_eq!(
            (read.form(), read.id.as_str(), read.time.unix_millis()),
            (Form::Json("{\"n\":1}"), "a-1", 1_700_000_000_123)
        );
        assert_eq!(event(b"key", &read), written);
    }

    #[test]
    fn only_a_cloud_event_makes_a_store_one_that_older_gateways_refuse() {
        let (plain, mut cloud) = (full_event(), full_event());
        cloud.cloud_event = CloudEvent::from_stored("{}");
        assert_eq!((format_of([].iter()), format_of([&plain].into_iter())), (FIRST_FORMAT, FIRST_FORMAT));
        assert_eq!(format_of([&plain, &cloud].into_iter()), FORMAT);
        // Flags of a later version are damage to this one.
        let record = event(b"key", &plain);
        let (header, payload): (EventHeader, _) = unseal(b"key", &record).unwrap();
        let later = seal(b"key", &EventHeader { flags: 4, ..header }, payload);
        assert_eq!(read_event(b"key", &later), Err(Damaged));
    }

    #[test]
    fn a_pattern_from_before_there_were_limits_is_read() {
        let pattern = TopicPattern::from_stored(&["#.a"; 40].join(".")).unwrap();
        assert!(pattern.as_str().parse::<TopicPattern>().is_err(), "no client can bind it any more");
        let bindings = vec![Binding { pattern, from: 0, until: None }];
        let mailbox = Mailbox { bindings, ..Mailbox::new(0) };
        assert_eq!(read_mailbox(b"key", &super::mailbox(b"key", &mailbox)), Ok(mailbox));
    }

    #[test]
    fn a_mailbox_that_an_older_gateway_wrote_counts_as_used() {
        let written = |mailbox: &Mailbox| super::mailbox(b"key", mailbox);
        let new = Mailbox::new(7);
        let used = Mailbox { is_new: false, ..new.clone() };
        let [(record, mark), (older, none)] = [&new, &used].map(|mailbox| {
            let record = written(mailbox);
            let (_, mark): (MailboxRecord, _) = unseal(b"key", &record).unwrap();
            (record[..record.len() - 4 - mark.len()].to_vec(), mark.to_vec())
        });
        assert_eq!((record, mark, none), (older, vec![NEW], vec![]), "what an older gateway reads is the same");
        assert_eq!(read_mailbox(b"key", &written(&used)), Ok(used));
    }

    #[test]
    fn older_and_newer_gateways_read_each_others_main_record() {
        let meta = Meta { format: FORMAT, next: 7, clock: Some(Clock::resume(None).read()), ..Meta::default() };
        let older = Meta { clock: None, ..meta };
        assert_eq!(read_meta(b"key", &plain(b"key", &older)), Ok(older));
        assert_eq!(read_plain::<Meta>(b"key", &super::meta(b"key", &meta)), Ok(older));
    }

    #[test]
    fn numbers_that_no_store_can_have_are_damage() {
        let (beyond, place_beyond) = (MAX_OFFSET + 1, Position::of_event(MAX_OFFSET).next());
        let mailbox = || Mailbox { marker: Some(Marker::new(0, Gone::Events)), ..Mailbox::new(0) };
        let binding = |from, until| Binding { pattern: "a".parse().unwrap(), from, until };
        let marker = |before| Some(Marker::stored(EventId::new(), before, Gone::Events));
        let read = |mailbox: Mailbox| read_mailbox(b"key", &super::mailbox(b"key", &mailbox));
        assert!(read(mailbox()).is_ok());
        assert_eq!(read(Mailbox { unconfirmed: place_beyond, ..mailbox() }), Err(Damaged));
        assert_eq!(read(Mailbox { handed_over: place_beyond, ..mailbox() }), Err(Damaged));
        assert_eq!(read(Mailbox { bindings: vec![binding(beyond, None)], ..mailbox() }), Err(Damaged));
        assert_eq!(read(Mailbox { bindings: vec![binding(0, Some(beyond))], ..mailbox() }), Err(Damaged));
        let mut far = mailbox();
        far.marker = marker(0).map(|marker| Marker { before: beyond, ..marker });
        assert_eq!(read(far), Err(Damaged));
        assert_eq!(read_confirmed(b"key", &confirmed(b"key", place_beyond)), Err(Damaged));
        let (fingerprint, stored) = (None, LogTime::from_millis(0));
        let head = EventMeta { topic: "a".parse().unwrap(), bytes: u64::MAX, stored, fingerprint };
        assert_eq!(read_head(b"key", &super::head(b"key", &head)), Err(Damaged));
        for (oldest, next) in [(1, 0), (0, beyond)] {
            let meta = Meta { oldest, next, ..Meta::default() };
            assert_eq!(read_meta(b"key", &super::meta(b"key", &meta)), Err(Damaged), "{oldest}..{next}");
        }
    }

    #[test]
    fn one_wrong_bit_is_noticed_anywhere() {
        let record = event(b"key", &full_event());
        assert_eq!(read_event(b"kez", &record), Err(Damaged));
        for bit in 0..record.len() * 8 {
            let mut wrong = record.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_event(b"key", &wrong), Err(Damaged), "bit {bit}");
        }
        for end in 0..record.len() {
            assert_eq!(read_event(b"key", &record[..end]), Err(Damaged), "cut at {end}");
        }
    }
}
