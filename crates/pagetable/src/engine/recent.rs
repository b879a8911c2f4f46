//! The table that was last worked in, where the next call most likely finds its pages too.

use super::{Range, has_pages, index, size};
use crate::TableMemory;
use crate::format::{Entry, Format, Level, Table};
use vcm::PhysicalAddress;

/// The table that was last worked in.
///
/// It must be forgotten before tables are unlinked. Tables that are made below it do no harm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recent<F: Format> {
    /// The first address that the table translates.
    first: u64,
    /// The bytes that it translates; none if no table is remembered.
    len: u64,
    depth: u32,
    address: PhysicalAddress,
    inherited: F::Inherited,
}

impl<F: Format> Recent<F> {
    /// No table.
    pub(crate) fn none() -> Self {
        let inherited = F::Inherited::default();
        Self { first: 0, len: 0, depth: 0, address: PhysicalAddress::new(0), inherited }
    }

    /// Whether the table translates `at`.
    #[inline]
    pub(super) fn covers(&self, at: u64) -> bool {
        at.wrapping_sub(self.first) < self.len
    }

    /// Whether no table that translates `at` is lower.
    #[inline]
    pub(crate) fn is_lowest(&self, at: u64) -> bool {
        self.covers(at) && self.depth == last_depth::<F::Top>()
    }

    /// Whether the table translates all of `range`, and more.
    #[inline]
    pub(super) fn holds(&self, range: Range) -> bool {
        self.covers(range.at) && range.end - self.first <= self.len && range.end - range.at < self.len
    }

    /// The table, of level `L`.
    #[inline]
    pub(super) fn table<L: Level<Format = F>>(&self) -> Table<L> {
        Table::new(self.address, self.inherited)
    }

    /// Whether the table, which is remembered and not of a higher level, is of level `L`.
    #[inline]
    pub(super) fn is_of<L: Level<Format = F>>(&self) -> bool {
        // The last level need not be asked for, and a table without pages is never remembered.
        L::LEAF && (L::LAST || self.depth == L::DEPTH)
    }
}

/// The depth of the last level below `L`.
const fn last_depth<L: Level>() -> u32 {
    if L::LAST { L::DEPTH } else { last_depth::<L::Child>() }
}

/// Remembers the lowest table on the way to `at`, which is an address that `table` translates; none if it is of a
/// level that has no pages in this table.
pub(crate) fn seek<L: Level>(
    table: Table<L>,
    format: &L::Format,
    memory: &impl TableMemory<L::Word>,
    at: u64,
    recent: &mut Recent<L::Format>,
) {
    if !L::LAST
        && let Entry::Table(child) = L::entry(memory.read(table.address, index(table, at)).into())
    {
        return seek(child, format, memory, at, recent);
    }
    if !has_pages::<L>(format) {
        *recent = Recent::none();
        return;
    }
    (recent.first, recent.len) = if L::DEPTH == format.start() {
        // The root may be used in part.
        let input = format.input();
        (input.first(), input.last() - input.first() + 1)
    } else {
        let covered = L::ENTRIES as u64 * size::<L>();
        (at & !(covered - 1), covered)
    };
    (recent.depth, recent.address, recent.inherited) = (L::DEPTH, table.address, table.inherited);
}
