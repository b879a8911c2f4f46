//! The naive model: one entry per smallest page of a window.

use super::Pool;
use super::walkers::Walked;
use proptest::prelude::*;
use vcm::{Attributes, MemoryType, PageSizes, PhysicalAddress, Shareability, Span};
use vcm_pagetable::{Format, Gather, MapError, PageTable, ProtectError, Segment, TableMemory, UnmapError};

/// One step of a random run. Addresses are in the format's smallest pages from the window's start.
#[derive(Clone, Debug)]
pub enum Step {
    /// Map segments of (physical page, pages).
    Map {
        at: u64,
        segments: Vec<(u64, u64)>,
        attributes: usize,
    },
    Unmap {
        at: u64,
        pages: u64,
    },
    Protect {
        at: u64,
        pages: u64,
        attributes: usize,
    },
}

/// A window of device addresses under test, with the attributes to choose from.
#[derive(Clone, Debug)]
pub struct Window {
    pub start: u64,
    pub pages: u64,
    /// The sizes that addresses and lengths are multiples of, in pages.
    pub units: Vec<u64>,
    pub attributes: Vec<Attributes>,
}

impl Window {
    /// Random steps within (and now and then beyond) the window.
    pub fn steps(&self, count: usize) -> impl Strategy<Value = Vec<Step>> + use<> {
        let units = prop::sample::select(self.units.clone());
        let pages = self.pages;
        // A place or length in some unit, sometimes a page off.
        let amount = (units, any::<u32>(), prop_oneof![4 => Just(0), 1 => Just(1), 1 => Just(-1)]).prop_map(
            move |(unit, random, off)| {
                let whole = u64::from(random) % (pages / unit + 1) * unit;
                whole.saturating_add_signed(off)
            },
        );
        let short = (amount.clone(), 1_u64..=40).prop_map(move |(amount, odd)| {
            // Most ranges are small beside the window, or nothing would ever be free.
            if amount > pages / 3 { odd } else { amount.max(1) }
        });
        let attributes = 0..self.attributes.len();
        let segment = (amount.clone(), short.clone());
        prop::collection::vec(
            prop_oneof![
                3 => (amount.clone(), prop::collection::vec(segment, 1..4), attributes.clone(), any::<bool>())
                    .prop_map(|(at, mut segments, attributes, congruent)| {
                        if congruent {
                            // So that large pages arise: the physical address as aligned as the device's.
                            segments[0].0 = at;
                        }
                        Step::Map { at, segments, attributes }
                    }),
                3 => (amount.clone(), short.clone()).prop_map(|(at, pages)| Step::Unmap { at, pages }),
                1 => (amount, short, attributes)
                    .prop_map(|(at, pages, attributes)| Step::Protect { at, pages, attributes }),
            ],
            1..count,
        )
    }
}

/// What the tables must say: physical page and attributes by page.
#[derive(Clone)]
pub struct Model {
    pub window: Window,
    pub pages: Vec<Option<(u64, usize)>>,
}

pub const PAGE: u64 = 4096;
/// Where the physical memory of all tests starts, in the format's smallest pages.
pub const MEMORY: u64 = 0x4000_0000 / PAGE;

impl Model {
    pub fn new(window: Window) -> Self {
        let pages = vec![None; window.pages as usize];
        Self { window, pages }
    }

    fn slice(&self, at: u64, pages: u64) -> &[Option<(u64, usize)>] {
        let end = (at + pages).min(self.window.pages) as usize;
        &self.pages[(at as usize).min(end)..end]
    }

    /// Runs one step on both sides and compares what they answer. `mixed` says which attributes may not share a
    /// table: those of the two worlds.
    pub fn step<F: Format>(
        &mut self,
        table: &mut PageTable<F>,
        memory: &mut Pool<F::Word>,
        step: &Step,
    ) -> Result<(), TestCaseError> {
        let unit = F::PAGE_SIZES.smallest();
        let start = self.window.start;
        let live = memory.live();
        match step {
            Step::Map { at, segments, attributes } => {
                let pages: u64 = segments.iter().map(|segment| segment.1).sum();
                let inside = at + pages <= self.window.pages;
                let free = self.slice(*at, pages).iter().all(Option::is_none);
                let before = memory.clone();
                let result = table.map(
                    memory,
                    start + at * unit,
                    segments.iter().map(|&(physical, pages)| Segment {
                        physical: PhysicalAddress::new((MEMORY + physical) * unit),
                        len: pages * unit,
                    }),
                    self.window.attributes[*attributes],
                );
                if !inside && matches!(result, Err(MapError::OutOfRange { .. })) {
                    prop_assert!(memory.same_tables(&before));
                    return Ok(());
                }
                prop_assume!(inside);
                match result {
                    Ok(()) => prop_assert!(free, "an occupied range was mapped over"),
                    Err(MapError::Occupied { at: blamed, by }) => {
                        prop_assert!(!free, "a free range was called occupied");
                        let first = self.slice(*at, pages).iter().position(Option::is_some).unwrap() as u64;
                        prop_assert_eq!(blamed, start + (at + first) * unit);
                        prop_assert!(by.at <= blamed && blamed < by.at + by.size);
                        prop_assert!(memory.same_tables(&before));
                        return Ok(());
                    }
                    Err(error) => return Err(TestCaseError::fail(format!("{error}"))),
                }
                let mut page = *at as usize;
                for &(physical, pages) in segments {
                    for offset in 0..pages {
                        self.pages[page] = Some((MEMORY + physical + offset, *attributes));
                        page += 1;
                    }
                }
            }
            Step::Unmap { at, pages } => {
                let Some(span) = self.span(*at, *pages, unit) else { return Ok(()) };
                let hole = self.slice(*at, *pages).iter().position(Option::is_none);
                let before = memory.clone();
                let mut gather = Gather::new();
                let result = table.unmap(memory, span, &mut gather);
                match (result, hole) {
                    (Ok(()), None) => {}
                    (Err(UnmapError::NotMapped { at: blamed }), Some(hole)) => {
                        prop_assert_eq!(blamed, span.first() + hole as u64 * unit);
                        prop_assert!(gather.is_empty());
                        prop_assert!(memory.same_tables(&before));
                        return Ok(());
                    }
                    (result, hole) => {
                        return Err(TestCaseError::fail(format!("{result:?} with the hole {hole:?}")));
                    }
                }
                prop_assert!(memory.live() >= live, "a table was freed before the invalidation");
                Self::check_gather(&gather, span, unit)?;
                gather.finish(memory);
                self.pages[*at as usize..(at + pages) as usize].fill(None);
            }
            Step::Protect { at, pages, attributes } => {
                let Some(span) = self.span(*at, *pages, unit) else { return Ok(()) };
                let hole = self.slice(*at, *pages).iter().position(Option::is_none);
                let before = memory.clone();
                let mut gather = Gather::new();
                let wanted = self.window.attributes[*attributes];
                let result = table.protect(memory, span, wanted, &mut gather);
                match (result, hole) {
                    (Ok(()), None) => {}
                    (Err(ProtectError::Span(UnmapError::NotMapped { at: blamed })), Some(hole)) => {
                        prop_assert_eq!(blamed, span.first() + hole as u64 * unit);
                        prop_assert!(gather.is_empty());
                        prop_assert!(memory.same_tables(&before));
                        return Ok(());
                    }
                    (result, hole) => {
                        return Err(TestCaseError::fail(format!("{result:?} with the hole {hole:?}")));
                    }
                }
                Self::check_gather(&gather, span, unit)?;
                prop_assert!(!gather.tables_removed());
                gather.finish(memory);
                for page in &mut self.pages[*at as usize..(at + pages) as usize] {
                    *page = page.map(|(physical, _)| (physical, *attributes));
                }
            }
        }
        Ok(())
    }

    fn span(&self, at: u64, pages: u64, unit: u64) -> Option<Span> {
        (pages > 0 && at + pages <= self.window.pages)
            .then(|| Span::new(self.window.start + at * unit, pages * unit).unwrap())
    }

    fn check_gather(gather: &Gather, span: Span, unit: u64) -> Result<(), TestCaseError> {
        prop_assert!(gather.covering().is_some_and(|covering| covering.covers(span)));
        prop_assert!(gather.spans().len() == 1, "one call is one span");
        prop_assert!(gather.granule() >= unit);
        Ok(())
    }

    /// Compares every page of the window with `translate` and with an independent walk, and all pages with `leaves`.
    pub fn check<F: Format>(
        &self,
        table: &PageTable<F>,
        memory: &Pool<F::Word>,
        walk: impl Fn(&Pool<F::Word>, u64) -> Option<Walked>,
    ) -> Result<(), TestCaseError> {
        let unit = F::PAGE_SIZES.smallest();
        let mut next = 0;
        let mut seen = vec![None; self.pages.len()];
        table.leaves(memory, Span::ALL, |leaf| {
            assert!(leaf.at >= next, "pages out of order");
            next = leaf.at + leaf.size;
            assert!(table.page_sizes().contains(leaf.size));
            for offset in (0..leaf.size).step_by(unit as usize) {
                let page = ((leaf.at + offset - self.window.start) / unit) as usize;
                seen[page] = Some(((leaf.physical.raw() + offset) / unit, leaf.attributes));
            }
        });
        for (index, page) in self.pages.iter().enumerate() {
            let expected = page.map(|(physical, attributes)| (physical, self.canonical(attributes)));
            prop_assert_eq!(seen[index], expected, "page {}", index);
            let at = self.window.start + index as u64 * unit;
            let walked = walk(memory, at);
            prop_assert_eq!(walked.map(|walked| (walked.physical / unit, words(walked))), expected);
            let translation = table.translate(memory, at + 0x123);
            prop_assert_eq!(translation.map(|t| t.physical.raw()), expected.map(|(p, _)| p * unit + 0x123));
            prop_assert_eq!(translation.map(|t| t.attributes), expected.map(|(_, attributes)| attributes));
            prop_assert_eq!(translation.map(|t| t.page_size), walked.map(|walked| walked.page));
        }
        Ok(())
    }

    fn canonical(&self, attributes: usize) -> Attributes {
        canonical(self.window.attributes[attributes])
    }
}

/// Runs `steps` on a new table, and compares at the end. `walk` is an independent walker.
pub fn run<F: Format>(
    format: F,
    window: Window,
    steps: &[Step],
    walk: impl Fn(&PageTable<F>, &Pool<F::Word>, u64) -> Option<Walked>,
) -> Result<(), TestCaseError> {
    let mut memory = Pool::new(0x1000_0000);
    let mut table = PageTable::of_format(format, &mut memory).unwrap();
    let mut model = Model::new(window);
    for step in steps {
        model.step(&mut table, &mut memory, step)?;
        no_table_is_empty(&memory, table.root());
    }
    model.check(&table, &memory, |memory, at| walk(&table, memory, at))?;
    destroy(table, &mut memory);
    Ok(())
}

/// What the tables keep of attributes: shareability says nothing of device and strongly-ordered memory.
pub fn canonical(attributes: Attributes) -> Attributes {
    match attributes.memory_type {
        MemoryType::Normal(_) => attributes,
        _ => attributes.with_shareability(Shareability::Outer),
    }
}

/// A walk's findings as attributes.
pub fn words(walked: Walked) -> Attributes {
    Attributes {
        access: walked.access,
        privilege: walked.privilege,
        security: walked.security,
        memory_type: walked.memory,
        shareability: walked.share,
    }
}

/// The tables that the entries of a root lead to are all that is allocated: nothing is leaked, none is empty.
pub fn no_table_is_empty<W: vcm_pagetable::Word>(memory: &Pool<W>, root: PhysicalAddress) {
    for (address, words) in memory.visible() {
        assert!(
            address == root.raw() || words.iter().any(|&word| word != W::ZERO),
            "the table at {address:#x} is empty and still allocated"
        );
    }
}

/// The fewest pages that `len` bytes at `at` -> `physical` can be mapped with.
pub fn fewest_pages(sizes: PageSizes, mut at: u64, mut physical: u64, mut len: u64) -> usize {
    let mut pages = 0;
    while len > 0 {
        let size = sizes.largest_at(at, physical, u128::from(len)).expect("aligned to the smallest page");
        (at, physical, len) = (at + size, physical + size, len - size);
        pages += 1;
    }
    pages
}

/// Everything the model needs from a memory is there.
pub fn destroy<F: Format>(table: PageTable<F>, memory: &mut Pool<F::Word>) {
    table.destroy(memory);
    assert_eq!(memory.live(), 0, "tables were leaked: {:x?}", memory.addresses());
    let _ = TableMemory::<F::Word>::allocate(memory, PAGE, PAGE);
}
