//! What unmapping hands over: spans to invalidate, and tables that are not freed before.

mod support;

use support::Pool;
use vcm::{Attributes, PhysicalAddress, SIZE_1M, SIZE_4K, SIZE_16M, SIZE_64K, Shareability, Span};
use vcm_pagetable::arm_short::{ArmShort, Config};
use vcm_pagetable::{GATHERED_SPANS, Gather, PageTable, Segment, TableChain};

const INNER: Attributes = Attributes::READ_WRITE.with_shareability(Shareability::Inner);

fn mapped(len: u64) -> (Pool<u32>, PageTable<ArmShort>) {
    let mut memory = Pool::new(0x1000_0000);
    let mut table = PageTable::new(Config::default(), &mut memory).unwrap();
    // One page off: no large page fits.
    let segment = Segment { physical: PhysicalAddress::new(0x4000_1000), len };
    table.map(&mut memory, 0, [segment].into_iter(), INNER).unwrap();
    (memory, table)
}

fn span(first: u64, len: u64) -> Span {
    Span::new(first, len).unwrap()
}

#[test]
fn tables_are_freed_when_the_gather_is_finished_and_not_before() {
    let (mut memory, mut table) = mapped(4 * SIZE_1M);
    let live = memory.live();
    let mut gather = Gather::new();
    table.unmap(&mut memory, span(0, 2 * SIZE_1M), &mut gather).unwrap();
    assert!(gather.tables_removed());
    assert_eq!(memory.live(), live);
    // New tables do not come from those that wait: a walker may still be in them.
    let waiting = memory.addresses();
    let segment = Segment { physical: PhysicalAddress::new(0x5000_0000), len: SIZE_4K };
    table.map(&mut memory, 0, [segment].into_iter(), INNER).unwrap();
    let new: Vec<u64> = memory.addresses().into_iter().filter(|table| !waiting.contains(table)).collect();
    assert_eq!(new.len(), 1);
    gather.finish(&mut memory);
    assert_eq!(memory.live(), live - 2 + 1);
    table.destroy(&mut memory);
    assert_eq!(memory.live(), 0);
}

/// A walker that still has the pointer to a removed table finds what was there before, or nothing; never an entry
/// that was not written as one.
#[test]
fn a_removed_table_holds_no_new_entries() {
    let (mut memory, mut table) = mapped(16 * SIZE_1M);
    let before: Vec<(u64, Vec<u32>)> = memory.visible().map(|(at, words)| (at, words.to_vec())).collect();
    let mut gather = Gather::new();
    table.unmap(&mut memory, span(0, 16 * SIZE_1M), &mut gather).unwrap();
    for (at, old) in before {
        for (index, old) in old.into_iter().enumerate() {
            let now = vcm_pagetable::TableMemory::read(&memory, PhysicalAddress::new(at), index);
            assert!(now == old || now & 0b11 == 0, "{now:#x} in the removed table at {at:#x}");
        }
    }
    gather.finish(&mut memory);
    assert_eq!(memory.live(), 1);
}

#[test]
fn a_dropped_gather_leaks_and_does_not_free() {
    let (mut memory, mut table) = mapped(SIZE_1M);
    let live = memory.live();
    let mut gather = Gather::new();
    table.unmap(&mut memory, span(0, SIZE_1M), &mut gather).unwrap();
    drop(gather);
    assert_eq!(memory.live(), live);
    table.destroy(&mut memory);
    assert_eq!(memory.live(), live - 1, "the table that the dropped gather held");
}

#[test]
fn quarantine_keeps_tables_of_many_gathers() {
    let (mut memory, mut table) = mapped(8 * SIZE_1M);
    let live = memory.live();
    let mut quarantine = TableChain::new();
    for part in 0..4 {
        let mut gather = Gather::new();
        table.unmap(&mut memory, span(part * 2 * SIZE_1M, 2 * SIZE_1M), &mut gather).unwrap();
        quarantine.append(gather.into_tables(), &mut memory);
    }
    quarantine.append(TableChain::new(), &mut memory);
    assert_eq!((quarantine.len(), memory.live()), (8, live));
    quarantine.free(&mut memory);
    assert_eq!(memory.live(), 1);
}

#[test]
fn one_gather_collects_from_many_calls() {
    let (mut memory, mut table) = mapped(SIZE_16M);
    let mut gather = Gather::new();
    assert!(gather.is_empty());
    assert_eq!((gather.spans(), gather.covering(), gather.pages(SIZE_4K).next()), (&[][..], None, None));
    // Neighbours join, in whatever order they come.
    for page in [3, 5, 4, 2] {
        table.unmap(&mut memory, span(page * SIZE_4K, SIZE_4K), &mut gather).unwrap();
    }
    assert_eq!(gather.spans(), [span(2 * SIZE_4K, 4 * SIZE_4K)]);
    assert_eq!(gather.pages(SIZE_4K).collect::<Vec<_>>(), [0x2000, 0x3000, 0x4000, 0x5000]);
    assert_eq!(gather.pages(SIZE_64K).collect::<Vec<_>>(), [0]);
    // Beyond the room for spans, the two that are closest become one.
    let pages = [100, 300, 1000, 302];
    for page in pages {
        table.unmap(&mut memory, span(page * SIZE_4K, SIZE_4K), &mut gather).unwrap();
    }
    assert_eq!(
        gather.spans(),
        [
            span(2 * SIZE_4K, 4 * SIZE_4K),
            span(100 * SIZE_4K, SIZE_4K),
            span(300 * SIZE_4K, 3 * SIZE_4K),
            span(1000 * SIZE_4K, SIZE_4K),
        ]
    );
    assert_eq!(gather.covering(), Some(span(2 * SIZE_4K, 999 * SIZE_4K)));
    assert_eq!(gather.granule(), SIZE_4K);
    gather.finish(&mut memory);
}

/// Whatever is unmapped, in whatever order: all of it is in the spans, which are few, apart and ascending.
#[test]
fn the_spans_cover_all_that_was_unmapped() {
    let mut state = 1_u32;
    for _ in 0..200 {
        let (mut memory, mut table) = mapped(SIZE_1M);
        let mut gather = Gather::new();
        let mut gone = Vec::new();
        for _ in 0..20 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = u64::from(state >> 24) * SIZE_4K;
            if table.unmap(&mut memory, span(at, SIZE_4K), &mut gather).is_ok() {
                gone.push(at);
            }
            let spans = gather.spans();
            assert!(spans.len() <= GATHERED_SPANS);
            assert!(spans.windows(2).all(|pair| pair[0].last() + 1 < pair[1].first()), "{spans:?}");
            for &at in &gone {
                assert_eq!(spans.iter().filter(|span| span.contains(at)).count(), 1);
            }
        }
        gather.finish(&mut memory);
    }
}

/// Stepping through the spans by the granule must reach the smallest entry of all calls, not of the last.
#[test]
fn the_granule_is_that_of_the_smallest_entry_of_all_calls() {
    for order in [[0, 1], [1, 0]] {
        let (mut memory, mut table) = mapped(SIZE_64K);
        let segment = Segment { physical: PhysicalAddress::new(0x6000_0000), len: SIZE_1M };
        table.map(&mut memory, SIZE_1M, [segment].into_iter(), INNER).unwrap();
        let parts = [span(SIZE_4K, SIZE_4K), span(SIZE_1M, SIZE_1M)];
        let mut gather = Gather::new();
        for part in order {
            table.unmap(&mut memory, parts[part], &mut gather).unwrap();
        }
        assert_eq!((gather.granule(), gather.spans()), (SIZE_4K, &parts[..]));
        gather.finish(&mut memory);
    }
}
