//! One page, without a walk: what most calls are about.
//!
//! A [`PageTable`](crate::PageTable) remembers the table that it last worked in. The next page is mostly in the same
//! table, and then one entry is all that must be read. The functions here do that or nothing: whatever else there is
//! to do (another table, tables to make or to remove, something in the way) is left to the general way.
//!
//! They are small and call nothing, so that the compiler keeps all of it in registers.

use super::recent::Recent;
use super::unmap::is_used_beside;
use super::{Range, index, size};
use crate::format::{Bits, Format, Level};
use crate::{Gather, Segment, TableMemory, Word};

/// Maps one page that is an entry of the recent table. Returns `false` where it is not, or the entry is taken.
///
/// `segment` is memory that entries can point to. Neither it nor `at` need be aligned.
#[inline]
pub(crate) fn map_page<F: Format>(
    recent: &Recent<F>,
    memory: &mut impl TableMemory<F::Word>,
    at: u64,
    segment: Segment,
    bits: F::Bits,
) -> bool {
    recent.covers(at) && map_at::<F::Top>(recent, memory, at, segment, bits)
}

/// The same, in a table that covers it. Calls itself until `L` is the table's level.
#[inline(always)]
fn map_at<L: Level>(
    recent: &Recent<L::Format>,
    memory: &mut impl TableMemory<L::Word>,
    at: u64,
    segment: Segment,
    bits: Bits<L>,
) -> bool {
    if !recent.is_of::<L>() {
        return map_at::<L::Child>(recent, memory, at, segment, bits);
    }
    let (table, physical) = (recent.table::<L>(), segment.physical.raw());
    let place = index(table, at);
    if segment.len != size::<L>()
        || (at | physical) & (size::<L>() - 1) != 0
        || !L::Format::allows(table.inherited, bits)
        || memory.read(table.address, place) != L::Word::ZERO
    {
        return false;
    }
    memory.write(table.address, place, L::leaf(physical, bits).into());
    memory.publish(table.address, place..place + 1);
    true
}

/// Unmaps `range`, if that is one page that is an entry of the recent table, and the table stays because a neighbour
/// is mapped or because it is the root. Returns `false` where that is not so.
#[inline]
pub(crate) fn unmap_page<F: Format>(
    recent: &Recent<F>,
    format: &F,
    memory: &mut impl TableMemory<F::Word>,
    range: Range,
    gather: &mut Gather,
) -> bool {
    recent.covers(range.at) && unmap_at::<F::Top>(recent, format, memory, range, gather)
}

/// The same, in a table that covers it. Calls itself until `L` is the table's level.
#[inline(always)]
fn unmap_at<L: Level>(
    recent: &Recent<L::Format>,
    format: &L::Format,
    memory: &mut impl TableMemory<L::Word>,
    range: Range,
    gather: &mut Gather,
) -> bool {
    if !recent.is_of::<L>() {
        return unmap_at::<L::Child>(recent, format, memory, range, gather);
    }
    let table = recent.table::<L>();
    let place = index(table, range.at);
    let (mask, value) = L::LEAF_TEST;
    if range.end.wrapping_sub(range.at) != size::<L>()
        || !range.is_aligned(size::<L>())
        || memory.read(table.address, place) & mask != value
        || L::DEPTH != format.start() && !is_used_beside(memory, table, place..place + 1)
    {
        return false;
    }
    gather.add(range, size::<L>());
    memory.write(table.address, place, L::Word::ZERO);
    memory.publish(table.address, place..place + 1);
    true
}
