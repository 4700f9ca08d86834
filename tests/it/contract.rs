//! The contract of the broker traits, clause by clause, held against every broker there is.
//!
//! A promise is written once, for any [`Factory`](world::Factory), and becomes a test of each broker in the list below.
//! What brokers may do differently, a promise leaves open: how many messages are taken out of a mailbox before a reader
//! asks for them, which makes them count as handed over, and what a crash does to confirms of the last moments.

mod bindings;
mod embedded;
mod expiry;
mod lease;
mod load;
mod log;
mod marker;
mod order;
mod rabbitmq;
mod restart;
mod status;
mod window;
mod world;

/// Makes a module with a test of each promise, which stands in a suite's module of that clause, for one broker.
macro_rules! promises {
    ($broker:ident: $factory:ty, in $($suite:ident)::+: $($clause:ident { $($promise:ident),+ $(,)? })+) => {
        crate::contract::promises! { @module $broker: $factory, [$($suite)::+]: $($clause { $($promise),+ })+ }
    };
    (@module $broker:ident: $factory:ty, $suite:tt: $($clause:ident { $($promise:ident),+ })+) => {
        mod $broker {
            $(crate::contract::promises! { @clause $factory, $suite: $clause { $($promise),+ } })+
        }
    };
    (@clause $factory:ty, [$($suite:ident)::+]: $clause:ident { $($promise:ident),+ }) => {
        mod $clause {
            crate::contract::promises! { @tests $factory, [$($suite)::+::$clause]: $($promise)+ }
        }
    };
    (@tests $factory:ty, $clause:tt: $($promise:ident)+) => {
        $(crate::contract::promises! { @test $factory, $clause: $promise })+
    };
    (@test $factory:ty, [$($clause:ident)::+]: $promise:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            $($clause)::+::$promise::<$factory>().await;
        }
    };
}
use promises;

/// What every broker promises.
macro_rules! contract {
    ($broker:ident: $factory:ty) => {
        promises! { $broker: $factory, in crate::contract:
            order {
                events_come_in_the_order_in_which_they_were_stored,
                what_a_release_gives_back_stands_in_its_old_place,
                what_a_dropped_lease_gives_back_stands_in_its_old_place,
                order_holds_over_any_number_of_leases,
            }
            lease {
                a_second_lease_is_refused_after_two_seconds,
                a_second_lease_opens_as_soon_as_the_first_is_released,
                a_second_lease_opens_as_soon_as_the_mailbox_is_deleted,
                an_opening_that_is_given_up_at_any_step_keeps_nothing,
                tags_grow_strictly,
                a_dropped_next_loses_nothing,
                a_lease_ends_with_its_mailbox,
            }
            window {
                no_more_is_handed_over_than_the_window_holds,
                a_confirm_makes_room,
                a_confirm_goes_by_place_and_not_by_id,
                what_is_confirmed_does_not_come_again,
                who_opens_is_told_how_many_wait,
                a_mailbox_that_is_drained_has_given_all_that_was_stored,
                a_mailbox_whose_rest_is_on_its_way_is_not_drained,
            }
            bindings {
                patterns_select_as_a_topic_exchange_does,
                two_patterns_give_an_event_once,
                every_mailbox_that_is_bound_gets_an_event,
                an_event_without_a_mailbox_is_no_error,
                a_mailbox_gets_nothing_from_before_it_was_bound,
                opening_adds_bindings_and_takes_none_away,
                an_open_lease_gets_what_is_bound_meanwhile,
                unbinding_leaves_what_is_queued,
                an_open_lease_gets_nothing_new_that_is_unbound_meanwhile,
                unbinding_nothing_is_no_error,
            }
            marker {
                a_new_client_is_told_nothing,
                a_mailbox_made_for_a_client_that_has_seen_something_starts_with_a_marker,
                a_mailbox_made_by_a_binding_starts_with_a_marker,
                a_mailbox_that_is_there_gets_no_marker,
                a_marker_comes_again_until_it_is_confirmed,
                without_topics_there_must_be_a_mailbox,
                a_deleted_mailbox_is_gone_with_all_that_was_in_it,
                deleting_nothing_is_no_error,
            }
            status {
                a_mailbox_tells_how_many_wait_and_whether_it_is_read,
            }
            expiry {
                a_mailbox_that_is_not_read_expires,
                a_mailbox_stays_while_it_is_read,
            }
            load {
                a_slow_reader_among_fast_publishers_loses_nothing,
                a_mailbox_that_is_bound_while_others_publish_gets_a_run_without_gaps,
                who_reads_through_lease_after_lease_gets_everything,
            }
        }
    };
}

/// What a broker promises besides that outlives its process.
macro_rules! durable {
    ($broker:ident: $factory:ty) => {
        promises! { $broker: $factory, in crate::contract:
            restart {
                a_restart_changes_nothing,
                a_crash_loses_nothing_that_was_stored,
                a_crash_soon_after_a_start_is_no_secret,
            }
        }
    };
}

contract! { on_rabbitmq: crate::contract::rabbitmq::Rabbit }
durable! { on_rabbitmq_over_restarts: crate::contract::rabbitmq::Alone }
contract! { embedded_on_disk: crate::contract::embedded::OnDisk }
durable! { embedded_over_restarts: crate::contract::embedded::OnDisk }
contract! { embedded_in_memory: crate::contract::embedded::InMemory }
