//! Short-descriptor tables by hand.

use super::Pool;
use super::walkers::{ShortRegisters, Walked, short};
use vcm::{Attributes, PhysicalAddress, SIZE_1M, SIZE_4K, SIZE_16M, SIZE_64K, Shareability, Span};
use vcm_pagetable::arm_short::{ArmShort, Config, Split};
use vcm_pagetable::{Gather, MapError, PageTable, Segment, UnmapError};

/// The attributes of most tests.
pub const INNER: Attributes = Attributes::READ_WRITE.with_shareability(Shareability::Inner);

/// A short-descriptor table, and the memory that it lives in.
pub struct Fixture {
    pub memory: Pool<u32>,
    pub table: PageTable<ArmShort>,
    pub config: Config,
}

impl Fixture {
    pub fn new(config: Config) -> Self {
        let mut memory = Pool::new(0x8000_0000);
        let table = PageTable::new(config, &mut memory).unwrap();
        Self { memory, table, config }
    }

    pub fn map(&mut self, at: u64, physical: u64, len: u64) -> Result<(), MapError> {
        self.map_as(at, physical, len, INNER)
    }

    pub fn map_as(
        &mut self,
        at: u64,
        physical: u64,
        len: u64,
        attributes: Attributes,
    ) -> Result<(), MapError> {
        let segment = Segment { physical: PhysicalAddress::new(physical), len };
        self.table.map(&mut self.memory, at, [segment].into_iter(), attributes)
    }

    pub fn unmap(&mut self, at: u64, len: u64) -> Result<Gather, UnmapError> {
        let mut gather = Gather::new();
        let span = Span::new(at, len).unwrap();
        self.table.unmap(&mut self.memory, span, &mut gather).map(|()| gather)
    }

    pub fn walk(&self, at: u64) -> Option<Walked> {
        let registers = ShortRegisters {
            ttbr: self.table.root().raw(),
            ttbcr_n: u32::from(self.config.split.n()),
            upper: matches!(self.config.split, Split::High { .. }),
            prrr: self.config.remap.prrr,
            nmrr: self.config.remap.nmrr,
        };
        short(registers, |address| self.memory.walker_reads(address), at as u32)
    }

    /// All pages as (address, size).
    pub fn pages(&self) -> Vec<(u64, u64)> {
        let mut pages = Vec::new();
        self.table.leaves(&self.memory, Span::ALL, |leaf| pages.push((leaf.at, leaf.size)));
        pages
    }

    /// How many pages of 4K, 64K, 1M and 16M there are.
    pub fn census(&self) -> [usize; 4] {
        let pages = self.pages();
        [SIZE_4K, SIZE_64K, SIZE_1M, SIZE_16M].map(|size| pages.iter().filter(|page| page.1 == size).count())
    }

    /// That `len` bytes at `at` lead, byte for byte, to `physical`.
    pub fn assert_mapped(&self, at: u64, physical: u64, len: u64) {
        for offset in (0..len).step_by(SIZE_4K as usize) {
            let walked = self.walk(at + offset).unwrap_or_else(|| panic!("{:#x} is not mapped", at + offset));
            assert_eq!(walked.physical, physical + offset);
            let last = self.table.translate(&self.memory, at + offset + 0xfff).unwrap();
            assert_eq!(last.physical.raw(), physical + offset + 0xfff);
        }
    }
}
