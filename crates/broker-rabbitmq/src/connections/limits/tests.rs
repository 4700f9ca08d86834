use tokio::time::advance;

use super::*;

fn takes(limits: &Limits, for_lease: bool) -> usize {
    (0..1000).take_while(|_| limits.take(for_lease)).count()
}

#[test]
fn limits_of_a_connection_follow_what_was_negotiated() {
    let of =
        |channel_max| (max_places(channel_max), max_closed_by_server(channel_max), comfortable_leases(channel_max));
    assert_eq!(of(2047), (1432, 511, 1023));
    assert_eq!(of(u16::MAX), of(2047));
    assert_eq!(of(20), (14, 5, 10));
    assert_eq!(of(1), (1, 1, 1));
    for channel_max in 4..2047 {
        let (places, closed, comfortable) = of(channel_max);
        assert!(places + closed <= usize::from(channel_max) && comfortable <= places, "{channel_max}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_leases_stay_below_the_limit_and_leave_room_for_the_rest() {
    let limits = Limits::default();
    assert_eq!(takes(&limits, true), 1000);
    (0..990).for_each(|_| limits.free(true));
    (0..30).for_each(|_| assert!(limits.take(false)));
    limits.refused(Some(30));
    (0..30).for_each(|_| limits.free(false));
    // 28 of 30, less a fifth; ten are taken already.
    assert_eq!(takes(&limits, true), 13);
    assert_eq!(takes(&limits, false), 5);
    advance(GROWS_EVERY * 100).await;
    assert_eq!((takes(&limits, true), takes(&limits, false)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn where_others_share_the_limit_each_refusal_lowers_it_and_time_raises_it() {
    let limits = Limits::default();
    let now_taken = || limits.all.load(Ordering::Relaxed);
    takes(&limits, false);
    (0..1000).for_each(|_| limits.free(false));
    limits.refused(Some(100));
    limits.refused(Some(100));
    takes(&limits, false);
    assert_eq!(now_taken(), 93);
    advance(ONE_BURST).await;
    limits.refused(Some(100));
    (0..60).for_each(|_| limits.free(false));
    takes(&limits, false);
    assert_eq!(now_taken(), 93 * 7 / 8);
    advance(GROWS_EVERY).await;
    takes(&limits, false);
    assert_eq!(now_taken(), 81 + 81_usize.div_ceil(8));
    advance(GROWS_EVERY * 1000).await;
    takes(&limits, false);
    assert_eq!(now_taken(), 93);
}

#[test]
fn a_limit_that_is_not_named_is_the_most_that_were_open() {
    let limits = Limits::default();
    (0..40).for_each(|_| assert!(limits.take(false)));
    (0..40).for_each(|_| limits.free(false));
    limits.refused(None);
    assert_eq!(takes(&limits, false), 37);
}
