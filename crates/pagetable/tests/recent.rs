//! Pages close to each other, one by one: a page table remembers the table it last worked in, and must not use what it
//! remembers for anything but the page that is there. (The table memory of the tests does not let a freed table be
//! touched.)

mod support;

use std::collections::BTreeMap;
use support::Pool;
use support::model::no_table_is_empty;
use vcm::{Attributes, PhysicalAddress, SIZE_1M, SIZE_2M, SIZE_4K, Security, Shareability, Span};
use vcm_pagetable::aarch64::{Stage1, Stage1Config};
use vcm_pagetable::arm_short::{ArmShort, Config};
use vcm_pagetable::{Format, Gather, MapError, PageTable, Segment, UnmapError};

const INNER: Attributes = Attributes::READ_WRITE.with_shareability(Shareability::Inner);
const BASE: u64 = 0x4000_0000;
const STAGE1: Stage1Config = Stage1Config { input_bits: 48, output_bits: 48, world: Security::NonSecure };

struct Fixture<F: Format> {
    memory: Pool<F::Word>,
    table: PageTable<F>,
}

impl<F: Format> Fixture<F> {
    fn new(config: F::Config) -> Self {
        let mut memory = Pool::new(0x1000_0000);
        let table = PageTable::new(config, &mut memory).unwrap();
        Self { memory, table }
    }

    fn map(&mut self, at: u64, physical: u64, len: u64) -> Result<(), MapError> {
        let segment = Segment { physical: PhysicalAddress::new(physical), len };
        self.table.map(&mut self.memory, at, [segment].into_iter(), INNER)
    }

    fn unmap(&mut self, at: u64, len: u64) -> Result<(), UnmapError> {
        let mut gather = Gather::new();
        let result = self.table.unmap(&mut self.memory, Span::new(at, len).unwrap(), &mut gather);
        assert_eq!(result.is_err(), gather.is_empty());
        gather.finish(&mut self.memory);
        result
    }

    fn physical(&self, at: u64) -> Option<u64> {
        self.table.translate(&self.memory, at).map(|found| found.physical.raw())
    }

    fn destroy(mut self) {
        self.table.destroy(&mut self.memory);
        assert_eq!(self.memory.live(), 0);
    }
}

/// `block` is what a table of pages covers.
fn tables_come_and_go<F: Format>(config: F::Config, block: u64) {
    let mut fixture = Fixture::<F>::new(config);
    let second = BASE + SIZE_4K;
    let map_two = |fixture: &mut Fixture<F>| {
        fixture.map(BASE, 0x8000_3000, SIZE_4K).unwrap();
        fixture.map(second, 0x8000_1000, SIZE_4K).unwrap();
    };
    // The table goes with its last page, with its last two, and with all that a block covers.
    map_two(&mut fixture);
    fixture.unmap(BASE, SIZE_4K).unwrap();
    fixture.unmap(second, SIZE_4K).unwrap();
    assert!(matches!(fixture.unmap(second, SIZE_4K), Err(UnmapError::NotMapped { .. })));
    map_two(&mut fixture);
    fixture.unmap(BASE, 2 * SIZE_4K).unwrap();
    assert!(matches!(fixture.unmap(BASE, SIZE_4K), Err(UnmapError::NotMapped { .. })));
    fixture.map(BASE, 0x8000_1000, block).unwrap();
    fixture.unmap(second, SIZE_4K).unwrap();
    fixture.map(second, 0x8000_2000, SIZE_4K).unwrap();
    fixture.unmap(BASE, block).unwrap();
    assert!(matches!(fixture.unmap(second, SIZE_4K), Err(UnmapError::NotMapped { .. })));
    // A block beside the table, a table in the place of the block, and the other way round.
    fixture.map(BASE + block, 0x8000_0000, block).unwrap();
    fixture.map(BASE, 0x8000_0000, block).unwrap();
    fixture.unmap(BASE, block).unwrap();
    map_two(&mut fixture);
    assert!(matches!(fixture.map(BASE, 0x8000_0000, block), Err(MapError::Occupied { .. })));
    assert!(matches!(fixture.map(second, 0x8000_0000, SIZE_4K), Err(MapError::Occupied { .. })));
    fixture.unmap(BASE, 2 * SIZE_4K).unwrap();
    fixture.map(BASE, 0x9000_0000, block).unwrap();
    // A page of the block: what is left of it is in a new table.
    fixture.unmap(second, SIZE_4K).unwrap();
    assert_eq!((fixture.physical(BASE), fixture.physical(second)), (Some(0x9000_0000), None));
    fixture.map(second, 0x8000_0000, SIZE_4K).unwrap();
    assert_eq!(fixture.physical(second), Some(0x8000_0000));
    no_table_is_empty(&fixture.memory, fixture.table.root());
    fixture.destroy();
}

#[test]
fn a_table_that_went_is_not_worked_in_again() {
    tables_come_and_go::<ArmShort>(Config::default(), SIZE_1M);
    tables_come_and_go::<Stage1>(STAGE1, SIZE_2M);
    tables_come_and_go::<Stage1>(Stage1Config { input_bits: 39, ..STAGE1 }, SIZE_2M);
}

#[test]
fn what_is_wrong_with_a_page_is_said_beside_a_mapped_one_too() {
    let mut fixture = Fixture::<ArmShort>::new(Config::default());
    // The second makes their table the recent one.
    for page in [0, 2, 3] {
        fixture.map(BASE + page * SIZE_4K, 0x8000_0000 + page * SIZE_4K, SIZE_4K).unwrap();
    }
    let at = BASE + SIZE_4K;
    assert!(matches!(fixture.map(at + 1, 0x8000_1000, SIZE_4K), Err(MapError::Misaligned { .. })));
    assert!(matches!(fixture.map(at, 0x8000_1001, SIZE_4K), Err(MapError::Misaligned { .. })));
    assert!(matches!(fixture.map(at, 0x8000_1000, 0), Err(MapError::Empty { .. })));
    assert!(matches!(fixture.map(at, 1 << 32, SIZE_4K), Err(MapError::PhysicalOutOfRange { .. })));
    assert!(matches!(fixture.map(at | 1 << 32, 0x8000_1000, SIZE_4K), Err(MapError::OutOfRange { .. })));
    assert!(matches!(fixture.unmap(BASE + 2 * SIZE_4K + 1, SIZE_4K), Err(UnmapError::Misaligned { .. })));
    assert!(matches!(fixture.unmap(BASE | 1 << 32, SIZE_4K), Err(UnmapError::OutOfRange { .. })));
    let secure = INNER.with_security(Security::Secure);
    let segment = Segment { physical: PhysicalAddress::new(0x8000_1000), len: SIZE_4K };
    let result = fixture.table.map(&mut fixture.memory, at, [segment].into_iter(), secure);
    assert!(matches!(result, Err(MapError::MixedSecurity { .. })));
    assert_eq!((fixture.physical(BASE), fixture.physical(at)), (Some(0x8000_0000), None));
    fixture.destroy();
}

/// Numbers without a pattern (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Pages and short runs around a place that wanders over four tables, against a list of what is mapped.
fn churn<F: Format>(config: F::Config, seed: u64) {
    const PAGES: u64 = 4 * 512;
    let mut fixture = Fixture::<F>::new(config);
    let mut mapped = BTreeMap::new();
    let mut random = Random(seed);
    let mut place = 0;
    for _ in 0..20_000 {
        if random.below(30) == 0 {
            place = random.below(PAGES);
        }
        let page = (place + random.below(24)) % PAGES;
        let pages = if random.below(4) == 0 { random.below(40) + 1 } else { 1 };
        let (at, len) = (BASE + page * SIZE_4K, pages * SIZE_4K);
        let range = page..page + pages;
        let count = mapped.range(range.clone()).count() as u64;
        if random.below(2) == 0 {
            let physical = 0x8000_0000 + random.below(1 << 12) * SIZE_4K;
            let result = fixture.map(at, physical, len);
            assert_eq!(result.is_ok(), count == 0, "{result:?}");
            if result.is_ok() {
                mapped.extend(range.clone().map(|each| (each, physical + (each - page) * SIZE_4K)));
            }
        } else {
            let result = fixture.unmap(at, len);
            assert_eq!(result.is_ok(), count == pages, "{result:?}");
            if result.is_ok() {
                mapped.retain(|each, _| !range.contains(each));
            }
        }
        for each in range.start.saturating_sub(1)..range.end + 1 {
            assert_eq!(fixture.physical(BASE + each * SIZE_4K), mapped.get(&each).copied());
        }
    }
    no_table_is_empty(&fixture.memory, fixture.table.root());
    fixture.destroy();
}

#[test]
fn pages_come_and_go_around_a_place_that_wanders() {
    churn::<ArmShort>(Config::default(), 1);
    churn::<Stage1>(STAGE1, 2);
    churn::<Stage1>(Stage1Config { input_bits: 39, ..STAGE1 }, 3);
}
