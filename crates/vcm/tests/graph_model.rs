//! Random operations against a naive model: the same answers, the same things seen, the same page tables, and
//! in the end every byte back in its pool, while a TLB that remembers watches.

mod support;

use proptest::prelude::*;
use support::steps::{Op, Pair, operation};

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_graph_does_as_the_model(operations in prop::collection::vec(operation(), 1..200)) {
        let mut pair = Pair::furnished();
        for op in &operations {
            pair.step(op);
        }
        pair.take_down();
    }
}

/// The random operations reach what they are for: without this, the test above could be green and empty.
#[test]
fn the_random_operations_get_everywhere() {
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::{Config, RngSeed, TestRunner};
    let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(2010), ..Config::default() });
    let strategy = prop::collection::vec(operation(), 200);
    let (mut backed, mut active, mut stuck, mut clones, mut arrived, mut shared) = (0, 0, 0, 0, 0, 0);
    for _ in 0..100 {
        let mut pair = Pair::furnished();
        for op in strategy.new_tree(&mut runner).unwrap().current() {
            let regions = pair.model.regions.len();
            pair.step(&op);
            clones += usize::from(matches!(op, Op::CloneRegion(_)) && pair.model.regions.len() > regions);
            backed = backed.max(pair.graph.regions().map(|region| region.reservations).sum());
            active = active.max(pair.machine.attached.len());
            stuck = stuck.max(pair.graph.quarantined());
            arrived = arrived.max(pair.machine.tlb_len());
            shared = shared.max(pair.graph.allocations().map(|found| found.mappers).max().unwrap_or(0));
        }
    }
    println!(
        "{backed} reservations, {active} active, {stuck} stuck, {clones} clones, {arrived} in TLBs, {shared} mappers"
    );
    assert!(backed >= 10 && active >= 3 && stuck >= 3 && clones >= 10 && arrived >= 2 && shared >= 3);
}
