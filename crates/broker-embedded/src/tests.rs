//! The embedded broker by property: random operations on the real store in a folder, and on a model that is obviously
//! right; after each of them both say the same of every mailbox. Ends in order and crashes come between.

mod ends;
mod full;
mod lease;
mod model;
mod retention;
mod torn;
mod world;
mod wrong;

use proptest::prelude::*;

use self::world::World;

/// One operation. Clients, patterns and topics are numbers in [`world`]'s lists.
#[derive(Debug, Clone)]
enum Step {
    Publish(usize),
    Bind(usize, usize),
    Unbind(usize, usize),
    Open {
        client: usize,
        patterns: Vec<usize>,
        seen_before: bool,
        window: u16,
    },
    /// Ask for so many.
    Next(usize, usize),
    /// Confirm up to the delivery that is this far in the window, counted round and round.
    Confirm(usize, usize),
    Release(usize),
    DropLease(usize),
    Delete(usize),
    /// End in order and start again.
    Restart,
    /// End without a word and start again.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..world::CLIENTS.len();
    let pattern = || 0..world::PATTERNS.len();
    let open = (client(), prop::collection::vec(pattern(), 0..3), any::<bool>(), 1..5_u16);
    prop_oneof![
        9 => (0..world::TOPICS.len()).prop_map(Step::Publish),
        2 => (client(), pattern()).prop_map(|(client, pattern)| Step::Bind(client, pattern)),
        2 => (client(), pattern()).prop_map(|(client, pattern)| Step::Unbind(client, pattern)),
        6 => open.prop_map(|(client, patterns, seen_before, window)| Step::Open { client, patterns, seen_before, window }),
        12 => (client(), 1..4_usize).prop_map(|(client, count)| Step::Next(client, count)),
        5 => (client(), 0..4_usize).prop_map(|(client, upto)| Step::Confirm(client, upto)),
        1 => client().prop_map(Step::Release),
        1 => client().prop_map(Step::DropLease),
        1 => client().prop_map(Step::Delete),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    // Fewer than usual: a case takes a tenth of a second and more, for the disk must sync.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

    #[test]
    fn a_store_agrees_with_a_plain_model_of_mailboxes(
        kept in prop_oneof![Just(world::EVERYTHING), 3..12_usize],
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(kept);
            for step in &steps {
                world.step(step).await?;
                world.agrees().await?;
            }
            world.drain().await
        })?;
    }
}
