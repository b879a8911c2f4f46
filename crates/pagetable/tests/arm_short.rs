//! The short-descriptor format by hand: sizes, ranges and splits, and the mistakes that others made.

mod support;

use support::Pool;
use support::model::{fewest_pages, words};
use support::short::{Fixture, INNER};
use vcm::{
    Access, CachePolicy, MemoryType, PageSizes, PhysicalAddress, SIZE_1M, SIZE_4K, SIZE_16M, SIZE_64K, Span,
};
use vcm_pagetable::arm_short::{ArmShort, Config, Split};
use vcm_pagetable::{ConfigError, Gather, MapError, PageTable, Segment, UnmapError};

#[test]
fn each_size_arises_where_both_addresses_and_the_length_allow() {
    for (at, physical, len) in [
        (0x1000, 0x4000_2000, SIZE_4K),
        (0x1_0000, 0x4001_0000, SIZE_64K),
        (0x10_0000, 0x4010_0000, SIZE_1M),
        (0x100_0000, 0x4100_0000, SIZE_16M),
        (0xff_f000, 0x40ff_f000, 2 * SIZE_16M + 2 * SIZE_4K),
        (0x1000, 0x4000_1000, 3 * SIZE_16M),
        (0x10_0000, 0x4001_0000, 2 * SIZE_1M),
        (0x123_4000, 0x7123_4000, 0x321_0000),
    ] {
        let mut fixture = Fixture::new(Config::default());
        fixture.map(at, physical, len).unwrap();
        fixture.assert_mapped(at, physical, len);
        assert_eq!(fixture.pages().len(), fewest_pages(PageSizes::ARM_SHORT, at, physical, len));
        assert_eq!(fixture.walk(at - SIZE_4K), None);
        assert_eq!(fixture.walk(at + len), None);
    }
}

#[test]
fn segments_that_follow_each_other_become_one_large_page() {
    let mut fixture = Fixture::new(Config::default());
    let pages = (0..256)
        .map(|page| Segment { physical: PhysicalAddress::new(0x4000_0000 + page * SIZE_4K), len: SIZE_4K });
    fixture.table.map(&mut fixture.memory, 0x10_0000, pages, INNER).unwrap();
    assert_eq!(fixture.pages(), [(0x10_0000, SIZE_1M)]);
    assert_eq!(fixture.memory.live(), 1, "a section needs no table");
}

#[test]
fn scattered_segments_lie_side_by_side() {
    let mut fixture = Fixture::new(Config::default());
    let physical = |page: u64| 0x4000_0000 + (page * 7919 % 4096) * SIZE_4K;
    let segments =
        (0..1000).map(|page| Segment { physical: PhysicalAddress::new(physical(page)), len: SIZE_4K });
    fixture.table.map(&mut fixture.memory, 0xf_f000, segments, INNER).unwrap();
    for page in 0..1000 {
        assert_eq!(fixture.walk(0xf_f000 + page * SIZE_4K).unwrap().physical, physical(page));
    }
}

/// The original of this format computed a small page's TEX0 for 64K pages as well, at bit 6, where a large page
/// has none: all its large pages lost their write-allocate policy.
#[test]
fn a_large_page_has_tex0_at_bit_12() {
    let mut fixture = Fixture::new(Config::default());
    fixture.map(0x1_0000, 0x4001_0000, SIZE_64K).unwrap();
    fixture.map(0x3000, 0x4000_3000, SIZE_4K).unwrap();
    let walked = fixture.walk(0x1_0000).unwrap();
    assert_eq!(
        (walked.page, walked.memory),
        (SIZE_64K, MemoryType::Normal(CachePolicy::WriteBackWriteAllocate))
    );
    let walked = fixture.walk(0x3000).unwrap();
    assert_eq!(
        (walked.page, walked.memory),
        (SIZE_4K, MemoryType::Normal(CachePolicy::WriteBackWriteAllocate))
    );
}

/// The original took whatever was in the level-1 entry for the address of a level-2 table.
#[test]
fn a_small_page_within_a_live_section_is_refused() {
    for size in [SIZE_1M, SIZE_16M] {
        let mut fixture = Fixture::new(Config::default());
        fixture.map(0x100_0000, 0x4100_0000, size).unwrap();
        let before = fixture.memory.clone();
        for len in [SIZE_4K, SIZE_64K] {
            let error = fixture.map(0x108_0000, 0x5000_0000, len).unwrap_err();
            let MapError::Occupied { at, by } = error else { panic!("{error}") };
            assert_eq!((at, by.at, by.size), (0x108_0000, 0x100_0000, size));
        }
        assert_eq!(fixture.memory, before);
    }
}

/// The original wrote a section over the entry of a live table: the table leaked, and its pages vanished.
#[test]
fn a_section_over_a_live_table_is_refused() {
    let mut fixture = Fixture::new(Config::default());
    fixture.map(0x17_f000, 0x4000_0000, SIZE_4K).unwrap();
    let before = fixture.memory.clone();
    for (at, len) in [(0x10_0000, SIZE_1M), (0, SIZE_16M)] {
        let error = fixture.map(at, 0x5000_0000, len).unwrap_err();
        assert!(matches!(error, MapError::Occupied { at: 0x17_f000, .. }), "{error}");
    }
    assert_eq!(fixture.memory, before);
}

/// An empty table goes with its last page, so that a section finds its entry free, and nothing leaks.
#[test]
fn a_section_takes_the_place_of_a_table_that_became_empty() {
    let mut fixture = Fixture::new(Config::default());
    fixture.map(0x17_f000, 0x4000_0000, SIZE_4K).unwrap();
    assert_eq!(fixture.memory.live(), 2);
    let gather = fixture.unmap(0x17_f000, SIZE_4K).unwrap();
    assert!(gather.tables_removed());
    // The table's memory is not free before the invalidation, but its place in the root is.
    fixture.map(0x10_0000, 0x5000_0000, SIZE_1M).unwrap();
    assert_eq!(fixture.memory.live(), 2);
    gather.finish(&mut fixture.memory);
    assert_eq!(fixture.memory.live(), 1);
    fixture.assert_mapped(0x10_0000, 0x5000_0000, SIZE_1M);
}

/// The original cleared whatever entries the caller's size covered, mapped or not, and of a larger page one entry
/// of its sixteen.
#[test]
fn unmapping_checks_what_is_mapped() {
    let mut fixture = Fixture::new(Config::default());
    fixture.map(0x1_0000, 0x4001_0000, SIZE_64K).unwrap();
    let before = fixture.memory.clone();
    assert_eq!(fixture.unmap(0x1_0000, 2 * SIZE_64K).unwrap_err(), UnmapError::NotMapped { at: 0x2_0000 });
    assert_eq!(fixture.unmap(0x0_f000, SIZE_64K).unwrap_err(), UnmapError::NotMapped { at: 0x0_f000 });
    assert_eq!(fixture.unmap(0x10_0000, SIZE_1M).unwrap_err(), UnmapError::NotMapped { at: 0x10_0000 });
    assert_eq!(fixture.unmap(0, SIZE_1M).unwrap_err(), UnmapError::NotMapped { at: 0 });
    assert_eq!(fixture.memory, before);
    // One of the sixteen entries goes: the others become pages of their own.
    fixture.unmap(0x1_4000, SIZE_4K).unwrap().finish(&mut fixture.memory);
    assert_eq!(fixture.census(), [15, 0, 0, 0]);
    fixture.assert_mapped(0x1_0000, 0x4001_0000, 4 * SIZE_4K);
    fixture.assert_mapped(0x1_5000, 0x4001_5000, 11 * SIZE_4K);
    assert_eq!(fixture.walk(0x1_4000), None);
}

/// The original chose a page's size from the device address and the length, and cut off the physical address.
#[test]
fn the_physical_address_decides_on_the_size_of_pages_too() {
    for (physical, census) in [
        (0x4100_0000, [0, 0, 0, 1]),
        (0x4110_0000, [0, 0, 16, 0]),
        (0x4101_0000, [0, 256, 0, 0]),
        (0x4100_1000, [4096, 0, 0, 0]),
    ] {
        let mut fixture = Fixture::new(Config::default());
        fixture.map(0x100_0000, physical, SIZE_16M).unwrap();
        assert_eq!(fixture.census(), census);
        fixture.assert_mapped(0x100_0000, physical, SIZE_16M);
    }
}

#[test]
fn part_of_a_page_goes_and_the_rest_stays() {
    const AT: u64 = 0x200_0000;
    const TO: u64 = 0x4200_0000;
    // (size mapped, offset and length unmapped, what is left: 4K, 64K, 1M, 16M)
    for (size, offset, len, left) in [
        (SIZE_64K, 0, SIZE_4K, [15, 0, 0, 0]),
        (SIZE_64K, 0x8000, 2 * SIZE_4K, [14, 0, 0, 0]),
        (SIZE_64K, 0xf000, SIZE_4K, [15, 0, 0, 0]),
        (SIZE_1M, 0, SIZE_4K, [15, 15, 0, 0]),
        (SIZE_1M, 0xf_f000, SIZE_4K, [15, 15, 0, 0]),
        (SIZE_1M, SIZE_64K, SIZE_64K, [0, 15, 0, 0]),
        (SIZE_1M, 0x1000, SIZE_1M - 0x2000, [2, 0, 0, 0]),
        (SIZE_16M, 0, SIZE_1M, [0, 0, 15, 0]),
        (SIZE_16M, 15 * SIZE_1M, SIZE_1M, [0, 0, 15, 0]),
        (SIZE_16M, 0, SIZE_4K, [15, 15, 15, 0]),
        (SIZE_16M, SIZE_16M - SIZE_4K, SIZE_4K, [15, 15, 15, 0]),
        (SIZE_16M, 5 * SIZE_1M + 0x1_1000, SIZE_4K, [15, 15, 15, 0]),
        (SIZE_16M, 0x1000, SIZE_16M - 0x2000, [2, 0, 0, 0]),
        (SIZE_16M, 3 * SIZE_1M + SIZE_64K, 2 * SIZE_1M, [0, 16, 13, 0]),
    ] {
        let mut fixture = Fixture::new(Config::default());
        fixture.map(AT, TO, size).unwrap();
        let gather = fixture.unmap(AT + offset, len).unwrap();
        // The whole former page is to be invalidated: every entry it was made of.
        assert_eq!(gather.spans(), [Span::new(AT, size).unwrap()]);
        let entry = if size >= SIZE_1M { SIZE_1M } else { SIZE_4K };
        assert_eq!(gather.granule(), entry);
        assert_eq!(gather.pages(entry).count() as u64, size / entry);
        gather.finish(&mut fixture.memory);
        assert_eq!(fixture.census(), left, "{size:#x} without {len:#x} at {offset:#x}");
        fixture.assert_mapped(AT, TO, offset);
        fixture.assert_mapped(AT + offset + len, TO + offset + len, size - offset - len);
        for page in (offset..offset + len).step_by(SIZE_4K as usize) {
            assert_eq!(fixture.walk(AT + page), None);
        }
        // What is left goes as well, and all tables with it.
        if offset > 0 {
            fixture.unmap(AT, offset).unwrap().finish(&mut fixture.memory);
        }
        if offset + len < size {
            fixture.unmap(AT + offset + len, size - offset - len).unwrap().finish(&mut fixture.memory);
        }
        assert_eq!(fixture.memory.live(), 1);
    }
}

#[test]
fn a_range_may_cut_two_different_pages() {
    let mut fixture = Fixture::new(Config::default());
    fixture.map(0x100_0000, 0x4100_0000, SIZE_16M).unwrap();
    fixture.map(0x200_0000, 0x5000_0000, 2 * SIZE_1M).unwrap();
    let gather = fixture.unmap(0x1ff_f000, SIZE_1M + 2 * SIZE_4K).unwrap();
    assert_eq!(gather.spans(), [Span::new(0x100_0000, SIZE_16M + 2 * SIZE_1M).unwrap()]);
    gather.finish(&mut fixture.memory);
    fixture.assert_mapped(0x100_0000, 0x4100_0000, SIZE_16M - SIZE_4K);
    fixture.assert_mapped(0x210_1000, 0x5010_1000, SIZE_1M - SIZE_4K);
    assert_eq!(fixture.census(), [30, 30, 15, 0]);
}

#[test]
fn protecting_part_of_a_page_leaves_the_rest_as_it_was() {
    let read_only = INNER.with_access(Access::READ);
    for size in [SIZE_64K, SIZE_1M, SIZE_16M] {
        let mut fixture = Fixture::new(Config::default());
        fixture.map(0x200_0000, 0x4200_0000, size).unwrap();
        let mut gather = Gather::new();
        let span = Span::new(0x200_1000, 0x2000).unwrap();
        fixture.table.protect(&mut fixture.memory, span, read_only, &mut gather).unwrap();
        assert_eq!(gather.spans(), [Span::new(0x200_0000, size).unwrap()]);
        assert!(!gather.tables_removed());
        gather.finish(&mut fixture.memory);
        fixture.assert_mapped(0x200_0000, 0x4200_0000, size);
        for page in (0..size).step_by(SIZE_4K as usize) {
            let expected = if (0x1000..0x3000).contains(&page) { read_only } else { INNER };
            assert_eq!(words(fixture.walk(0x200_0000 + page).unwrap()), expected);
        }
    }
}

#[test]
fn the_last_byte_of_the_address_space_is_mapped_and_unmapped() {
    for size in [SIZE_4K, SIZE_64K, SIZE_1M, SIZE_16M] {
        let mut fixture = Fixture::new(Config::default());
        let at = (1 << 32) - size;
        // The end of physical memory, too.
        fixture.map(at, at, size).unwrap();
        assert_eq!(fixture.pages(), [(at, size)]);
        let last = fixture.table.translate(&fixture.memory, 0xffff_ffff).unwrap();
        assert_eq!((last.physical.raw(), last.page_size), (0xffff_ffff, size));
        assert_eq!(fixture.table.translate(&fixture.memory, 1 << 32), None);
        assert!(matches!(fixture.map(at, 0, 2 * size).unwrap_err(), MapError::OutOfRange { .. }));
        let gather = fixture.unmap(at, size).unwrap();
        assert_eq!(gather.pages(SIZE_4K).last(), Some(0xffff_f000));
        gather.finish(&mut fixture.memory);
        assert_eq!(fixture.memory.live(), 1);
    }
    let mut fixture = Fixture::new(Config::default());
    fixture.map(0, 0, 1 << 32).unwrap();
    assert_eq!(fixture.census(), [0, 0, 0, 256]);
    fixture.unmap(0, 1 << 32).unwrap().finish(&mut fixture.memory);
    assert_eq!(fixture.pages(), []);
}

#[test]
fn the_two_parts_of_a_split_meet_and_do_not_overlap() {
    for n in 1..=7 {
        let boundary = 1_u64 << (32 - n);
        let mut low = Fixture::new(Config { split: Split::Low { n }, ..Config::default() });
        let mut high = Fixture::new(Config { split: Split::High { n }, ..Config::default() });
        assert_eq!(low.table.input_span(), Span::new(0, boundary).unwrap());
        assert_eq!(high.table.input_span(), Span::inclusive(boundary, 0xffff_ffff).unwrap());
        assert!(low.table.root().is_aligned(0x4000 >> n) && high.table.root().is_aligned(0x4000));
        for size in [SIZE_4K, SIZE_64K, SIZE_1M, SIZE_16M] {
            low.map(boundary - size, 0x4000_0000, size).unwrap();
            high.map(boundary, 0x5000_0000, size).unwrap();
            low.assert_mapped(boundary - size, 0x4000_0000, size);
            high.assert_mapped(boundary, 0x5000_0000, size);
            low.unmap(boundary - size, size).unwrap().finish(&mut low.memory);
            high.unmap(boundary, size).unwrap().finish(&mut high.memory);
        }
        for (fixture, at) in [(&mut low, boundary), (&mut high, boundary - SIZE_4K)] {
            let refused = fixture.map(at, 0x4000_0000, SIZE_4K).unwrap_err();
            assert!(matches!(refused, MapError::OutOfRange { .. }), "{refused}");
            assert!(matches!(fixture.unmap(at, SIZE_4K).unwrap_err(), UnmapError::OutOfRange { .. }));
            assert_eq!(fixture.table.translate(&fixture.memory, at), None);
        }
        // Across the boundary: neither half is mapped.
        assert!(low.map(boundary - SIZE_4K, 0, 2 * SIZE_4K).is_err());
        assert_eq!((low.pages(), high.pages()), (vec![], vec![]));
        assert_eq!((low.memory.live(), high.memory.live()), (1, 1));
    }
    for split in [Split::Low { n: 0 }, Split::High { n: 8 }] {
        let mut memory = Pool::new(0);
        let error =
            PageTable::<ArmShort>::new(Config { split, ..Config::default() }, &mut memory).unwrap_err();
        assert_eq!(error, MapError::Config(ConfigError::Split { n: split.n() }));
        assert_eq!(memory.live(), 0);
    }
}
