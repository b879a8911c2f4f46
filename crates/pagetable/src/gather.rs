//! What must be invalidated after tables changed, and the tables that wait for it.

use crate::engine::Range;
use crate::{TableMemory, Word};
use vcm::{PhysicalAddress, Span};

/// The number of separate spans that a [`Gather`] keeps apart.
pub const GATHERED_SPANS: usize = 4;

/// What unmapping left to do: addresses to invalidate, and tables to free once that is done.
///
/// One `Gather` may collect from any number of calls on *one* page table. It does not grow: beyond
/// [`GATHERED_SPANS`] spans it joins the two that are closest, so that it may name too much, never too little.
///
/// # Protocol
/// 1. Pass it to [`unmap`](crate::PageTable::unmap) or [`protect`](crate::PageTable::protect), as often as wanted.
/// 2. Invalidate [`spans`](Self::spans) (or all that belongs to the context) in the translation caches. When
///    [`tables_removed`](Self::tables_removed), an invalidation of last-level entries only is not enough: the
///    caches of table pointers must go as well. Wait until it has completed.
/// 3. Call [`finish`](Self::finish): only now do the removed tables go back to their memory.
///
/// Where step 2 fails, [`into_tables`](Self::into_tables) keeps the removed tables for later. A `Gather` that is
/// dropped leaks them: memory is lost, but no walker ever reads a table that was given to another use.
#[derive(Debug)]
#[must_use = "translation caches may still hold what was unmapped, and dropping this leaks the removed tables"]
pub struct Gather {
    pages: Pages,
    tables: TableChain,
}

/// Spans, ascending and apart, and the smallest granule. One span is the rule: then the room for more is not written,
/// since a page is unmapped in the time of a dozen stores.
#[derive(Debug)]
enum Pages {
    None,
    One { span: Span, granule: u64 },
    Several { spans: [Span; GATHERED_SPANS], used: usize, granule: u64 },
}

impl Gather {
    /// Nothing gathered yet.
    #[inline]
    pub const fn new() -> Self {
        Self { pages: Pages::None, tables: TableChain::new() }
    }

    /// Whether there is nothing to invalidate and no table to free.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        matches!(self.pages, Pages::None)
    }

    /// The spans to invalidate, ascending and apart. Where a page was split, all of the former page is in them.
    #[inline]
    pub fn spans(&self) -> &[Span] {
        match &self.pages {
            Pages::None => &[],
            Pages::One { span, .. } => core::slice::from_ref(span),
            Pages::Several { spans, used, .. } => &spans[..*used],
        }
    }

    /// One span over all of them.
    pub fn covering(&self) -> Option<Span> {
        let spans = self.spans();
        Span::inclusive(spans.first()?.first(), spans.last()?.last())
    }

    /// Whether entries that lead to tables were removed, so that caches of table pointers must be invalidated as
    /// well. The pages of a removed table are still written in it: only that invalidation makes them unreachable.
    #[inline]
    pub const fn tables_removed(&self) -> bool {
        !self.tables.is_empty()
    }

    /// The bytes that the smallest removed entry covered: stepping through the spans by this much reaches every
    /// entry that a translation cache may hold. For a page that is a group of entries it is what one of them
    /// covers, since a cache may hold each on its own.
    #[inline]
    pub const fn granule(&self) -> u64 {
        match self.pages {
            Pages::None => u64::MAX,
            Pages::One { granule, .. } | Pages::Several { granule, .. } => granule,
        }
    }

    /// The addresses to invalidate one by one, for hardware without ranges: every `size` bytes of the spans,
    /// where `size` (a power of two) is the page that one invalidation covers; at least [`granule`](Self::granule).
    pub fn pages(&self, size: u64) -> impl Iterator<Item = u64> + '_ {
        debug_assert!(size.is_power_of_two());
        let size = size.max(1);
        self.spans().iter().flat_map(move |span| {
            let mut next = Some(span.first() & !(size - 1));
            let last = span.last();
            core::iter::from_fn(move || {
                let page = next.filter(|&page| page <= last)?;
                next = page.checked_add(size);
                Some(page)
            })
        })
    }

    /// Gives the removed tables back to `memory`. To be called when the invalidation has completed, and not before.
    #[inline]
    pub fn finish<W: Word>(self, memory: &mut impl TableMemory<W>) {
        self.tables.free(memory);
    }

    /// The removed tables, to be kept until a later invalidation. Nothing else is remembered: whoever keeps them
    /// must invalidate everything before freeing them.
    pub fn into_tables(self) -> TableChain {
        self.tables
    }

    /// Adds a range, which is not empty, whose smallest entry covered `granule` bytes.
    #[inline]
    pub(crate) fn add(&mut self, range: Range, granule: u64) {
        let Some(span) = Span::inclusive(range.at, range.end - 1) else {
            return;
        };
        match self.pages {
            Pages::None => self.pages = Pages::One { span, granule },
            Pages::One { .. } | Pages::Several { .. } => self.add_beside(span, granule),
        }
    }

    /// Inserts `span` in order, joined with all that it touches; makes room by joining the closest two.
    #[inline(never)]
    fn add_beside(&mut self, span: Span, granule: u64) {
        let granule = granule.min(self.granule());
        let touches = |a: Span, b: Span| {
            a.overlaps(b)
                || a.last().checked_add(1) == Some(b.first())
                || b.last().checked_add(1) == Some(a.first())
        };
        let mut joined = span;
        let mut merged = [span; GATHERED_SPANS + 1];
        let mut used = 0;
        let mut placed = false;
        for &old in self.spans() {
            if touches(old, joined) {
                joined = cover(old, joined);
                continue;
            }
            if !placed && joined.last() < old.first() {
                merged[used] = joined;
                used += 1;
                placed = true;
            }
            merged[used] = old;
            used += 1;
        }
        if !placed {
            merged[used] = joined;
            used += 1;
        }
        if used > GATHERED_SPANS {
            let gap = |index: usize| merged[index + 1].first() - merged[index].last();
            let mut closest = 0;
            for index in 1..used - 1 {
                if gap(index) < gap(closest) {
                    closest = index;
                }
            }
            merged[closest] = cover(merged[closest], merged[closest + 1]);
            merged.copy_within(closest + 2..used, closest + 1);
            used -= 1;
        }
        self.pages = match merged {
            [span, ..] if used == 1 => Pages::One { span, granule },
            [spans @ .., _] => Pages::Several { spans, used, granule },
        };
    }

    /// The list of removed tables, to add to.
    #[inline]
    pub(crate) const fn tables_mut(&mut self) -> &mut TableChain {
        &mut self.tables
    }
}

impl Default for Gather {
    fn default() -> Self {
        Self::new()
    }
}

fn cover(a: Span, b: Span) -> Span {
    let (first, last) = (a.first().min(b.first()), a.last().max(b.last()));
    Span::inclusive(first, last).unwrap_or(a)
}

/// Tables that no entry leads to, but that a translation cache may still point to: those that unmapping removed.
///
/// The list lives in the tables themselves: the first word of each holds the address of the next. Tables are so
/// aligned that the low bits of the address are zero, so a walker that still gets there finds an entry that
/// translates nothing. Dropping the list leaks its tables.
#[derive(Debug)]
#[must_use = "dropping this leaks the tables"]
pub struct TableChain(Option<Links>);

#[derive(Clone, Copy, Debug)]
struct Links {
    first: PhysicalAddress,
    last: PhysicalAddress,
    count: usize,
    /// The size of each, in bytes.
    size: u64,
}

impl TableChain {
    /// No tables.
    #[inline]
    pub const fn new() -> Self {
        Self(None)
    }

    /// How many tables.
    #[inline]
    pub const fn len(&self) -> usize {
        match self.0 {
            Some(links) => links.count,
            None => 0,
        }
    }

    /// Whether there are none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds the tables of `other`, which came from the same page table or from one of the same format and memory.
    pub fn append<W: Word>(&mut self, other: Self, memory: &mut impl TableMemory<W>) {
        let Some(more) = other.0 else {
            return;
        };
        let Some(links) = &mut self.0 else {
            self.0 = Some(more);
            return;
        };
        debug_assert_eq!(links.size, more.size, "tables of two formats in one list");
        memory.write(links.last, 0, W::truncate(more.first.raw()));
        links.last = more.last;
        links.count += more.count;
    }

    /// Gives the tables back to `memory`. To be called when no translation cache can point to them any more.
    #[inline]
    pub fn free<W: Word>(self, memory: &mut impl TableMemory<W>) {
        if let Some(links) = self.0 {
            links.free(memory);
        }
    }

    /// Puts `table`, of `size` bytes, at the head of the list.
    pub(crate) fn push<W: Word>(
        &mut self,
        table: PhysicalAddress,
        size: u64,
        memory: &mut impl TableMemory<W>,
    ) {
        let links = match self.0 {
            None => Links { first: table, last: table, count: 1, size },
            Some(links) => {
                memory.write(table, 0, W::truncate(links.first.raw()));
                Links { first: table, count: links.count + 1, ..links }
            }
        };
        self.0 = Some(links);
    }

    /// Takes the table at the head of the list, its first word zero again.
    pub(crate) fn pop<W: Word>(&mut self, memory: &mut impl TableMemory<W>) -> Option<PhysicalAddress> {
        let links = self.0?;
        let table = links.first;
        self.0 = (links.count > 1).then(|| {
            let next = PhysicalAddress::new(memory.read(table, 0).widen());
            memory.write(table, 0, W::ZERO);
            Links { first: next, count: links.count - 1, ..links }
        });
        Some(table)
    }
}

impl Links {
    #[inline(never)]
    fn free<W: Word>(self, memory: &mut impl TableMemory<W>) {
        let mut table = self.first;
        for left in (0..self.count).rev() {
            // The last table's word leads nowhere: it is not read, and need not be written.
            let next = if left == 0 { table } else { PhysicalAddress::new(memory.read(table, 0).widen()) };
            memory.free(table, self.size);
            table = next;
        }
    }
}

impl Default for TableChain {
    fn default() -> Self {
        Self::new()
    }
}
