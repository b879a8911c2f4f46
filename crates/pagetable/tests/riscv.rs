//! The RISC-V formats, both stages: by hand, and at random against the naive model and an independent walker.

#[path = "support/harness_x86_riscv.rs"]
mod harness_x86_riscv;
mod support;
#[path = "support/walkers_x86_riscv.rs"]
mod walkers_x86_riscv;

use harness_x86_riscv::{Fixture, one_device_type, run, window};
use proptest::prelude::*;
use support::Pool;
use support::walkers::Walked;
use vcm::{
    Access, Attributes, CachePolicy, MemoryType, Privilege, SIZE_1G, SIZE_2M, SIZE_4K, SIZE_64K, Security,
    Shareability, Span,
};
use vcm_pagetable::riscv::{
    FirstStage, FirstStageConfig, FirstStageMode, SecondStage, SecondStageConfig, SecondStageMode, Svnapot,
    Svpbmt,
};
use vcm_pagetable::{ConfigError, MapError, PageTable, Unrepresentable};
use walkers_x86_riscv::Riscv;

const FIRST: [FirstStageMode; 3] = [FirstStageMode::Sv39, FirstStageMode::Sv48, FirstStageMode::Sv57];
const SECOND: [SecondStageMode; 3] =
    [SecondStageMode::Sv39x4, SecondStageMode::Sv48x4, SecondStageMode::Sv57x4];
const NAPOT: [Svnapot; 2] = [Svnapot::Absent, Svnapot::Present];
const PBMT: [Svpbmt; 2] = [Svpbmt::Absent, Svpbmt::Present];
const SIZE_512G: u64 = 1 << 39;
const SIZE_256T: u64 = 1 << 48;

type Walk = dyn Fn(u64, &dyn Fn(u64) -> u64, u64) -> Option<Walked>;

fn first_walker(config: FirstStageConfig) -> Box<Walk> {
    let levels = match config.mode {
        FirstStageMode::Sv39 => 3,
        FirstStageMode::Sv48 => 4,
        FirstStageMode::Sv57 => 5,
    };
    let (napot, pbmt) = (config.svnapot == Svnapot::Present, config.svpbmt == Svpbmt::Present);
    let riscv = Riscv { levels, guest: false, napot, pbmt };
    Box::new(move |root, read, at| riscv.walk(root, read, at))
}

fn second_walker(config: SecondStageConfig) -> Box<Walk> {
    let levels = match config.mode {
        SecondStageMode::Sv39x4 => 3,
        SecondStageMode::Sv48x4 => 4,
        SecondStageMode::Sv57x4 => 5,
    };
    let (napot, pbmt) = (config.svnapot == Svnapot::Present, config.svpbmt == Svpbmt::Present);
    let riscv = Riscv { levels, guest: true, napot, pbmt };
    Box::new(move |root, read, at| riscv.walk(root, read, at))
}

fn first_config(mode: FirstStageMode, svnapot: Svnapot) -> FirstStageConfig {
    FirstStageConfig { mode, physical_bits: 56, svnapot, svpbmt: Svpbmt::Absent }
}

fn second_config(mode: SecondStageMode, svnapot: Svnapot) -> SecondStageConfig {
    SecondStageConfig { mode, physical_bits: 56, svnapot, svpbmt: Svpbmt::Absent }
}

fn first(config: FirstStageConfig) -> Fixture<FirstStage, Box<Walk>> {
    Fixture::new(config, first_walker(config))
}

fn second(config: SecondStageConfig) -> Fixture<SecondStage, Box<Walk>> {
    Fixture::new(config, second_walker(config))
}

/// The sizes there are with a number of levels.
fn sizes(levels: u32, svnapot: Svnapot) -> Vec<u64> {
    let mut sizes = vec![SIZE_4K, SIZE_2M, SIZE_1G, SIZE_512G, SIZE_256T];
    sizes.truncate(levels as usize);
    if svnapot == Svnapot::Present {
        sizes.push(SIZE_64K);
    }
    sizes
}

#[test]
fn each_size_arises_in_each_scheme() {
    for svnapot in NAPOT {
        for (at, physical, len) in [
            (0x1000, 0x4000_3000, SIZE_4K),
            (0x1_0000, 0x4003_0000, SIZE_64K),
            (0x5000, 0x4000_5000, 0x7_9000),
            (0x5000, 0x4000_6000, 0x7_9000),
            (SIZE_2M, 0x4020_0000, SIZE_2M),
            (SIZE_1G, SIZE_1G, SIZE_1G),
            (SIZE_2M - SIZE_4K, 0x401f_f000, 3 * SIZE_2M),
            (SIZE_1G - SIZE_2M - SIZE_4K, 3 * SIZE_1G - SIZE_2M - SIZE_4K, SIZE_1G),
            (0x1000, SIZE_2M, 2 * SIZE_2M),
        ] {
            for mode in FIRST {
                first(first_config(mode, svnapot)).round_trip(at, physical, len);
            }
            for mode in SECOND {
                second(second_config(mode, svnapot)).round_trip(at, physical, len);
            }
        }
        for mode in FIRST {
            let mut fixture = first(first_config(mode, svnapot));
            let sizes = sizes(mode.levels(), svnapot);
            assert_eq!(fixture.table.page_sizes().mask(), sizes.iter().sum::<u64>());
            for size in sizes {
                fixture.round_trip(size, 3 * size, size);
            }
        }
        for mode in SECOND {
            let mut fixture = second(second_config(mode, svnapot));
            let sizes = sizes(mode.levels(), svnapot);
            assert_eq!(fixture.table.page_sizes().mask(), sizes.iter().sum::<u64>());
            for size in sizes {
                fixture.round_trip(size, 3 * size, size);
            }
        }
    }
}

#[test]
fn the_last_byte_of_either_space_is_mapped() {
    for svnapot in NAPOT {
        for physical_bits in [32, 40, 50, 56] {
            let reachable = |levels: u32| -> Vec<u64> {
                let sizes = sizes(levels, svnapot).into_iter();
                sizes.filter(|size| size >> physical_bits == 0).collect()
            };
            for (mode, bits) in FIRST.into_iter().zip([38, 47, 56]) {
                let mut fixture = first(FirstStageConfig { physical_bits, ..first_config(mode, svnapot) });
                assert_eq!(fixture.table.input_span(), Span::inclusive(0, (1 << bits) - 1).unwrap());
                fixture.at_the_end_of_both_spaces(&reachable(mode.levels()));
            }
            for (mode, bits) in SECOND.into_iter().zip([41, 50, 59]) {
                let mut fixture = second(SecondStageConfig { physical_bits, ..second_config(mode, svnapot) });
                assert_eq!(fixture.table.input_span(), Span::inclusive(0, (1 << bits) - 1).unwrap());
                fixture.at_the_end_of_both_spaces(&reachable(mode.levels()));
            }
        }
    }
}

/// All four parts of a root of 16 KiB are used.
#[test]
fn each_quarter_of_a_second_stage_has_its_part_of_the_root() {
    for (mode, bits) in SECOND.into_iter().zip([39, 48, 57]) {
        let mut fixture = second(second_config(mode, Svnapot::Present));
        for quarter in 0..4_u64 {
            let at = (quarter << bits) + SIZE_1G - SIZE_4K;
            fixture.map(at, (quarter + 1) << 32, 2 * SIZE_4K, Attributes::READ_WRITE).unwrap();
        }
        for quarter in 0..4_u64 {
            fixture.assert_mapped((quarter << bits) + SIZE_1G - SIZE_4K, (quarter + 1) << 32, 2 * SIZE_4K);
        }
        fixture.destroy();
    }
}

#[test]
fn part_of_a_large_page_goes_and_the_rest_stays() {
    for svnapot in NAPOT {
        for (size, offset, len) in [
            (SIZE_2M, 0, SIZE_4K),
            (SIZE_2M, SIZE_2M - SIZE_4K, SIZE_4K),
            (SIZE_2M, 0x1_8000, SIZE_64K),
            (SIZE_1G, 7 * SIZE_2M + 0x3000, SIZE_4K),
            (SIZE_1G, 0x1000, SIZE_1G - 0x2000),
            (SIZE_1G, 3 * SIZE_2M, SIZE_2M),
        ] {
            for mode in FIRST {
                first(first_config(mode, svnapot)).punch(2 * SIZE_1G, 5 * SIZE_1G, size, offset, len);
            }
            for mode in SECOND {
                second(second_config(mode, svnapot)).punch(2 * SIZE_1G, 5 * SIZE_1G, size, offset, len);
            }
        }
    }
    for (offset, len) in [(0, SIZE_4K), (0xf000, SIZE_4K), (0x3000, 0x9000), (0x1000, 0xe000)] {
        for mode in FIRST {
            first(first_config(mode, Svnapot::Present)).punch(0x7_0000, 0x9_0000, SIZE_64K, offset, len);
        }
        for mode in SECOND {
            second(second_config(mode, Svnapot::Present)).punch(0x7_0000, 0x9_0000, SIZE_64K, offset, len);
        }
    }
}

/// What neither stage can express.
fn refusal(attributes: Attributes, svpbmt: Svpbmt) -> Option<Unrepresentable> {
    let device = matches!(attributes.memory_type, MemoryType::Device | MemoryType::StronglyOrdered);
    let has_type = match attributes.memory_type {
        MemoryType::Normal(CachePolicy::WriteBackWriteAllocate) => true,
        MemoryType::Normal(CachePolicy::NotCached) => svpbmt == Svpbmt::Present,
        MemoryType::Normal(_) => false,
        MemoryType::Device | MemoryType::StronglyOrdered => svpbmt == Svpbmt::Present,
    };
    let access = attributes.access;
    if access.is_empty() {
        Some(Unrepresentable::NoAccess)
    } else if access.contains(Access::WRITE) && !access.contains(Access::READ) {
        Some(Unrepresentable::WriteOnly)
    } else if attributes.security == Security::Secure {
        Some(Unrepresentable::Secure)
    } else if !has_type {
        Some(Unrepresentable::MemoryType)
    } else {
        (!device && attributes.shareability != Shareability::Outer).then_some(Unrepresentable::Shareability)
    }
}

#[test]
fn all_attributes_are_expressed_or_refused() {
    for (svpbmt, types) in [(Svpbmt::Absent, 1), (Svpbmt::Present, 2 + 2 * 3)] {
        let config = FirstStageConfig { svpbmt, ..first_config(FirstStageMode::Sv39, Svnapot::Present) };
        let expressed = first(config).express(|attributes| refusal(attributes, svpbmt), one_device_type);
        assert_eq!(expressed, 5 * 2 * types, "r, x, rw, rx, rwx; users and supervisors");
        let config = SecondStageConfig { svpbmt, ..second_config(SecondStageMode::Sv39x4, Svnapot::Present) };
        let expressed = second(config).express(
            |attributes| {
                let supervisor = attributes.privilege == Privilege::Supervisor;
                refusal(attributes, svpbmt).or(supervisor.then_some(Unrepresentable::Supervisor))
            },
            one_device_type,
        );
        assert_eq!(expressed, 5 * types);
    }
}

#[test]
fn widths_that_the_architecture_does_not_have_are_refused() {
    let mut memory = Pool::new(0);
    for physical_bits in [0, 31, 57, 64] {
        let config =
            FirstStageConfig { physical_bits, ..first_config(FirstStageMode::Sv39, Svnapot::Absent) };
        let refused = PageTable::<FirstStage>::new(config, &mut memory).unwrap_err();
        assert!(
            matches!(refused, MapError::Config(ConfigError::OutputBits { bits, .. }) if bits == physical_bits)
        );
        let config =
            SecondStageConfig { physical_bits, ..second_config(SecondStageMode::Sv39x4, Svnapot::Absent) };
        let refused = PageTable::<SecondStage>::new(config, &mut memory).unwrap_err();
        assert!(
            matches!(refused, MapError::Config(ConfigError::OutputBits { bits, .. }) if bits == physical_bits)
        );
    }
    assert_eq!(memory.live(), 0);
}

#[test]
fn a_failed_allocation_changes_nothing() {
    let at = (512 << 30) - SIZE_1G - SIZE_4K;
    let hole = Span::new((512 << 30) - SIZE_4K, 2 * SIZE_4K).unwrap();
    let len = 2 * SIZE_1G + SIZE_2M + 2 * SIZE_4K;
    let mut fixture = first(first_config(FirstStageMode::Sv57, Svnapot::Present));
    assert_eq!(
        fixture.fail_at_each(at, at, len, hole),
        [7, 4, 0],
        "two tables above, five below; two for either"
    );
    fixture.destroy();
    // Sv39x4: the root has both gigabytes.
    let mut fixture = second(second_config(SecondStageMode::Sv39x4, Svnapot::Present));
    assert_eq!(fixture.fail_at_each(at, at, len, hole), [4, 4, 0]);
    fixture.destroy();
    // A page of 64 KiB is cut within its table.
    let mut fixture = first(first_config(FirstStageMode::Sv39, Svnapot::Present));
    let hole = Span::new(0x3_3000, SIZE_4K).unwrap();
    assert_eq!(fixture.fail_at_each(0x3_0000, 0x7_0000, SIZE_64K, hole), [2, 0, 0]);
    fixture.destroy();
}

#[test]
fn a_root_of_the_second_stage_is_four_tables() {
    let mut memory = Pool::new(0x8000_1000);
    let config = second_config(SecondStageMode::Sv39x4, Svnapot::Absent);
    let table = PageTable::<SecondStage>::new(config, &mut memory).unwrap();
    assert!(table.root().is_aligned(0x4000));
    table.destroy(&mut memory);
    memory.budget = 0;
    let refused = PageTable::<SecondStage>::new(config, &mut memory).unwrap_err();
    assert!(refused.to_string().contains("16K"), "{refused}");
    assert!(matches!(refused, MapError::Table(_)));
}

fn attributes(svpbmt: Svpbmt) -> Vec<Attributes> {
    let base = Attributes::READ_WRITE;
    let uncached = MemoryType::Normal(CachePolicy::NotCached);
    let mut attributes = vec![
        base,
        base.with_access(Access::READ),
        base.with_access(Access::all()),
        base.with_access(Access::EXECUTE),
    ];
    if svpbmt == Svpbmt::Present {
        attributes.extend([base.with_memory_type(MemoryType::Device), base.with_memory_type(uncached)]);
    }
    attributes
}

const UNITS: [u64; 6] = [1, 7, 16, 512, 512, 1 << 18];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn first_stage_at_random(
        steps in window(1 << 38, &UNITS, &attributes(Svpbmt::Absent)).steps(24),
        mode in prop::sample::select(FIRST.to_vec()),
        svnapot in prop::sample::select(NAPOT.to_vec()),
        svpbmt in prop::sample::select(PBMT.to_vec()),
    ) {
        let config = FirstStageConfig { physical_bits: 39, svpbmt, ..first_config(mode, svnapot) };
        let window = window(1 << (11 + 9 * mode.levels()), &UNITS, &attributes(svpbmt));
        run::<FirstStage>(config, window, &steps, first_walker(config))?;
    }

    #[test]
    fn second_stage_at_random(
        steps in window(1 << 38, &UNITS, &attributes(Svpbmt::Absent)).steps(24),
        mode in prop::sample::select(SECOND.to_vec()),
        svnapot in prop::sample::select(NAPOT.to_vec()),
        svpbmt in prop::sample::select(PBMT.to_vec()),
    ) {
        let config = SecondStageConfig { physical_bits: 39, svpbmt, ..second_config(mode, svnapot) };
        let window = window(1 << (14 + 9 * mode.levels()), &UNITS, &attributes(svpbmt));
        run::<SecondStage>(config, window, &steps, second_walker(config))?;
    }
}
