//! The writing pass: runs of pages into tables, in one walk. It cannot fail.

use super::{Range, has_pages, index, leaves_of, size, slot};
use crate::format::{Bits, Entry, GroupEntries, Level, Table};
use crate::{TableChain, TableMemory, Word};

/// Pages to write: `len` bytes, contiguous in both spaces, with one set of attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<B> {
    pub(crate) at: u64,
    pub(crate) physical: u64,
    pub(crate) len: u64,
    pub(crate) bits: B,
}

impl<B> Run<B> {
    #[inline]
    pub(super) fn range(&self) -> Range {
        Range { at: self.at, end: self.at + self.len }
    }
}

/// Runs in ascending order, eaten up from the front.
pub(super) struct Stream<B, I> {
    current: Option<Run<B>>,
    rest: I,
}

impl<B: Copy, I: Iterator<Item = Run<B>>> Stream<B, I> {
    #[inline]
    pub(super) fn new(mut runs: I) -> Self {
        Self { current: runs.next(), rest: runs }
    }

    /// The front, as far as it starts before `end`, and no more of it than reaches `end`.
    #[inline]
    fn before(&self, end: u64) -> Option<Run<B>> {
        let run = self.current.filter(|run| run.at < end)?;
        Some(Run { len: run.len.min(end - run.at), ..run })
    }

    /// Drops `len` bytes off the front run.
    #[inline]
    fn eat(&mut self, len: u64) {
        if let Some(run) = &mut self.current {
            run.at += len;
            run.physical = run.physical.wrapping_add(len);
            run.len -= len;
            if run.len == 0 {
                self.current = self.rest.next();
            }
        }
    }
}

/// Writes the runs that start before `end` into `table`, which covers addresses up to `end` at least. An entry that
/// does not lead to a table is overwritten: it is free, or a page that the runs replace by its parts.
pub(super) fn write<L: Level, I: Iterator<Item = Run<Bits<L>>>>(
    memory: &mut impl TableMemory<L::Word>,
    format: &L::Format,
    table: Table<L>,
    stream: &mut Stream<Bits<L>, I>,
    end: u64,
    fresh: &mut TableChain,
) {
    let Some(Run { at: start, .. }) = stream.before(end) else {
        return;
    };
    let mut reached = start;
    while let Some(run) = stream.before(end) {
        let ragged = (run.at | run.physical) & (size::<L>() - 1) != 0 || run.len < size::<L>();
        if L::LAST || (!ragged && has_pages::<L>(format)) {
            let count = (run.len >> L::SHIFT) as usize;
            let first = index(table, run.at);
            write_leaves::<L>(memory, format, table, first, count, run.physical, run.bits);
            stream.eat((count as u64) << L::SHIFT);
            reached = run.at + ((count as u64) << L::SHIFT);
        } else {
            let place = index(table, run.at);
            let slot_end = slot::<L>(run.at).end.min(end);
            match L::entry(memory.read(table.address, place).into()) {
                Entry::Table(child) => write(memory, format, child, stream, slot_end, fresh),
                Entry::Free | Entry::Leaf { .. } => {
                    let Some(address) = fresh.pop(memory) else {
                        // Only when the caller's iterator yielded something else than before.
                        debug_assert!(false, "more tables are needed than were counted");
                        return;
                    };
                    let descriptor = L::table(address, run.bits);
                    if let Entry::Table(child) = L::entry(descriptor) {
                        write(memory, format, child, stream, slot_end, fresh);
                    }
                    memory.write(table.address, place, descriptor.into());
                }
            }
            reached = slot_end;
        }
    }
    memory.publish(table.address, index(table, start)..index(table, reached - 1) + 1);
}

/// Writes `count` entries from `first` on, in the largest groups that both addresses and the count allow.
#[inline]
pub(super) fn write_leaves<L: Level>(
    memory: &mut impl TableMemory<L::Word>,
    format: &L::Format,
    table: Table<L>,
    first: usize,
    count: usize,
    physical: u64,
    bits: Bits<L>,
) {
    if count == 1 {
        memory.write(table.address, first, L::leaf(physical, bits).into());
        return;
    }
    if L::GROUPS.count_ones() > 1 {
        return write_groups(memory, format, table, first, count, physical, bits);
    }
    // One size of group, or none: its number of entries is constant.
    let (log2, entries) = (L::GROUPS.trailing_zeros(), L::GROUPS as usize);
    // How many entries before the next group: the same for both addresses, or there is no group.
    let misfit = (physical >> L::SHIFT) as usize ^ first;
    let before = first.wrapping_neg() & entries.wrapping_sub(1);
    if entries == 0
        || misfit & (entries - 1) != 0
        || count < before + entries
        || leaves_of::<L>(format) & L::GROUPS == 0
    {
        return write_singles(memory, table, first, count, physical, bits);
    }
    if before > 0 {
        write_singles(memory, table, first, before, physical, bits);
    }
    let grouped = (count - before) & !(entries - 1);
    let after = |entries: usize| physical + ((entries as u64) << L::SHIFT);
    write_equal_groups(memory, table, first + before, grouped, after(before), bits, log2);
    let written = before + grouped;
    if count > written {
        write_singles(memory, table, first + written, count - written, after(written), bits);
    }
}

/// The same, where there are several sizes of group.
fn write_groups<L: Level>(
    memory: &mut impl TableMemory<L::Word>,
    format: &L::Format,
    table: Table<L>,
    mut first: usize,
    mut count: usize,
    mut physical: u64,
    bits: Bits<L>,
) {
    // In both address spaces a group must be as far from the first entry, or there is none of that size.
    let misfit = (physical >> L::SHIFT) as u32 ^ first as u32;
    let groups = leaves_of::<L>(format) & L::GROUPS & up_to(misfit.trailing_zeros());
    while count > 0 {
        // The largest that starts here and is not longer than what is left; a single entry always is.
        let log2 = ((groups | 1) & up_to((first as u32).trailing_zeros().min(count.ilog2()))).ilog2();
        // As many of them as there are before the next larger one may start.
        let larger = groups & !up_to(log2);
        let room = first.wrapping_neg() & (larger & larger.wrapping_neg()).wrapping_sub(1) as usize;
        let entries = if larger == 0 || room == 0 { count } else { room.min(count) } >> log2 << log2;
        if log2 == 0 {
            write_singles(memory, table, first, entries, physical, bits);
        } else {
            write_equal_groups(memory, table, first, entries, physical, bits, log2);
        }
        (first, count) = (first + entries, count - entries);
        physical = physical.wrapping_add((entries as u64) << L::SHIFT);
    }
}

/// Writes `count` entries, all of them in groups of 2^`log2`.
#[inline(always)]
fn write_equal_groups<L: Level>(
    memory: &mut impl TableMemory<L::Word>,
    table: Table<L>,
    first: usize,
    count: usize,
    mut physical: u64,
    bits: Bits<L>,
    log2: u32,
) {
    match L::GROUP_ENTRIES {
        GroupEntries::Successive => {
            let step = L::step();
            memory.fill(table.address, first, count, L::group(physical, bits, log2).into(), step);
        }
        GroupEntries::Identical => {
            for group in 0..count >> log2 {
                let word = L::group(physical, bits, log2).into();
                memory.fill(table.address, first + (group << log2), 1 << log2, word, L::Word::ZERO);
                physical += size::<L>() << log2;
            }
        }
    }
}

/// The bits from 0 to `last`.
#[inline]
const fn up_to(last: u32) -> u32 {
    if last >= 31 { u32::MAX } else { (2 << last) - 1 }
}

/// Writes `count` entries, each a page of its own.
#[inline]
fn write_singles<L: Level>(
    memory: &mut impl TableMemory<L::Word>,
    table: Table<L>,
    first: usize,
    count: usize,
    physical: u64,
    bits: Bits<L>,
) {
    let word = L::leaf(physical, bits).into();
    // A single word is the common case, and not worth a loop.
    if count == 1 {
        memory.write(table.address, first, word);
    } else {
        memory.fill(table.address, first, count, word, L::step());
    }
}
