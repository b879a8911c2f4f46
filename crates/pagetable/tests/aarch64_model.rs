//! Random sequences of operations on AArch64 tables of every granule, against the naive model and an independent
//! walker.

mod support;

use proptest::prelude::*;
use support::long::{Choice, Long, Root, walk};
use support::model::{Step, Window, run};
use vcm::{Access, Attributes, CachePolicy, MemoryType, Shareability};
use vcm_pagetable::aarch64::{Contiguous, Granule4K, Granule16K, Granule64K, Stage1, Stage2};

/// A window of `pages`, of a granule of which a contiguous group at the last level is of `group` pages and a block of
/// `block` pages.
fn window(pages: u64, group: u64, block: u64) -> Window {
    let base = Attributes::READ_WRITE;
    Window {
        start: 0,
        pages,
        units: vec![1, 7, group, group, block, block, block * 16],
        attributes: vec![
            base,
            base.with_access(Access::READ).with_shareability(Shareability::Inner),
            base.with_access(Access::READ | Access::EXECUTE),
            base.with_memory_type(MemoryType::Device),
            base.with_memory_type(MemoryType::Normal(CachePolicy::WriteThrough)),
            base.with_memory_type(MemoryType::Normal(CachePolicy::NotCached))
                .with_shareability(Shareability::NonShareable),
        ],
    }
}

/// 3 GiB: several contiguous groups of blocks, and blocks of level 1.
fn window_4k() -> Window {
    window(3 << 18, 16, 512)
}

/// 2.5 GiB: two contiguous groups of blocks.
fn window_16k() -> Window {
    window(5 << 15, 128, 2048)
}

/// 20 GiB: one contiguous group of blocks, and a part of another.
fn window_64k() -> Window {
    window(5 << 16, 32, 8192)
}

/// Runs `steps` at the end of the input range, or on all of it where it is shorter than the window.
fn case<F: Long>(choice: Choice, window: &Window, steps: &[Step]) -> Result<(), TestCaseError> {
    let page = 1 << F::GRANULE;
    let pages = window.pages.min((1 << choice.bits) / page);
    let start = (1 << choice.bits) - pages * page;
    let window = Window { start, pages, ..window.clone() };
    run(F::choose(choice), window, steps, walk)
}

fn choice(bits: &'static [u8]) -> impl Strategy<Value = Choice> {
    let contiguous = prop_oneof![3 => Just(Contiguous::Used), 1 => Just(Contiguous::NotUsed)];
    let root = prop::sample::select(vec![Root::Plain, Root::Lower]);
    (prop::sample::select(bits), contiguous, root).prop_map(|(bits, contiguous, root)| Choice {
        bits,
        contiguous,
        root,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stage_1_with_4k(steps in window_4k().steps(24), choice in choice(&[32, 34, 39, 40, 48])) {
        case::<Stage1<Granule4K>>(choice, &window_4k(), &steps)?;
    }

    #[test]
    fn stage_2_with_4k(steps in window_4k().steps(24), choice in choice(&[32, 34, 39, 40, 43, 44, 48])) {
        case::<Stage2<Granule4K>>(choice, &window_4k(), &steps)?;
    }

    #[test]
    fn stage_1_with_16k(steps in window_16k().steps(24), choice in choice(&[32, 36, 37, 47, 48])) {
        case::<Stage1<Granule16K>>(choice, &window_16k(), &steps)?;
    }

    #[test]
    fn stage_2_with_16k(steps in window_16k().steps(24), choice in choice(&[32, 36, 40, 41, 47, 48])) {
        case::<Stage2<Granule16K>>(choice, &window_16k(), &steps)?;
    }

    #[test]
    fn stage_1_with_64k(steps in window_64k().steps(24), choice in choice(&[35, 42, 43, 48])) {
        case::<Stage1<Granule64K>>(choice, &window_64k(), &steps)?;
    }

    #[test]
    fn stage_2_with_64k(steps in window_64k().steps(24), choice in choice(&[35, 42, 43, 46, 47, 48])) {
        case::<Stage2<Granule64K>>(choice, &window_64k(), &steps)?;
    }

    /// All of a small input: roots at the lowest levels.
    #[test]
    fn small_inputs(
        steps in window_4k().steps(24),
        choice in choice(&[25, 26, 27, 28, 29, 30, 31]),
    ) {
        let window = |group| window(1 << 20, group, 512);
        case::<Stage1<Granule4K>>(choice, &window(16), &steps)?;
        case::<Stage2<Granule4K>>(choice, &window(16), &steps)?;
        case::<Stage1<Granule16K>>(choice, &window(128), &steps)?;
        case::<Stage2<Granule16K>>(choice, &window(128), &steps)?;
        case::<Stage1<Granule64K>>(choice, &window(32), &steps)?;
        case::<Stage2<Granule64K>>(choice, &window(32), &steps)?;
    }
}
