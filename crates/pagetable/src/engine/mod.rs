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

mod fresh;
mod map;
mod protect;
mod survey;
mod unmap;
mod walk;
mod write;

pub(crate) use fresh::allocate_table;
pub(crate) use map::{MapRefusal, Merge, map};
pub(crate) use protect::protect;
pub(crate) use unmap::unmap;
pub(crate) use walk::{Page, find, free_below, leaves};

use crate::format::Level;

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
const fn index<L: Level>(at: u64) -> usize {
    (at >> L::SHIFT) as usize & (L::ENTRIES - 1)
}

/// The indexes, in their table, of the entries that have a byte in `range`.
#[inline]
fn indexes<L: Level>(range: Range) -> core::ops::Range<usize> {
    index::<L>(range.at)..index::<L>(range.end - 1) + 1
}
