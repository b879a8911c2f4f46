//! Whole pages in one table that is there already: nothing to split, nothing to make.
//!
//! As in [`page`](super::page), a function does all of it or nothing.

use super::map::is_free;
use super::recent::Recent;
use super::unmap::{clear, is_empty};
use super::write::{Run, write_leaves};
use super::{Range, index, indexes, size};
use crate::format::{Entry, Format, Level, Table};
use crate::{Gather, TableMemory};

/// Maps `run`, if it is some free entries of the recent table. Returns `false` where that is not so.
#[inline]
pub(crate) fn map_run<F: Format>(
    recent: &Recent<F>,
    format: &F,
    memory: &mut impl TableMemory<F::Word>,
    run: Run<F::Bits>,
) -> bool {
    recent.holds(run.range()) && map_at::<F::Top>(recent, format, memory, run)
}

/// The same, in a table that covers it. Calls itself until `L` is the table's level.
#[inline(always)]
fn map_at<L: Level>(
    recent: &Recent<L::Format>,
    format: &L::Format,
    memory: &mut impl TableMemory<L::Word>,
    run: Run<<L::Format as Format>::Bits>,
) -> bool {
    if !recent.is_of::<L>() {
        return map_at::<L::Child>(recent, format, memory, run);
    }
    let table = recent.table::<L>();
    if (run.at | run.physical | run.len) & (size::<L>() - 1) != 0
        || !L::Format::allows(table.inherited, run.bits)
        || !is_free(memory, table, run.range())
    {
        return false;
    }
    let (first, count) = (index(table, run.at), (run.len >> L::SHIFT) as usize);
    write_leaves(memory, format, table, first, count, run.physical, run.bits);
    memory.publish(table.address, first..first + count);
    true
}

/// What became of a range that was to be unmapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unmapped {
    /// It is as it was.
    No,
    /// It is unmapped, and its table is the root or has pages left.
    Yes,
    /// It is unmapped, and its table, which is not the root, is empty now.
    Last,
}

/// Unmaps `range`, if it is whole pages that are entries of the recent table. (Not if it is all of the table: that
/// goes quicker with the entry that leads to it.)
#[inline]
pub(crate) fn unmap_run<F: Format>(
    recent: &Recent<F>,
    format: &F,
    memory: &mut impl TableMemory<F::Word>,
    range: Range,
    gather: &mut Gather,
) -> Unmapped {
    if recent.holds(range) { unmap_at::<F::Top>(recent, format, memory, range, gather) } else { Unmapped::No }
}

/// The same, in a table that covers it. Calls itself until `L` is the table's level.
#[inline(always)]
fn unmap_at<L: Level>(
    recent: &Recent<L::Format>,
    format: &L::Format,
    memory: &mut impl TableMemory<L::Word>,
    range: Range,
    gather: &mut Gather,
) -> Unmapped {
    if !recent.is_of::<L>() {
        return unmap_at::<L::Child>(recent, format, memory, range, gather);
    }
    let table = recent.table::<L>();
    if !are_pages(memory, table, range) {
        return Unmapped::No;
    }
    gather.add(range, size::<L>());
    let words = indexes(table, range);
    clear(memory, table, words.clone());
    if L::DEPTH != format.start() && is_empty(memory, table, words) { Unmapped::Last } else { Unmapped::Yes }
}

/// Whether the range consists of whole pages that are entries of their own, or of whole groups of one size.
#[inline]
fn are_pages<L: Level>(memory: &impl TableMemory<L::Word>, table: Table<L>, range: Range) -> bool {
    let first = memory.read(table.address, index(table, range.at));
    let is = |(mask, value): (L::Word, L::Word)| first & mask == value;
    // Each test with its own constants, which the compiler then sees.
    let all =
        |(mask, value)| memory.first_unlike(table.address, indexes(table, range), mask, value).is_none();
    if is(L::LEAF_TEST) {
        range.is_aligned(size::<L>()) && (range.end - range.at == size::<L>() || all(L::LEAF_TEST))
    } else if L::GROUPS == 0 {
        false
    } else if L::GROUPS.is_power_of_two() {
        let log2 = L::GROUPS.trailing_zeros();
        is(L::group_test(log2)) && range.is_aligned(size::<L>() << log2) && all(L::group_test(log2))
    } else if let Entry::Leaf { size: leaf, .. } = L::entry(first.into()) {
        range.is_aligned(size::<L>() << leaf.log2()) && all(L::group_test(leaf.log2()))
    } else {
        false
    }
}
