//! The radix engine: walks, written once for all formats.
//!
//! Every function here is generic over a [`Level`] and calls itself for the level below, so that the compiler sees
//! the whole walk of a format with constant shifts and table sizes.
//!
//! Two invariants carry it:
//! - **No empty table is linked.** Unmapping unlinks a table with its last page. So an entry that is not zero holds
//!   a page, here or below, and "is anything mapped here?" need not look into the tables of fully covered entries.
//! - **Validate, allocate, then write.** The first pass over a range only reads. Then all tables that the second pass
//!   will need are allocated, off the tree. The second pass cannot fail.
//!
//! Both passes start at the *anchor*: the lowest table that has the whole range in it. The way to it is walked once.
//!
//! Most calls need none of that: they are about one page, or a run of them, in a table that is there and
//! stays. For them there are two shorter ways, each of which does all that was asked or nothing: [`map_page`]
//! and [`unmap_page`] for one entry, without a walk, and [`map_run`] and [`unmap_run`] for entries of one
//! table. A third invariant carries these:
//! - **The recent table is linked.** It is forgotten before anything that may unlink a table.

mod fresh;
mod map;
mod page;
mod protect;
mod recent;
mod run;
mod survey;
mod unmap;
mod walk;
mod write;

pub(crate) use fresh::allocate_table;
pub(crate) use map::{MapRefusal, Merge, map};
pub(crate) use page::{map_page, unmap_page};
pub(crate) use protect::protect;
pub(crate) use recent::{Recent, seek};
pub(crate) use run::{Unmapped, map_run, unmap_run};
pub(crate) use unmap::{prune, unmap};
pub(crate) use walk::{Page, find, free_below, leaves};
pub(crate) use write::Run;

use crate::format::{Format, Level, Table};

/// Device addresses from `at` up to and without `end`. No format's input reaches the end of the 64-bit space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    pub(crate) at: u64,
    pub(crate) end: u64,
}

impl Range {
    /// The part that is also in `other`; they must overlap.
    #[inline]
    fn clamp(self, other: Self) -> Self {
        Self { at: self.at.max(other.at), end: self.end.min(other.end) }
    }

    /// Whether it is a part of one entry of level `L`, but not all of it.
    #[inline]
    fn is_part_of_entry<L: Level>(self) -> bool {
        // Its length, and what distinguishes its first byte from its last, are both below the entry's size. One
        // test, since every walk makes it at every level.
        ((self.end - self.at) | (self.at ^ (self.end - 1))) >> L::SHIFT == 0
    }

    /// Whether both ends are multiples of `size`, a power of two.
    #[inline]
    fn is_aligned(self, size: u64) -> bool {
        (self.at | self.end) & (size - 1) == 0
    }

    /// Whether all of `other` is in it.
    #[inline]
    fn covers(self, other: Self) -> bool {
        self.at <= other.at && other.end <= self.end
    }
}

/// The addresses that the entry for `at` covers.
#[inline]
fn slot<L: Level>(at: u64) -> Range {
    let at = at & !(size::<L>() - 1);
    Range { at, end: at + size::<L>() }
}

/// The bytes that an entry covers.
#[inline]
const fn size<L: Level>() -> u64 {
    1 << L::SHIFT
}

/// The index, in its table, of the entry for `at`.
#[inline]
fn index<L: Level>(table: Table<L>, at: u64) -> usize {
    (at >> L::SHIFT) as usize & (L::entries(table.inherited) - 1)
}

/// The indexes, in their table, of the entries that have a byte in `range`.
#[inline]
fn indexes<L: Level>(table: Table<L>, range: Range) -> core::ops::Range<usize> {
    index(table, range.at)..index(table, range.end - 1) + 1
}

/// The pages of level `L` that a table of `format` has: bit n for pages of 2^n entries. Where a single entry is no
/// page, a group is none either.
#[inline]
fn leaves_of<L: Level>(format: &L::Format) -> u32 {
    let pages = (format.page_sizes().mask() >> L::SHIFT) as u32 & (L::GROUPS | 1);
    if L::LEAF && pages & 1 == 1 { pages } else { 0 }
}

/// Whether an entry of level `L` may be a page in a table of `format`.
#[inline]
fn has_pages<L: Level>(format: &L::Format) -> bool {
    L::LEAF && (L::LAST || format.page_sizes().mask() >> L::SHIFT & 1 == 1)
}
