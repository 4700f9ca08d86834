//! The contract of the log of events, clause by clause, held against every broker there is, as that of mailboxes is.
//!
//! What brokers may do differently, a promise leaves open: offsets may have gaps, a broker may have to read its log to
//! know the newest events of topics, and only one that reads its own files finds damage in them.

pub(super) mod damage;
pub(super) mod offsets;
pub(super) mod retention;
pub(super) mod search;
pub(super) mod tail;
pub(super) mod world;

use super::promises;

/// What the log of every broker promises.
macro_rules! contract {
    ($broker:ident: $factory:ty) => {
        promises! { $broker: $factory, in crate::contract::log:
            offsets {
                an_empty_log_has_an_end,
                offsets_grow_in_the_order_in_which_events_were_stored,
                an_event_is_in_the_log_before_its_publisher_is_answered,
                the_end_is_after_all_that_was_stored_and_before_all_that_is_stored_later,
                the_newest_event_of_each_topic_is_shown,
                publishing_goes_on_while_the_end_is_found,
                only_events_for_feeds_are_in_the_log,
                a_confirm_takes_nothing_from_the_log,
            }
            tail {
                any_number_of_tails_get_every_event_and_consume_none,
                a_tail_that_is_read_late_gets_all_the_same,
                a_tail_waits_while_nothing_is_stored,
                waiting_for_the_next_event_can_be_given_up,
                what_a_tail_will_hand_over_is_within_its_reach,
                a_tail_that_rests_goes_on_where_it_stopped,
            }
            search {
                a_search_finds_what_is_in_its_range_and_matches,
                searches_beside_each_other_find_their_own,
                a_search_returns_a_mebibyte_at_most_but_never_nothing_for_it,
                a_search_after_an_event_gives_that_and_then_what_follows,
                clients_that_catch_up_beside_each_other_get_exactly_their_own,
                the_newest_events_of_topics_are_told_by_a_broker_that_knows_them,
            }
            retention {
                the_oldest_go_and_what_is_left_has_no_gap,
                a_search_after_an_event_that_is_gone_looks_for_nothing_else,
                nothing_is_kept_before_what_is_known_to_be_the_oldest,
                what_a_mailbox_has_not_confirmed_goes_as_well,
                a_tail_that_retention_overtakes_says_so,
            }
        }
    };
}

/// What a log promises besides that outlives its process.
macro_rules! durable {
    ($broker:ident: $factory:ty) => {
        promises! { $broker: $factory, in crate::contract::log:
            offsets {
                events_keep_their_offsets_over_an_end_and_later_ones_get_higher_ones,
            }
            retention {
                no_offset_of_an_event_that_is_gone_is_given_again,
            }
        }
    };
}

/// What a log promises besides in which damage can be found.
macro_rules! damaged {
    ($broker:ident: $factory:ty) => {
        promises! { $broker: $factory, in crate::contract::log:
            damage {
                damage_is_told_of_where_it_is,
                what_is_known_of_topics_is_complete_after_damage_only,
            }
        }
    };
}

contract! { on_rabbitmq: crate::contract::rabbitmq::Rabbit }
durable! { on_rabbitmq_over_restarts: crate::contract::rabbitmq::Alone }
contract! { embedded_on_disk: crate::contract::embedded::OnDisk }
durable! { embedded_over_restarts: crate::contract::embedded::OnDisk }
damaged! { embedded_with_damage: crate::contract::embedded::OnDisk }
contract! { embedded_in_memory: crate::contract::embedded::InMemory }
