//! Walks that only read, and the walk that frees everything.

use super::{Range, index, size, slot};
use crate::TableMemory;
use crate::format::{Bits, Entry, Format, GroupEntries, LeafSize, Level, Table};

/// A page, as found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<B> {
    pub(crate) at: u64,
    pub(crate) physical: u64,
    pub(crate) size: u64,
    pub(crate) bits: B,
}

impl<B> Page<B> {
    pub(super) fn range(&self) -> Range {
        Range { at: self.at, end: self.at + self.size }
    }
}

/// The page that the entry for `at` is, or is one of a group of.
#[inline]
pub(super) fn page<L: Level>(
    table: Table<L>,
    descriptor: L::Descriptor,
    at: u64,
    physical: u64,
    leaf: LeafSize,
) -> Page<Bits<L>> {
    let size = size::<L>() << leaf.log2();
    // Of successive entries each says where its own memory is, and a group starts at a multiple of its size.
    let physical = match L::GROUP_ENTRIES {
        GroupEntries::Identical => physical,
        GroupEntries::Successive => physical & !(size - 1),
    };
    Page { at: at & !(size - 1), physical, size, bits: L::bits(descriptor, table.inherited) }
}

/// Where an address leads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<B> {
    /// Of the address itself.
    pub(crate) physical: u64,
    /// Of its page.
    pub(crate) size: u64,
    pub(crate) bits: B,
}

/// Where `at` leads.
#[inline]
pub(crate) fn find<L: Level>(
    table: Table<L>,
    memory: &impl TableMemory<L::Word>,
    at: u64,
) -> Option<Found<Bits<L>>> {
    let descriptor = L::Descriptor::from(memory.read(table.address, index(table, at)));
    match L::entry(descriptor) {
        Entry::Free => None,
        Entry::Leaf { physical, size: leaf } => {
            let page = size::<L>() << leaf.log2();
            // How much memory starts where the entry says.
            let said = match L::GROUP_ENTRIES {
                GroupEntries::Identical => page,
                GroupEntries::Successive => size::<L>(),
            };
            let bits = L::bits(descriptor, table.inherited);
            Some(Found { physical: physical + (at & (said - 1)), size: page, bits })
        }
        Entry::Table(child) => find(child, memory, at),
    }
}

/// Every page with a byte in `range`.
pub(crate) fn leaves<L: Level>(
    table: Table<L>,
    memory: &impl TableMemory<L::Word>,
    range: Range,
    visit: &mut impl FnMut(Page<Bits<L>>),
) {
    let mut at = range.at;
    while at < range.end {
        let descriptor = L::Descriptor::from(memory.read(table.address, index(table, at)));
        let slot = slot::<L>(at);
        at = slot.end;
        match L::entry(descriptor) {
            Entry::Free => {}
            Entry::Leaf { physical, size } => {
                let page = page(table, descriptor, slot.at, physical, size);
                at = page.range().end;
                visit(page);
            }
            Entry::Table(child) => leaves(child, memory, range.clamp(slot), visit),
        }
    }
}

/// Frees all tables that the first `words` entries of `table` lead to.
pub(crate) fn free_below<L: Level>(table: Table<L>, memory: &mut impl TableMemory<L::Word>, words: usize) {
    if L::LAST {
        return;
    }
    let mut next = 0;
    while let Some(index) = next_table(memory, table, next..words) {
        if let Entry::Table(child) = L::entry(memory.read(table.address, index).into()) {
            free_below(child, memory, L::Child::ENTRIES);
            memory.free(child.address, L::Format::TABLE_BYTES);
        }
        next = index + 1;
    }
}

/// The first of `words` that leads to a table, skipping pages in bulk.
pub(super) fn next_table<L: Level>(
    memory: &impl TableMemory<L::Word>,
    table: Table<L>,
    words: core::ops::Range<usize>,
) -> Option<usize> {
    let (mask, value) = L::LEAF_TEST;
    let mut next = words.start;
    while next < words.end {
        if L::LEAF {
            next = memory.first_unlike(table.address, next..words.end, mask, value)?;
        }
        match L::entry(memory.read(table.address, next).into()) {
            Entry::Table(_) => return Some(next),
            Entry::Free => next += 1,
            // The next that is not of the same group.
            Entry::Leaf { size, .. } => next = (next | ((1 << size.log2()) - 1)) + 1,
        }
    }
    None
}
