//! The table of senders against a list that is walked.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::{table::MAX_LOOKED_AT, *};

const MAX: usize = 4;

fn peer(last: u8) -> Principal {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn rate() -> Rate {
    Rate::new(1, Duration::from_secs(10), 3)
}

fn small() -> Limits {
    Limits(Table::new(MAX))
}

#[test]
fn a_peer_is_an_address_or_the_network_of_one_customer() {
    let of = |text: &str| PeerPrefix::of(text.parse().unwrap());
    assert_eq!(of("2001:db8:0:7::1"), of("2001:db8:0:7:ffff::2"));
    assert_ne!(of("2001:db8:0:7::1"), of("2001:db8:0:8::1"));
    assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    assert_ne!(Principal::Subject("192.0.2.1".into()), Principal::from(Ipv4Addr::new(192, 0, 2, 1)));
}

#[test]
fn each_sender_and_each_kind_is_counted_alone() {
    let (mut limits, now) = (small(), Duration::ZERO);
    for _ in 0..3 {
        assert_eq!(limits.take(Allowance::Publishes, 1, &peer(1), rate(), now), Ok(()));
    }
    assert_eq!(limits.take(Allowance::Publishes, 1, &peer(1), rate(), now), Err(Duration::from_secs(10)));
    assert_eq!(limits.take(Allowance::Publishes, 1, &peer(2), rate(), now), Ok(()));
    assert_eq!(limits.take(Allowance::Mailboxes, 1, &peer(1), rate(), now), Ok(()));
    // Looking takes nothing.
    for _ in 0..9 {
        assert_eq!(limits.check(Allowance::Failures, &peer(1), rate(), now), Ok(()));
    }
    assert_eq!(limits.check(Allowance::Publishes, &peer(1), rate(), now), Err(Duration::from_secs(10)));
}

#[test]
fn a_place_is_free_once_it_is_dropped() {
    let (mut limits, now) = (small(), Duration::ZERO);
    let mut hold = |what, last| limits.hold(what, &peer(last), 2, now);
    let (first, second) = (hold(Holding::Polls, 1), hold(Holding::Polls, 1));
    assert!(first.is_some() && second.is_some() && hold(Holding::Polls, 1).is_none());
    let others = (hold(Holding::Connections, 1), hold(Holding::Polls, 2));
    assert!(others.0.is_some() && others.1.is_some());
    drop(first);
    let third = hold(Holding::Polls, 1);
    assert!(third.is_some() && hold(Holding::Polls, 1).is_none());
}

#[test]
fn a_sender_that_used_nothing_is_forgotten_before_one_that_did() {
    let (mut limits, now) = (small(), Duration::ZERO);
    for last in 1..=4 {
        assert_eq!(limits.take(Allowance::Publishes, 1, &peer(last), rate(), now), Ok(()));
    }
    // In 10 s the first three have got everything back that they used.
    let later = Duration::from_secs(10);
    assert_eq!(limits.take(Allowance::Publishes, 1, &peer(1), rate(), later), Ok(()));
    assert_eq!(limits.take(Allowance::Publishes, 1, &peer(5), rate(), later), Ok(()));
    assert!(limits.0.get(&peer(2)).is_none() && limits.0.get(&peer(1)).is_some());
    assert_eq!(limits.0.len(), MAX);
}

#[test]
fn a_flood_of_senders_takes_no_more_memory_and_costs_no_place() {
    let (mut limits, now) = (small(), Duration::ZERO);
    let held = limits.hold(Holding::Polls, &peer(0), 1, now);
    assert!(held.is_some());
    for last in 1..=255 {
        assert_eq!(limits.take(Allowance::Publishes, 1, &peer(last), rate(), now), Ok(()));
        assert!(limits.0.len() <= MAX);
    }
    assert!(limits.hold(Holding::Polls, &peer(0), 1, now).is_none());
    let places: Vec<_> = (0..=255).map(|last| limits.hold(Holding::Connections, &peer(last), 1, now)).collect();
    assert!(places.iter().all(Option::is_some));
    for last in 0..=255 {
        assert!(limits.hold(Holding::Connections, &peer(last), 1, now).is_none(), "{last}");
    }
}

/// Senders that hold polls for long are the oldest, and there are more of them than are looked at.
#[test]
fn senders_that_hold_places_are_not_in_the_way() {
    let (mut limits, now) = (Limits(Table::new(100)), Duration::ZERO);
    let places: Vec<_> = (0..60).map(|last| limits.hold(Holding::Polls, &peer(last), 1, now)).collect();
    for round in 0..10_u64 {
        for last in 60..=255 {
            assert_eq!(limits.take(Allowance::Publishes, 1, &peer(last), rate(), Duration::from_mins(round)), Ok(()));
        }
    }
    assert_eq!((limits.0.len(), places.iter().flatten().count()), (100, 60));
    assert!((0..60).all(|last| limits.hold(Holding::Polls, &peer(last), 1, now).is_none()));
}

/// What happens to the table.
#[derive(Debug, Clone)]
enum Step {
    Take(u8, usize),
    Hold(u8, usize),
    Release(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u8..8, 0_usize..3).prop_map(|(last, what)| Step::Take(last, what)),
        2 => (0_u8..8, 0_usize..2).prop_map(|(last, what)| Step::Hold(last, what)),
        2 => (0_usize..8).prop_map(Step::Release),
        1 => (0_u64..20).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..200)
}

const ALLOWANCES: [Allowance; 3] = [Allowance::Publishes, Allowance::Mailboxes, Allowance::Failures];
const HOLDINGS: [Holding; 2] = [Holding::Connections, Holding::Polls];

/// A sender in the model: the oldest first.
#[derive(Debug, Clone)]
struct Known {
    last: u8,
    allowances: [Bucket; 3],
    held: [usize; 2],
}

#[derive(Debug, Default)]
struct Model(Vec<Known>);

impl Model {
    fn known(&mut self, last: u8, now: u64) -> &mut Known {
        let found = self.0.iter().position(|known| known.last == last);
        let known = if let Some(at) = found {
            self.0.remove(at)
        } else {
            if self.0.len() >= MAX {
                let has_places = |known: &Known| known.held != [0, 0];
                let is_idle = |known: &Known| !has_places(known) && known.allowances.iter().all(|it| it.is_unused(now));
                for _ in 0..=self.0.len() / MAX_LOOKED_AT {
                    let looked_at = self.0.len().min(MAX_LOOKED_AT);
                    let idle = self.0[..looked_at].iter().position(is_idle);
                    let found = idle.or_else(|| self.0[..looked_at].iter().position(|known| !has_places(known)));
                    if let Some(at) = found {
                        self.0.remove(at);
                        break;
                    }
                    self.0.rotate_left(looked_at);
                }
            }
            Known { last, allowances: Default::default(), held: [0, 0] }
        };
        self.0.push(known);
        self.0.last_mut().unwrap()
    }
}

proptest! {
    #[test]
    fn the_table_does_what_a_list_would(steps in steps()) {
        let (mut limits, mut model, mut seconds) = (small(), Model::default(), 0);
        let mut places: Vec<(u8, usize, Place)> = Vec::new();
        for step in steps {
            let now = Duration::from_secs(seconds);
            match step {
                Step::Take(last, what) => {
                    let taken = limits.take(ALLOWANCES[what], 1, &peer(last), rate(), now);
                    let nanos = nanoseconds(now);
                    prop_assert_eq!(taken, model.known(last, nanos).allowances[what].take(rate(), 1, nanos));
                }
                Step::Hold(last, what) => {
                    let place = limits.hold(HOLDINGS[what], &peer(last), 2, now);
                    let known = model.known(last, nanoseconds(now));
                    prop_assert_eq!(place.is_some(), known.held[what] < 2);
                    if let Some(place) = place {
                        known.held[what] += 1;
                        places.push((last, what, place));
                    }
                }
                Step::Release(n) if n < places.len() => {
                    let (last, what, place) = places.swap_remove(n);
                    drop(place);
                    model.0.iter_mut().find(|known| known.last == last).unwrap().held[what] -= 1;
                }
                Step::Release(_) => {}
                Step::Wait(more) => seconds += more,
            }
            prop_assert_eq!(limits.0.len(), model.0.len());
        }
    }
}
