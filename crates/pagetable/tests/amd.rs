//! AMD I/O page tables, version 1: by hand, and at random against the naive model and an independent walker.

#[path = "support/harness_x86_riscv.rs"]
mod harness_x86_riscv;
mod support;
#[path = "support/walkers_x86_riscv.rs"]
mod walkers_x86_riscv;

use harness_x86_riscv::{Fixture, run, window};
use proptest::prelude::*;
use support::Pool;
use support::model::canonical;
use support::walkers::Walked;
use vcm::{
    Access, Attributes, CachePolicy, MemoryType, PhysicalAddress, Privilege, SIZE_1G, SIZE_1M, SIZE_2M,
    SIZE_4K, SIZE_64K, Security, Shareability, Span,
};
use vcm_pagetable::amd::{AmdV1, Config, Mode, NoSnoop};
use vcm_pagetable::{ConfigError, Format, MapError, PageTable, Unrepresentable};
use walkers_x86_riscv::Amd;

const MODES: [Mode; 4] = [Mode::Three, Mode::Four, Mode::Five, Mode::Six];

type Walk = dyn Fn(u64, &dyn Fn(u64) -> u64, u64) -> Option<Walked>;

fn config(mode: Mode, physical_bits: u8) -> Config {
    Config { mode, physical_bits, no_snoop: NoSnoop::Overridden }
}

fn walker(config: Config) -> Box<Walk> {
    let mode = match config.mode {
        Mode::Three => 3,
        Mode::Four => 4,
        Mode::Five => 5,
        Mode::Six => 6,
    };
    let coherent = config.no_snoop == NoSnoop::Overridden;
    let amd = Amd { mode, width: u32::from(config.physical_bits), coherent };
    Box::new(move |root, read, at| amd.walk(root, read, at))
}

fn amd(config: Config) -> Fixture<AmdV1, Box<Walk>> {
    Fixture::new(config, walker(config))
}

/// Every size there is, from 4 KiB to 256 GiB.
fn sizes() -> Vec<u64> {
    (12..39).map(|bits| 1 << bits).collect()
}

#[test]
fn every_power_of_two_is_a_page_in_every_mode() {
    for mode in MODES {
        let mut fixture = amd(config(mode, 48));
        assert_eq!(fixture.table.page_sizes().mask(), sizes().iter().sum::<u64>());
        for size in sizes() {
            fixture.round_trip(size, 3 * size, size);
            fixture.map(size, 3 * size, size, Attributes::READ_WRITE).unwrap();
            assert_eq!(fixture.pages(), [size]);
            fixture.unmap(size, size).finish(&mut fixture.memory);
        }
    }
}

#[test]
fn ragged_ranges_are_mapped_in_the_fewest_pages() {
    for mode in MODES {
        for (at, physical, len) in [
            (0x1000, 0x4000_1000, 0xf_f000),
            (0x1000, 0x4000_3000, 0xf_f000),
            (0x7000, 0x4008_7000, 0x3_9000),
            (SIZE_2M - SIZE_64K, 0x401f_0000, 3 * SIZE_2M),
            (SIZE_2M - SIZE_4K, 0x409f_f000, 13 * SIZE_2M + 0x5000),
            (SIZE_1G - SIZE_2M - SIZE_4K, 3 * SIZE_1G - SIZE_2M - SIZE_4K, 5 * SIZE_1G),
            (0x1000, SIZE_2M, 2 * SIZE_2M),
            (SIZE_1M, 3 * SIZE_1M, 2 * SIZE_1G),
        ] {
            amd(config(mode, 48)).round_trip(at, physical, len);
        }
    }
}

#[test]
fn the_last_byte_of_either_space_is_mapped() {
    for (mode, bits) in MODES.into_iter().zip([39, 48, 57, 63]) {
        for physical_bits in [32, 40, 48, 52] {
            let mut fixture = amd(config(mode, physical_bits));
            assert_eq!(fixture.table.input_span(), Span::inclusive(0, (1 << bits) - 1).unwrap());
            let reachable: Vec<u64> = sizes().into_iter().filter(|size| size >> physical_bits == 0).collect();
            fixture.at_the_end_of_both_spaces(&reachable);
        }
    }
}

#[test]
fn part_of_a_page_goes_and_the_rest_stays() {
    for mode in MODES {
        let mut fixture = amd(config(mode, 48));
        for bits in 13..=31 {
            let size = 1_u64 << bits;
            for (offset, len) in [
                (0, SIZE_4K),
                (size - SIZE_4K, SIZE_4K),
                (size / 2, size / 2),
                ((size / 4) & !0xfff, SIZE_4K),
                (SIZE_4K, (size - 2 * SIZE_4K).max(SIZE_4K)),
            ] {
                fixture.punch(2 * size, 5 * size, size, offset, len);
            }
        }
    }
}

#[test]
fn part_of_a_page_gets_other_rights() {
    let read_only = Attributes::READ_WRITE.with_access(Access::READ);
    for bits in [13, 16, 20, 22, 29, 31] {
        let size = 1_u64 << bits;
        let mut fixture = amd(config(Mode::Four, 48));
        fixture.map(size, 7 * size, size, Attributes::READ_WRITE).unwrap();
        let mut gather = vcm_pagetable::Gather::new();
        let (at, len) = (size + size / 2, SIZE_4K);
        let span = Span::new(at, len).unwrap();
        fixture.table.protect(&mut fixture.memory, span, read_only, &mut gather).unwrap();
        gather.finish(&mut fixture.memory);
        fixture.assert_mapped(size, 7 * size, size);
        assert_eq!(fixture.walk(at).unwrap().access, Access::READ);
        assert_eq!(fixture.walk(at - 1).unwrap().access, Access::READ_WRITE);
        assert!(at + len == 2 * size || fixture.walk(at + len).unwrap().access == Access::READ_WRITE);
        fixture.destroy();
    }
}

/// A page of 8 KiB and one of 64 KiB after it: a range that begins with the one and ends in the other is whole pages
/// of the smaller size, but for what the entries say.
#[test]
fn a_range_that_begins_in_small_pages_may_end_within_a_larger_one() {
    for (small, large) in
        [(13, 14), (13, 16), (14, 20), (22, 25), (31, 38)].map(|(s, l)| (1_u64 << s, 1 << l))
    {
        let mut fixture = amd(config(Mode::Four, 48));
        let (at, physical) = (large - small, 3 * large - small);
        fixture.map(at, physical, small + large, Attributes::READ_WRITE).unwrap();
        assert_eq!(fixture.pages(), [small, large]);
        let gather = fixture.unmap(at, 2 * small);
        assert_eq!(gather.spans(), [Span::new(at, small + large).unwrap()], "all of both former pages");
        gather.finish(&mut fixture.memory);
        fixture.assert_mapped(at + 2 * small, physical + 2 * small, large - small);
        assert_eq!((fixture.walk(at), fixture.walk(at + 2 * small - 1)), (None, None));
        fixture.destroy();
    }
}

#[test]
fn all_attributes_are_expressed_or_refused() {
    for no_snoop in [NoSnoop::Honoured, NoSnoop::Overridden] {
        let config = Config { no_snoop, ..config(Mode::Three, 48) };
        let write_back = MemoryType::Normal(CachePolicy::WriteBackWriteAllocate);
        let expressed = amd(config).express(
            |attributes| match attributes.access {
                access if access.is_empty() => Some(Unrepresentable::NoAccess),
                access if access.contains(Access::EXECUTE) => Some(Unrepresentable::Execute),
                _ if attributes.privilege == Privilege::Supervisor => Some(Unrepresentable::Supervisor),
                _ if attributes.security == Security::Secure => Some(Unrepresentable::Secure),
                _ if attributes.memory_type != write_back => Some(Unrepresentable::MemoryType),
                _ => {
                    (attributes.shareability != Shareability::Outer).then_some(Unrepresentable::Shareability)
                }
            },
            canonical,
        );
        assert_eq!(expressed, 3, "r, w and rw");
    }
}

#[test]
fn widths_that_the_architecture_does_not_have_are_refused() {
    let mut memory = Pool::new(0);
    for physical_bits in [0, 31, 53, 64] {
        let refused = PageTable::<AmdV1>::new(config(Mode::Three, physical_bits), &mut memory).unwrap_err();
        assert!(
            matches!(refused, MapError::Config(ConfigError::OutputBits { bits, .. }) if bits == physical_bits)
        );
    }
    assert_eq!(memory.live(), 0);
}

/// Entries that hardware accepts and this crate never writes: skipped levels, pages of 512 GiB, sizes of another level.
#[test]
fn entries_of_others_are_not_taken_for_ours() {
    for foreign in [
        // A table of level 1, from level 3.
        0x9000_0000 | 1 << 9 | 3 << 61 | 1,
        // A page of 64 KiB, and one of 512 GiB, at level 3.
        0x9000_7000 | 7 << 9 | 3 << 61 | 1,
        0x3f_ffff_f000 | 7 << 9 | 3 << 61 | 1,
        // No size at all.
        0xf_ffff_ffff_f000 | 7 << 9 | 3 << 61 | 1_u64,
    ] {
        let mut fixture = amd(config(Mode::Three, 48));
        let root = fixture.table.root();
        fixture.memory.poke(root, 2, foreign);
        assert_eq!(fixture.table.translate(&fixture.memory, 2 * SIZE_1G), None);
        let refused = fixture.map(2 * SIZE_1G, 0, SIZE_1G, Attributes::READ_WRITE);
        assert_eq!(refused, Err(MapError::Foreign { at: 2 * SIZE_1G }), "{foreign:#x}");
        fixture.memory.poke(PhysicalAddress::new(root.raw()), 2, 0);
        fixture.destroy();
    }
}

#[test]
fn a_failed_allocation_changes_nothing() {
    let at = (512 << 30) - SIZE_1G - SIZE_4K;
    let hole = Span::new((512 << 30) - SIZE_4K, 2 * SIZE_4K).unwrap();
    let mut fixture = amd(config(Mode::Six, 46));
    let taken = fixture.fail_at_each(at, at, 2 * SIZE_1G + SIZE_2M + 2 * SIZE_4K, hole);
    assert_eq!(taken, [8, 4, 0], "three tables above, five below; two for either block");
    fixture.destroy();
    // A page of 8 GiB is cut in the middle of two of its entries.
    let mut fixture = amd(config(Mode::Three, 46));
    let hole = Span::new(SIZE_1G + SIZE_64K, 3 * SIZE_1G).unwrap();
    assert_eq!(fixture.fail_at_each(0, 8 * SIZE_1G, 8 * SIZE_1G, hole), [0, 4, 0]);
    fixture.destroy();
}

fn attributes() -> [Attributes; 3] {
    [Access::READ_WRITE, Access::READ, Access::WRITE].map(|access| Attributes::READ_WRITE.with_access(access))
}

const UNITS: [u64; 9] = [1, 2, 7, 16, 256, 512, 1024, 1 << 16, 1 << 18];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn at_random(
        steps in window(1 << 39, &UNITS, &attributes()).steps(24),
        mode in prop::sample::select(MODES.to_vec()),
        coherent in any::<bool>(),
    ) {
        let no_snoop = if coherent { NoSnoop::Overridden } else { NoSnoop::Honoured };
        let config = Config { no_snoop, ..config(mode, 39) };
        let window = window(1 << mode.bits(), &UNITS, &attributes());
        run::<AmdV1>(config, window, &steps, walker(config))?;
    }
}

#[test]
fn the_default_attributes_are_expressed() {
    let format = AmdV1::new(config(Mode::Three, 48)).unwrap();
    let bits = format.encode(&Attributes::default()).unwrap();
    assert_eq!(format.decode(bits), Attributes::default());
}
