//! Every operation with its n-th table allocation failing: nothing changes, nothing leaks.

mod support;

use support::Pool;
use vcm::{
    Access, Attributes, PhysicalAddress, SIZE_1G, SIZE_1M, SIZE_2M, SIZE_4K, SIZE_16M, Security,
    Shareability, Span,
};
use vcm_pagetable::aarch64::{Granule16K, Stage1, Stage1Config, Stage2, Stage2Config};
use vcm_pagetable::arm_short::{ArmShort, Config};
use vcm_pagetable::{Format, Gather, MapError, PageTable, ProtectError, Segment, TableError, UnmapError};

/// What an operation answered, as far as it matters here.
#[derive(PartialEq, Eq, Debug)]
enum Outcome {
    Done,
    NoTable,
    Other(String),
}

impl From<Result<(), MapError>> for Outcome {
    fn from(result: Result<(), MapError>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(MapError::Table(TableError::OutOfMemory { .. })) => Self::NoTable,
            Err(error) => Self::Other(error.to_string()),
        }
    }
}

impl From<Result<(), UnmapError>> for Outcome {
    fn from(result: Result<(), UnmapError>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(UnmapError::Table(TableError::OutOfMemory { .. })) => Self::NoTable,
            Err(error) => Self::Other(error.to_string()),
        }
    }
}

impl From<Result<(), ProtectError>> for Outcome {
    fn from(result: Result<(), ProtectError>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(ProtectError::Span(UnmapError::Table(TableError::OutOfMemory { .. }))) => Self::NoTable,
            Err(error) => Self::Other(error.to_string()),
        }
    }
}

type Operation<F> = fn(&mut PageTable<F>, &mut Pool<<F as Format>::Word>, &mut Gather) -> Outcome;

/// Runs `operation` with room for 0, 1, 2 ... tables until it succeeds, and returns how many it took.
fn fail_at_each<F: Format>(
    table: &mut PageTable<F>,
    memory: &mut Pool<F::Word>,
    operation: Operation<F>,
) -> usize {
    for budget in 0.. {
        let before = memory.clone();
        memory.budget = budget;
        let mut gather = Gather::new();
        let outcome = operation(table, memory, &mut gather);
        memory.budget = usize::MAX;
        match outcome {
            Outcome::Done => {
                gather.finish(memory);
                return budget;
            }
            Outcome::NoTable => {
                assert!(
                    memory.same_tables(&before),
                    "words changed, or a table leaked, at allocation {budget}"
                );
                assert!(gather.is_empty() && !gather.tables_removed());
            }
            Outcome::Other(error) => panic!("{error}"),
        }
    }
    unreachable!("some budget is enough")
}

fn segments(list: &[(u64, u64)]) -> impl Iterator<Item = Segment> + Clone + '_ {
    list.iter().map(|&(physical, len)| Segment { physical: PhysicalAddress::new(physical), len })
}

const INNER: Attributes = Attributes::READ_WRITE.with_shareability(Shareability::Inner);

#[test]
fn short_descriptors() {
    let mut memory = Pool::new(0x1000_0000);
    memory.budget = 0;
    let refused = PageTable::<ArmShort>::new(Config::default(), &mut memory);
    assert!(matches!(refused, Err(MapError::Table(TableError::OutOfMemory { size: 0x4000 }))));
    memory.budget = 1;
    let mut table = PageTable::<ArmShort>::new(Config::default(), &mut memory).unwrap();

    // A ragged head, sections, a ragged tail; then small pages that cross into the head's table.
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, _| {
        let list = [(0x4008_0000, SIZE_1M), (0x5000_0000, SIZE_1M), (0x6000_1000, 3 * SIZE_1M)];
        table.map(memory, 0x18_0000, segments(&list), INNER).into()
    });
    assert_eq!((tables, memory.live()), (6, 7));
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, _| {
        table.map(memory, 0xf_f000, segments(&[(0x7000_0000, 2 * SIZE_4K)]), INNER).into()
    });
    assert_eq!(tables, 1, "the table above is there already");
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, _| {
        table.map(memory, 0x200_0000, segments(&[(0x4000_0000, 2 * SIZE_16M)]), INNER).into()
    });
    assert_eq!(tables, 0);
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, gather| {
        let span = Span::inclusive(0x211_1000, 0x3ff_efff).unwrap();
        table.protect(memory, span, INNER.with_access(Access::READ), gather).into()
    });
    assert_eq!(tables, 2, "each end cuts a supersection");
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, gather| {
        table.unmap(memory, Span::inclusive(0x201_1000, 0x201_1fff).unwrap(), gather).into()
    });
    assert_eq!(tables, 1);
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, gather| {
        table.unmap(memory, Span::inclusive(0x212_0000, 0x3ff_7fff).unwrap(), gather).into()
    });
    assert_eq!(tables, 0, "the tables at both ends are there already");
    table.destroy(&mut memory);
    assert_eq!(memory.live(), 0);
}

#[test]
fn aarch64() {
    let mut memory = Pool::new(0x1000_0000);
    let config = Stage1Config { input_bits: 48, output_bits: 48, world: Security::NonSecure };
    let mut table = PageTable::<Stage1>::new(config, &mut memory).unwrap();
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, _| {
        table.map(memory, 0x1000, segments(&[(0x4000_0000, SIZE_4K)]), INNER).into()
    });
    assert_eq!(tables, 3);
    // From one 512 GiB entry into the next, by way of every level.
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, _| {
        let at = (512 << 30) - SIZE_1G - SIZE_4K;
        table.map(memory, at, segments(&[(at, 2 * SIZE_1G + SIZE_2M + 2 * SIZE_4K)]), INNER).into()
    });
    // Below: a level 2 and 3 for the head. Beyond: a level 1, then level 2 and 3 for the tail.
    assert_eq!(tables, 5);
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, gather| {
        table.unmap(memory, Span::new((512 << 30) - SIZE_4K, 2 * SIZE_4K).unwrap(), gather).into()
    });
    assert_eq!(tables, 4, "a level 2 and 3 for either block");
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, gather| {
        let span = Span::new((512 << 30) - SIZE_1G + SIZE_2M + SIZE_4K, SIZE_4K).unwrap();
        table.protect(memory, span, INNER.with_access(Access::READ), gather).into()
    });
    assert_eq!(tables, 1, "one block of 2 MiB is cut by both ends");
    table.destroy(&mut memory);
    assert_eq!(memory.live(), 0);
}

/// Contiguous pages that are cut, and a root of eight tables.
#[test]
fn aarch64_with_contiguous_pages_and_a_long_root() {
    const SIZE_16K: u64 = 16 << 10;
    const SIZE_32M: u64 = 32 << 20;
    let config = Stage2Config { input_bits: 39, output_bits: 44 };
    let format = Stage2::<Granule16K>::new(config).unwrap().with_root_level(2).unwrap();
    let mut memory = Pool::new(0x1000_0000);
    memory.budget = 0;
    let refused = PageTable::of_format(format, &mut memory);
    assert!(matches!(refused, Err(MapError::Table(TableError::OutOfMemory { size: 0x2_0000 }))));
    memory.budget = 1;
    let mut table = PageTable::of_format(format, &mut memory).unwrap();

    // Across the end of the root's first table (2^36): a contiguous GiB of blocks on either side, and ragged ends.
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, _| {
        let at = (64 << 30) - SIZE_1G - SIZE_16K;
        table.map(memory, at, segments(&[(at, 2 * SIZE_1G + 2 * SIZE_16K)]), INNER).into()
    });
    assert_eq!(tables, 2, "one for each ragged end");
    let mut sizes = Vec::new();
    table.leaves(&memory, Span::ALL, |leaf| sizes.push(leaf.size));
    assert_eq!(sizes, [SIZE_16K, SIZE_1G, SIZE_1G, SIZE_16K]);
    // Both groups are cut, each within a block.
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, gather| {
        let span = Span::new((64 << 30) - SIZE_32M - SIZE_16K, 2 * SIZE_32M + 2 * SIZE_16K).unwrap();
        table.protect(memory, span, INNER.with_access(Access::READ), gather).into()
    });
    assert_eq!(tables, 2);
    // A group is cut between its blocks: no table is needed.
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, _| {
        table.map(memory, 96 << 30, segments(&[(96 << 30, SIZE_1G)]), INNER).into()
    });
    assert_eq!(tables, 0);
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, gather| {
        table.unmap(memory, Span::new(96 << 30, SIZE_32M).unwrap(), gather).into()
    });
    assert_eq!(tables, 0);
    // Of a cut block a contiguous 2 MiB of pages is cut in its turn: its table is there.
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, gather| {
        let at = (96 << 30) + SIZE_32M + SIZE_16K;
        table.unmap(memory, Span::new(at, SIZE_16K).unwrap(), gather).into()
    });
    assert_eq!(tables, 1);
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, gather| {
        let at = (96 << 30) + SIZE_32M + SIZE_2M + SIZE_16K;
        table.unmap(memory, Span::new(at, SIZE_16K).unwrap(), gather).into()
    });
    assert_eq!(tables, 0);
    table.destroy(&mut memory);
    assert_eq!(memory.live(), 0);
}

/// Scattered segments share tables: each is counted once, and only once.
#[test]
fn segments_that_share_a_table_share_its_allocation() {
    let mut memory = Pool::new(0x1000_0000);
    let mut table = PageTable::<ArmShort>::new(Config::default(), &mut memory).unwrap();
    let tables = fail_at_each(&mut table, &mut memory, |table, memory, _| {
        let scattered = (0..600).map(|page| Segment {
            physical: PhysicalAddress::new(0x4000_0000 + page * 2 * SIZE_4K),
            len: SIZE_4K,
        });
        table.map(memory, 0x18_0000, scattered, INNER).into()
    });
    assert_eq!(tables, 3, "600 pages from the middle of a megabyte on");
    table.destroy(&mut memory);
    assert_eq!(memory.live(), 0);
}
