//! The VT-d formats, both stages: by hand, and at random against the naive model and an independent walker.

#[path = "support/harness_x86_riscv.rs"]
mod harness_x86_riscv;
mod support;
#[path = "support/walkers_x86_riscv.rs"]
mod walkers_x86_riscv;

use harness_x86_riscv::{Fixture, one_device_type, run, window};
use proptest::prelude::*;
use support::Pool;
use support::model::canonical;
use support::walkers::Walked;
use vcm::{
    Access, Attributes, CachePolicy, MemoryType, Privilege, SIZE_1G, SIZE_2M, SIZE_4K, Security,
    Shareability, Span,
};
use vcm_pagetable::vtd::{
    FirstStage, FirstStageConfig, FirstStageLevels, LargestPage, MemoryTypes, NoSnoop, PAGE_ATTRIBUTE_TABLE,
    SecondStage, SecondStageConfig, SecondStageLevels,
};
use vcm_pagetable::{ConfigError, MapError, PageTable, Unrepresentable};
use walkers_x86_riscv::Vtd;

const SIZES: [u64; 3] = [SIZE_4K, SIZE_2M, SIZE_1G];
const SECOND: [SecondStageLevels; 3] =
    [SecondStageLevels::Three, SecondStageLevels::Four, SecondStageLevels::Five];
const FIRST: [FirstStageLevels; 2] = [FirstStageLevels::Four, FirstStageLevels::Five];
const LARGEST: [LargestPage; 3] = [LargestPage::Size4K, LargestPage::Size2M, LargestPage::Size1G];
/// Ragged and whole ranges for each size: where, to where, how long.
const RANGES: [(u64, u64, u64); 6] = [
    (0x1000, 0x4000_3000, SIZE_4K),
    (SIZE_2M, 0x4020_0000, SIZE_2M),
    (SIZE_1G, SIZE_1G, SIZE_1G),
    (SIZE_2M - SIZE_4K, 0x401f_f000, 3 * SIZE_2M),
    (SIZE_1G - SIZE_2M - SIZE_4K, 3 * SIZE_1G - SIZE_2M - SIZE_4K, SIZE_1G),
    (0x1000, SIZE_2M, 2 * SIZE_2M),
];

fn log2(largest: LargestPage) -> u32 {
    match largest {
        LargestPage::Size4K => 12,
        LargestPage::Size2M => 21,
        LargestPage::Size1G => 30,
    }
}

type Walk = dyn Fn(u64, &dyn Fn(u64) -> u64, u64) -> Option<Walked>;

fn second_walker(config: SecondStageConfig) -> Box<Walk> {
    let levels = match config.levels {
        SecondStageLevels::Three => 3,
        SecondStageLevels::Four => 4,
        SecondStageLevels::Five => 5,
    };
    let vtd = Vtd { levels, width: u32::from(config.host_bits), largest: log2(config.largest_page) };
    let snoop = config.no_snoop == NoSnoop::Overridden;
    Box::new(move |root, read, at| vtd.second_stage(snoop, root, read, at))
}

fn first_walker(config: FirstStageConfig) -> Box<Walk> {
    let levels = if config.levels == FirstStageLevels::Four { 4 } else { 5 };
    let vtd = Vtd { levels, width: u32::from(config.host_bits), largest: log2(config.largest_page) };
    let pat = (config.memory_types == MemoryTypes::PageAttributeTable).then_some(PAGE_ATTRIBUTE_TABLE);
    Box::new(move |root, read, at| vtd.first_stage(pat, root, read, at))
}

fn second(config: SecondStageConfig) -> Fixture<SecondStage, Box<Walk>> {
    Fixture::new(config, second_walker(config))
}

fn first(config: FirstStageConfig) -> Fixture<FirstStage, Box<Walk>> {
    Fixture::new(config, first_walker(config))
}

fn first_config(levels: FirstStageLevels, host_bits: u8) -> FirstStageConfig {
    let (largest_page, memory_types) = (LargestPage::Size1G, MemoryTypes::Ignored);
    FirstStageConfig { levels, host_bits, largest_page, memory_types }
}

#[test]
fn each_size_arises_in_each_number_of_levels() {
    for (at, physical, len) in RANGES {
        for largest_page in LARGEST {
            for levels in SECOND {
                let config = SecondStageConfig { largest_page, ..SecondStageConfig::new(levels, 46) };
                second(config).round_trip(at, physical, len);
            }
            for levels in FIRST {
                first(FirstStageConfig { largest_page, ..first_config(levels, 46) })
                    .round_trip(at, physical, len);
            }
        }
    }
}

#[test]
fn the_last_byte_of_either_space_is_mapped() {
    for host_bits in [32, 39, 46, 51, 52] {
        for levels in SECOND {
            second(SecondStageConfig::new(levels, host_bits)).at_the_end_of_both_spaces(&SIZES);
            let narrow = SecondStageConfig { input_bits: 31, ..SecondStageConfig::new(levels, host_bits) };
            second(narrow).at_the_end_of_both_spaces(&SIZES);
        }
        for levels in FIRST {
            first(first_config(levels, host_bits)).at_the_end_of_both_spaces(&SIZES);
        }
    }
}

#[test]
fn the_first_stage_has_the_low_half_of_its_addresses() {
    for (levels, last) in [(FirstStageLevels::Four, (1 << 47) - 1), (FirstStageLevels::Five, (1 << 56) - 1)] {
        let fixture = first(first_config(levels, 46));
        assert_eq!(fixture.table.input_span(), Span::inclusive(0, last).unwrap());
    }
    for (levels, last) in SECOND.into_iter().zip([(1 << 39) - 1, (1 << 48) - 1, (1 << 57) - 1]) {
        let fixture = second(SecondStageConfig::new(levels, 46));
        assert_eq!(fixture.table.input_span(), Span::inclusive(0, last).unwrap());
    }
}

#[test]
fn part_of_a_large_page_goes_and_the_rest_stays() {
    for (size, offset, len) in [
        (SIZE_2M, 0, SIZE_4K),
        (SIZE_2M, SIZE_2M - SIZE_4K, SIZE_4K),
        (SIZE_1G, 7 * SIZE_2M + 0x3000, SIZE_4K),
        (SIZE_1G, 0x1000, SIZE_1G - 0x2000),
        (SIZE_1G, 3 * SIZE_2M, SIZE_2M),
    ] {
        for levels in SECOND {
            second(SecondStageConfig::new(levels, 46)).punch(2 * SIZE_1G, 5 * SIZE_1G, size, offset, len);
        }
        for levels in FIRST {
            first(first_config(levels, 46)).punch(2 * SIZE_1G, 5 * SIZE_1G, size, offset, len);
        }
    }
}

/// What neither stage can express. First comes what the access lacks.
fn common_refusal(attributes: Attributes) -> Option<Unrepresentable> {
    let normal = matches!(attributes.memory_type, MemoryType::Normal(_));
    if attributes.access.contains(Access::EXECUTE) {
        Some(Unrepresentable::Execute)
    } else if attributes.security == Security::Secure {
        Some(Unrepresentable::Secure)
    } else if normal && attributes.shareability != Shareability::Outer {
        Some(Unrepresentable::Shareability)
    } else {
        None
    }
}

const WRITE_BACK: MemoryType = MemoryType::Normal(CachePolicy::WriteBackWriteAllocate);

#[test]
fn the_second_stage_expresses_all_attributes_or_refuses() {
    for no_snoop in [NoSnoop::Honoured, NoSnoop::Overridden] {
        let config = SecondStageConfig { no_snoop, ..SecondStageConfig::new(SecondStageLevels::Four, 46) };
        let expressed = second(config).express(
            |attributes| {
                common_refusal(attributes).or(if attributes.access.is_empty() {
                    Some(Unrepresentable::NoAccess)
                } else if attributes.privilege == Privilege::Supervisor {
                    Some(Unrepresentable::Supervisor)
                } else {
                    (attributes.memory_type != WRITE_BACK).then_some(Unrepresentable::MemoryType)
                })
            },
            canonical,
        );
        assert_eq!(expressed, 3, "r, w and rw");
    }
}

#[test]
fn the_first_stage_expresses_all_attributes_or_refuses() {
    for memory_types in [MemoryTypes::Ignored, MemoryTypes::PageAttributeTable] {
        let config = FirstStageConfig { memory_types, ..first_config(FirstStageLevels::Four, 46) };
        let expressed = first(config).express(
            |attributes| {
                let access = attributes.access;
                let without_read = match access {
                    _ if access.contains(Access::READ) => None,
                    _ if access.is_empty() => Some(Unrepresentable::NoAccess),
                    Access::WRITE => Some(Unrepresentable::WriteOnly),
                    _ => Some(Unrepresentable::ExecuteOnly),
                };
                let has_type = match memory_types {
                    MemoryTypes::Ignored => attributes.memory_type == WRITE_BACK,
                    MemoryTypes::PageAttributeTable => {
                        attributes.memory_type != MemoryType::Normal(CachePolicy::WriteBackNoWriteAllocate)
                    }
                };
                without_read
                    .or(common_refusal(attributes))
                    .or((!has_type).then_some(Unrepresentable::MemoryType))
            },
            one_device_type,
        );
        // r and rw, user and supervisor; of device memory with every shareability.
        let types = if memory_types == MemoryTypes::Ignored { 1 } else { 3 + 2 * 3 };
        assert_eq!(expressed, 2 * 2 * types);
    }
}

#[test]
fn what_is_read_by_default_is_mapped_by_default() {
    let mut fixture = second(SecondStageConfig::new(SecondStageLevels::Three, 39));
    fixture.map(0, 0, SIZE_4K, Attributes::default()).unwrap();
    assert_eq!(fixture.table.translate(&fixture.memory, 0).unwrap().attributes, Attributes::default());
    fixture.destroy();
}

#[test]
fn sizes_that_the_architecture_does_not_have_are_refused() {
    let mut memory = Pool::new(0);
    for host_bits in [0, 31, 53, 64] {
        let config = SecondStageConfig::new(SecondStageLevels::Three, host_bits);
        let refused = PageTable::<SecondStage>::new(config, &mut memory).unwrap_err();
        assert!(
            matches!(refused, MapError::Config(ConfigError::OutputBits { bits, .. }) if bits == host_bits)
        );
        let config = first_config(FirstStageLevels::Four, host_bits);
        let refused = PageTable::<FirstStage>::new(config, &mut memory).unwrap_err();
        assert!(
            matches!(refused, MapError::Config(ConfigError::OutputBits { bits, .. }) if bits == host_bits)
        );
    }
    for (levels, input_bits) in
        [(SecondStageLevels::Three, 40), (SecondStageLevels::Four, 49), (SecondStageLevels::Five, 58)]
    {
        for input_bits in [30, input_bits] {
            let config = SecondStageConfig { input_bits, ..SecondStageConfig::new(levels, 46) };
            let refused = PageTable::<SecondStage>::new(config, &mut memory).unwrap_err();
            assert!(
                matches!(refused, MapError::Config(ConfigError::InputBits { bits, .. }) if bits == input_bits)
            );
        }
    }
    assert_eq!(memory.live(), 0);
}

#[test]
fn a_failed_allocation_changes_nothing() {
    // From the last page of one 512 GiB entry into the next, by way of every level; then a hole in either block.
    let at = (512 << 30) - SIZE_1G - SIZE_4K;
    let hole = Span::new((512 << 30) - SIZE_4K, 2 * SIZE_4K).unwrap();
    let mut fixture = first(first_config(FirstStageLevels::Five, 46));
    let taken = fixture.fail_at_each(at, at, 2 * SIZE_1G + SIZE_2M + 2 * SIZE_4K, hole);
    assert_eq!(taken, [7, 4, 0], "two tables above, five below; a directory and a table for either block");
    fixture.destroy();
}

fn second_attributes() -> [Attributes; 3] {
    [Access::READ_WRITE, Access::READ, Access::WRITE].map(|access| Attributes::READ_WRITE.with_access(access))
}

fn first_attributes() -> [Attributes; 4] {
    let base = Attributes::READ_WRITE;
    [
        base,
        base.with_access(Access::READ),
        base.with_privilege(Privilege::Supervisor),
        base.with_memory_type(MemoryType::Normal(CachePolicy::NotCached)),
    ]
}

const UNITS: [u64; 5] = [1, 7, 512, 512, 1 << 18];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn second_stage_at_random(
        steps in window(1 << 39, &UNITS, &second_attributes()).steps(24),
        levels in prop::sample::select(SECOND.to_vec()),
        largest_page in prop::sample::select(LARGEST.to_vec()),
        snoop in any::<bool>(),
    ) {
        let no_snoop = if snoop { NoSnoop::Overridden } else { NoSnoop::Honoured };
        let config = SecondStageConfig { largest_page, no_snoop, ..SecondStageConfig::new(levels, 39) };
        let window = window(1 << levels.bits(), &UNITS, &second_attributes());
        run::<SecondStage>(config, window, &steps, second_walker(config))?;
    }

    #[test]
    fn first_stage_at_random(
        steps in window(1 << 39, &UNITS, &first_attributes()).steps(24),
        levels in prop::sample::select(FIRST.to_vec()),
        largest_page in prop::sample::select(LARGEST.to_vec()),
    ) {
        let memory_types = MemoryTypes::PageAttributeTable;
        let config = FirstStageConfig { largest_page, memory_types, ..first_config(levels, 39) };
        let window = window(1 << (levels.bits() - 1), &UNITS, &first_attributes());
        run::<FirstStage>(config, window, &steps, first_walker(config))?;
    }
}
