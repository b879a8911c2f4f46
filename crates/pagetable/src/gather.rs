//! What must be invalidated after tables changed, and the tables that wait for it.

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
    spans: [Span; GATHERED_SPANS],
    used: usize,
    granule: u64,
    tables: TableChain,
}

impl Gather {
    /// Nothing gathered yet.
    #[inline]
    pub const fn new() -> Self {
        Self { spans: [Span::ALL; GATHERED_SPANS], used: 0, granule: u64::MAX, tables: TableChain::new() }
    }

    /// Whether there is nothing to invalidate and no table to free.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The spans to invalidate, ascending and apart. Where a page was split, all of the former page is in them.
    #[inline]
    pub fn spans(&self) -> &[Span] {
        &self.spans[..self.used]
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
        self.tables.count > 0
    }

    /// The bytes that the smallest removed entry covered: stepping through the spans by this much reaches every
    /// entry that a translation cache may hold. For a page of 16 identical entries it is what one of them
    /// covers, since a cache may hold each on its own.
    #[inline]
    pub const fn granule(&self) -> u64 {
        self.granule
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

    /// Adds a span whose smallest entry covered `granule` bytes.
    #[inline]
    pub(crate) fn add(&mut self, span: Span, granule: u64) {
        self.granule = self.granule.min(granule);
        if self.used == 0 {
            self.spans[0] = span;
            self.used = 1;
        } else {
            self.add_beside(span);
        }
    }

    /// Inserts `span` in order, joined with all that it touches; makes room by joining the closest two.
    fn add_beside(&mut self, span: Span) {
        let touches = |a: Span, b: Span| {
            a.overlaps(b)
                || a.last().checked_add(1) == Some(b.first())
                || b.last().checked_add(1) == Some(a.first())
        };
        let mut joined = span;
        let mut merged = [span; GATHERED_SPANS + 1];
        let mut used = 0;
        let mut placed = false;
        for index in 0..self.used {
            let old = self.spans[index];
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
        self.spans.copy_from_slice(&merged[..GATHERED_SPANS]);
        self.used = used;
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
pub struct TableChain {
    first: PhysicalAddress,
    last: PhysicalAddress,
    count: usize,
    size: u64,
}

impl TableChain {
    /// No tables.
    #[inline]
    pub const fn new() -> Self {
        Self { first: PhysicalAddress::new(0), last: PhysicalAddress::new(0), count: 0, size: 0 }
    }

    /// How many tables.
    #[inline]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds the tables of `other`, which came from the same page table or from one of the same format and memory.
    pub fn append<W: Word>(&mut self, other: Self, memory: &mut impl TableMemory<W>) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = other;
            return;
        }
        debug_assert_eq!(self.size, other.size, "tables of two formats in one list");
        memory.write(self.last, 0, W::truncate(other.first.raw()));
        self.last = other.last;
        self.count += other.count;
    }

    /// Gives the tables back to `memory`. To be called when no translation cache can point to them any more.
    #[inline]
    pub fn free<W: Word>(self, memory: &mut impl TableMemory<W>) {
        let mut table = self.first;
        for left in (0..self.count).rev() {
            // The last table's word leads nowhere: it is not read, and need not be written.
            let next = if left == 0 { table } else { PhysicalAddress::new(memory.read(table, 0).widen()) };
            memory.free(table, self.size);
            table = next;
        }
    }

    /// Puts `table`, of `size` bytes, at the head of the list.
    #[inline]
    pub(crate) fn push<W: Word>(
        &mut self,
        table: PhysicalAddress,
        size: u64,
        memory: &mut impl TableMemory<W>,
    ) {
        if self.count == 0 {
            self.last = table;
            self.size = size;
        } else {
            memory.write(table, 0, W::truncate(self.first.raw()));
        }
        self.first = table;
        self.count += 1;
    }

    /// Takes the table at the head of the list, its first word zero again.
    #[inline]
    pub(crate) fn pop<W: Word>(&mut self, memory: &mut impl TableMemory<W>) -> Option<PhysicalAddress> {
        if self.count == 0 {
            return None;
        }
        let table = self.first;
        self.count -= 1;
        if self.count > 0 {
            self.first = PhysicalAddress::new(memory.read(table, 0).widen());
            memory.write(table, 0, W::ZERO);
        }
        Some(table)
    }
}

impl Default for TableChain {
    fn default() -> Self {
        Self::new()
    }
}
