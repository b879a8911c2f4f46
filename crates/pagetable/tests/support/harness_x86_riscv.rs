//! What the tests of the VT-d, RISC-V and AMD formats share: a table with its walker, and checks of either by the
//! other.
#![allow(dead_code, unreachable_pub)] // Each test binary uses a part of it.

use super::support::Pool;
use super::support::model::{
    Model, Step, Window, canonical, destroy, fewest_pages, no_table_is_empty, words,
};
use super::support::walkers::Walked;
use proptest::prelude::*;
use vcm::{
    Access, Attributes, CachePolicy, MemoryType, PhysicalAddress, Privilege, SIZE_4K, Security, Shareability,
    Span,
};
use vcm_pagetable::{Format, Gather, MapError, PageTable, Segment, TableError, Unrepresentable};

/// Where tables are: below 4 GiB, so that every width of physical address reaches them.
const TABLES: u64 = 0x8000_0000;

/// A table, its memory, and a walker of it.
pub struct Fixture<F: Format, W> {
    pub memory: Pool<u64>,
    pub table: PageTable<F>,
    walker: W,
}

impl<F: Format<Word = u64>, W: Fn(u64, &dyn Fn(u64) -> u64, u64) -> Option<Walked>> Fixture<F, W> {
    /// `walker` is given the root, the memory and an address.
    pub fn new(config: F::Config, walker: W) -> Self {
        let mut memory = Pool::new(TABLES);
        let table = PageTable::new(config, &mut memory).unwrap();
        Self { memory, table, walker }
    }

    pub fn map(&mut self, at: u64, physical: u64, len: u64, attributes: Attributes) -> Result<(), MapError> {
        let segment = Segment { physical: PhysicalAddress::new(physical), len };
        self.table.map(&mut self.memory, at, [segment].into_iter(), attributes)
    }

    pub fn unmap(&mut self, at: u64, len: u64) -> Gather {
        let mut gather = Gather::new();
        self.table.unmap(&mut self.memory, Span::new(at, len).unwrap(), &mut gather).unwrap();
        gather
    }

    pub fn walk(&self, at: u64) -> Option<Walked> {
        (self.walker)(self.table.root().raw(), &|address| self.memory.walker_reads(address), at)
    }

    /// The sizes of all pages, in ascending order of address.
    pub fn pages(&self) -> Vec<u64> {
        let mut pages = Vec::new();
        self.table.leaves(&self.memory, Span::ALL, |leaf| pages.push(leaf.size));
        pages
    }

    /// Walks to the ends of every page of the range, and a few places between.
    pub fn assert_mapped(&self, at: u64, physical: u64, len: u64) {
        let mut offset = 0;
        while offset < len {
            let walked = self.walk(at + offset).unwrap_or_else(|| panic!("{:#x} is not mapped", at + offset));
            assert_eq!(walked.physical, physical + offset);
            let found = self.table.translate(&self.memory, at + offset).unwrap();
            assert_eq!((found.physical.raw(), found.page_size), (walked.physical, walked.page));
            let rest = walked.page - (at + offset) % walked.page;
            for within in [SIZE_4K, rest / 3, rest / 2, rest - 1].into_iter().filter(|&w| w < rest) {
                let other = self.walk(at + offset + within).unwrap();
                assert_eq!((other.physical, other.page), (walked.physical + within, walked.page));
            }
            offset += rest;
        }
    }

    /// Maps `len` bytes, and checks every page, that they are as few as can be, and that nothing is left afterwards.
    pub fn round_trip(&mut self, at: u64, physical: u64, len: u64) {
        self.map(at, physical, len, Attributes::READ_WRITE).unwrap();
        self.assert_mapped(at, physical, len);
        assert_eq!(self.pages().len(), fewest_pages(self.table.page_sizes(), at, physical, len));
        assert!(self.pages().iter().all(|&size| self.table.page_sizes().contains(size)));
        let input = self.table.input_span();
        assert!(at == 0 || self.walk(at - 1).is_none());
        assert!(at + (len - 1) == input.last() || self.walk(at + len).is_none());
        let gather = self.unmap(at, len);
        assert_eq!(gather.spans(), [Span::new(at, len).unwrap()]);
        gather.finish(&mut self.memory);
        assert_eq!(self.memory.live(), 1);
        assert_eq!(self.walk(at), None);
    }

    /// Maps the last page of each of `sizes`, to the last physical page.
    pub fn at_the_end_of_both_spaces(&mut self, sizes: &[u64]) {
        let (last, limit) = (self.table.input_span().last(), self.table.format().physical_limit());
        for &size in sizes {
            self.round_trip(last - (size - 1), limit - (size - 1), size);
            self.map(last - (size - 1), limit - (size - 1), size, Attributes::READ_WRITE).unwrap();
            let found = self.table.translate(&self.memory, last).unwrap();
            assert_eq!((found.physical.raw(), found.page_size), (limit, size));
            assert_eq!(self.table.translate(&self.memory, last + 1), None);
            self.unmap(last - (size - 1), size).finish(&mut self.memory);
        }
        let beyond = self.map(last + 1, 0, SIZE_4K, Attributes::READ_WRITE);
        assert!(matches!(beyond, Err(MapError::OutOfRange { .. })));
        let beyond = self.map(last - (SIZE_4K - 1), 0, 2 * SIZE_4K, Attributes::READ_WRITE);
        assert!(matches!(beyond, Err(MapError::OutOfRange { .. })));
        let beyond = self.map(0, limit - (SIZE_4K - 1), 2 * SIZE_4K, Attributes::READ_WRITE);
        assert!(matches!(beyond, Err(MapError::PhysicalOutOfRange { .. })));
        assert_eq!(self.memory.live(), 1);
    }

    /// Unmaps `len` bytes at `offset` of a page of `size`: the rest translates as before, in the fewest pages.
    pub fn punch(&mut self, at: u64, physical: u64, size: u64, offset: u64, len: u64) {
        self.map(at, physical, size, Attributes::READ_WRITE).unwrap();
        assert_eq!(self.pages(), [size]);
        let gather = self.unmap(at + offset, len);
        assert_eq!(gather.spans(), [Span::new(at, size).unwrap()], "the whole former page");
        gather.finish(&mut self.memory);
        let (behind, rest) = (offset + len, size - offset - len);
        self.assert_mapped(at, physical, offset);
        self.assert_mapped(at + behind, physical + behind, rest);
        let sizes = self.table.page_sizes();
        let fewest = fewest_pages(sizes, at, physical, offset)
            + fewest_pages(sizes, at + behind, physical + behind, rest);
        assert_eq!(self.pages().len(), fewest, "{size:#x} without {len:#x} at {offset:#x}");
        assert_eq!((self.walk(at + offset), self.walk(at + behind - 1)), (None, None));
        for (start, len) in [(at, offset), (at + behind, rest)] {
            if len > 0 {
                self.unmap(start, len).finish(&mut self.memory);
            }
        }
        assert_eq!(self.memory.live(), 1);
    }

    /// Maps one page of each size with each of all attributes, or sees them refused as `refusal` says. `expected` is
    /// what the tables then say. Returns how many were expressed.
    pub fn express(
        &mut self,
        refusal: impl Fn(Attributes) -> Option<Unrepresentable>,
        expected: impl Fn(Attributes) -> Attributes,
    ) -> usize {
        let mut expressed = 0;
        for attributes in all_attributes() {
            let refusal = refusal(attributes);
            expressed += usize::from(refusal.is_none());
            for size in self.table.page_sizes().descending().filter(|size| size.ilog2() < 36) {
                let (at, physical) = (2 * size, 3 * size);
                let result = self.map(at, physical, size, attributes);
                if let Some(what) = refusal {
                    assert_eq!(result, Err(MapError::Unrepresentable { attributes, what }));
                    continue;
                }
                result.unwrap();
                let walked = self.walk(at + size - 1).unwrap();
                assert_eq!((walked.physical, walked.page), (physical + size - 1, size));
                assert_eq!(words(walked), expected(attributes));
                let found = self.table.translate(&self.memory, at).unwrap();
                assert_eq!(found.attributes, expected(attributes));
                let format = self.table.format();
                let again = format.decode(format.encode(&found.attributes).unwrap());
                assert_eq!(again, found.attributes, "what was read can be written");
                self.unmap(at, size).finish(&mut self.memory);
            }
        }
        assert_eq!(self.memory.live(), 1);
        expressed
    }

    /// Maps, protects a part of and unmaps a part of `len` bytes, with each table allocation failing in turn: nothing
    /// changes then. Returns how many tables each of the three took.
    pub fn fail_at_each(&mut self, at: u64, physical: u64, len: u64, part: Span) -> [usize; 3] {
        let segment = Segment { physical: PhysicalAddress::new(physical), len };
        let read_only = Attributes::READ_WRITE.with_access(Access::READ);
        let taken = [0, 1, 2].map(|operation| {
            for budget in 0.. {
                let before = self.memory.clone();
                self.memory.budget = budget;
                let (table, memory, mut gather) = (&mut self.table, &mut self.memory, Gather::new());
                let error = match operation {
                    0 => table
                        .map(memory, at, [segment].into_iter(), Attributes::READ_WRITE)
                        .map_err(|e| e.to_string()),
                    1 => table.protect(memory, part, read_only, &mut gather).map_err(|e| e.to_string()),
                    _ => table.unmap(memory, part, &mut gather).map_err(|e| e.to_string()),
                };
                self.memory.budget = usize::MAX;
                let Err(error) = error else {
                    gather.finish(&mut self.memory);
                    return budget;
                };
                assert_eq!(error, TableError::OutOfMemory { size: 4096 }.to_string());
                assert!(self.memory.same_tables(&before), "words changed, or a table leaked, at {budget}");
                assert!(gather.is_empty() && !gather.tables_removed());
            }
            unreachable!("some budget is enough")
        });
        let before = part.first() - at;
        self.assert_mapped(at, physical, before);
        let behind = part.last() + 1;
        self.assert_mapped(behind, physical + (behind - at), at + len - behind);
        assert_eq!((self.walk(part.first()), self.walk(part.last())), (None, None));
        taken
    }

    /// Frees all tables, whatever they map.
    pub fn destroy(mut self) {
        self.table.destroy(&mut self.memory);
        assert_eq!(self.memory.live(), 0);
    }
}

/// Random steps on a table against the naive model, and then against the walker.
pub fn run<F: Format<Word = u64>>(
    config: F::Config,
    window: Window,
    steps: &[Step],
    walk: impl Fn(u64, &dyn Fn(u64) -> u64, u64) -> Option<Walked>,
) -> Result<(), TestCaseError> {
    let mut memory = Pool::new(TABLES);
    let mut table = PageTable::<F>::new(config, &mut memory).unwrap();
    let root = table.root();
    let mut model = Model::new(window);
    for step in steps {
        model.step(&mut table, &mut memory, step)?;
        no_table_is_empty(&memory, root);
    }
    model
        .check(&table, &memory, |memory, at| walk(root.raw(), &|address| memory.walker_reads(address), at))?;
    destroy(table, &mut memory);
    Ok(())
}

/// Three gigabytes that end where the input ends, in the pages that `units` (in 4K) suggest.
pub fn window(end: u64, units: &[u64], attributes: &[Attributes]) -> Window {
    const LEN: u64 = 3 << 30;
    Window { start: end - LEN, pages: LEN / SIZE_4K, units: units.to_vec(), attributes: attributes.to_vec() }
}

/// All combinations there are.
fn all_attributes() -> impl Iterator<Item = Attributes> {
    let policies = [
        CachePolicy::NotCached,
        CachePolicy::WriteThrough,
        CachePolicy::WriteBackNoWriteAllocate,
        CachePolicy::WriteBackWriteAllocate,
    ];
    let types =
        policies.map(MemoryType::Normal).into_iter().chain([MemoryType::Device, MemoryType::StronglyOrdered]);
    types.flat_map(|memory_type| {
        (0..8 * 2 * 2 * 3_u8).map(move |number| Attributes {
            access: Access::from_bits_truncate(number & 7),
            privilege: if number & 8 == 0 { Privilege::User } else { Privilege::Supervisor },
            security: if number / 16 % 2 == 0 { Security::NonSecure } else { Security::Secure },
            memory_type,
            shareability: [Shareability::NonShareable, Shareability::Inner, Shareability::Outer]
                [usize::from(number / 32)],
        })
    })
}

/// What tables say of device and strongly ordered memory where there is one type for both.
pub fn one_device_type(attributes: Attributes) -> Attributes {
    match attributes.memory_type {
        MemoryType::StronglyOrdered => canonical(attributes.with_memory_type(MemoryType::Device)),
        _ => canonical(attributes),
    }
}
