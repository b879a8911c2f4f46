//! New tables: how many a range needs, and their allocation before anything is written.

use super::write::Run;
use super::{Range, has_pages, size};
use crate::format::{Bits, Format, Level};
use crate::{TableChain, TableError, TableMemory};
use vcm::PhysicalAddress;

/// The most levels with entries that lead to tables that a format may have: all but the last of six.
const LEVELS: usize = 5;

/// Counts the tables that runs of pages need, in ascending order of address, level by level.
///
/// It reads no table: in a range that was found free, an entry that is fully covered leads to no table yet, and of
/// the entries at the two ends the survey has reported those that do.
#[derive(Debug)]
pub(super) struct Needed {
    /// Per level: the entries at the ends that lead to a table already, as `address >> SHIFT`.
    live: [[u64; 2]; LEVELS],
    /// Per level: the first entry not yet counted.
    next: [u64; LEVELS],
    tables: usize,
}

impl Needed {
    #[inline]
    pub(super) const fn new() -> Self {
        Self { live: [[u64::MAX; 2]; LEVELS], next: [0; LEVELS], tables: 0 }
    }

    #[inline]
    pub(super) const fn tables(&self) -> usize {
        self.tables
    }

    /// The entry for `at` leads to a table. Told of in ascending order, for the two ends of the range at most.
    #[inline]
    pub(super) fn has_table<L: Level>(&mut self, at: u64) {
        let live = &mut self.live[L::DEPTH as usize];
        live[usize::from(live[0] != u64::MAX)] = at >> L::SHIFT;
    }

    /// Counts the tables that `run` needs in the tables from level `L` down.
    pub(super) fn count<L: Level>(&mut self, format: &L::Format, run: &Run<Bits<L>>) {
        if L::LAST {
            return;
        }
        let Range { at, end } = run.range();
        let (first, last) = (at >> L::SHIFT, (end - 1) >> L::SHIFT);
        let mask = size::<L>() - 1;
        if has_pages::<L>(format) && (at ^ run.physical) & mask == 0 {
            // Whole entries become pages of this level or a higher one; only ragged ends go down.
            let ragged_start = at & mask != 0;
            let ragged_end = end & mask != 0;
            if ragged_start {
                self.add::<L>(first, first);
            }
            if ragged_end && (last != first || !ragged_start) {
                self.add::<L>(last, last);
            }
        } else {
            self.add::<L>(first, last);
        }
        self.count::<L::Child>(format, run);
    }

    /// Counts the entries from `first` to `last` that lead to no table and were not counted before.
    fn add<L: Level>(&mut self, first: u64, last: u64) {
        let depth = L::DEPTH as usize;
        let first = first.max(self.next[depth]);
        if first > last {
            return;
        }
        let live = self.live[depth].iter().filter(|&&entry| first <= entry && entry <= last).count();
        self.tables += (last - first + 1) as usize - live;
        self.next[depth] = last + 1;
    }
}

/// A table of `size` bytes that the format's descriptors can point to.
pub(crate) fn allocate_table<F: Format>(
    format: &F,
    memory: &mut impl TableMemory<F::Word>,
    size: u64,
) -> Result<PhysicalAddress, TableError> {
    let table = memory.allocate(size, size)?;
    let limit = format.physical_limit();
    if table.raw() > limit || size - 1 > limit - table.raw() || !table.is_aligned(size) {
        memory.free(table, size);
        return Err(TableError::Unreachable { table, limit });
    }
    Ok(table)
}

/// `count` tables, off the tree; or none at all.
pub(super) fn allocate<F: Format>(
    format: &F,
    memory: &mut impl TableMemory<F::Word>,
    count: usize,
) -> Result<TableChain, TableError> {
    let mut tables = TableChain::new();
    for _ in 0..count {
        match allocate_table(format, memory, F::TABLE_BYTES) {
            Ok(table) => tables.push(table, F::TABLE_BYTES, memory),
            Err(error) => {
                tables.free(memory);
                return Err(error);
            }
        }
    }
    Ok(tables)
}
