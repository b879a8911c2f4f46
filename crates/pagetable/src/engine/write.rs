//! The writing pass: runs of pages into tables, in one walk. It cannot fail.

use super::{Range, index, size, slot};
use crate::format::{Bits, Entry, Level, Table};
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
        if L::LAST || (L::LEAF && !ragged) {
            let count = (run.len >> L::SHIFT) as usize;
            write_leaves::<L>(memory, table, index::<L>(run.at), count, run.physical, run.bits);
            stream.eat((count as u64) << L::SHIFT);
            reached = run.at + ((count as u64) << L::SHIFT);
        } else {
            let place = index::<L>(run.at);
            let slot_end = slot::<L>(run.at).end.min(end);
            match L::entry(memory.read(table.address, place).into()) {
                Entry::Table(child) => write(memory, child, stream, slot_end, fresh),
                Entry::Free | Entry::Leaf { .. } => {
                    let Some(address) = fresh.pop(memory) else {
                        // Only when the caller's iterator yielded something else than before.
                        debug_assert!(false, "more tables are needed than were counted");
                        return;
                    };
                    let descriptor = L::table(address, run.bits);
                    if let Entry::Table(child) = L::entry(descriptor) {
                        write(memory, child, stream, slot_end, fresh);
                    }
                    memory.write(table.address, place, descriptor.into());
                }
            }
            reached = slot_end;
        }
    }
    memory.publish(table.address, index::<L>(start)..index::<L>(reached - 1) + 1);
}

/// Writes `count` entries from `first` on, in groups where both addresses allow.
#[inline]
pub(super) fn write_leaves<L: Level>(
    memory: &mut impl TableMemory<L::Word>,
    table: Table<L>,
    first: usize,
    count: usize,
    physical: u64,
    bits: Bits<L>,
) {
    let step = L::Word::truncate(size::<L>());
    if count == 1 {
        memory.write(table.address, first, L::leaf(physical, bits).into());
        return;
    }
    let singles = |memory: &mut _, first: usize, count: usize, physical: u64| {
        fill(memory, table, first, count, L::leaf(physical, bits).into(), step);
    };
    // How many entries before the next group: the same for both addresses, or there is no group.
    let misfit = (physical >> L::SHIFT) as usize ^ first;
    let before = first.wrapping_neg() & (L::GROUP - 1);
    if L::GROUP == 1 || misfit & (L::GROUP - 1) != 0 || count < before + L::GROUP {
        return singles(memory, first, count, physical);
    }
    if before > 0 {
        singles(memory, first, before, physical);
    }
    let group_size = size::<L>() * L::GROUP as u64;
    let groups = (count - before) / L::GROUP;
    let mut physical = physical + ((before as u64) << L::SHIFT);
    for group in 0..groups {
        let at = first + before + group * L::GROUP;
        memory.fill(table.address, at, L::GROUP, L::group(physical, bits).into(), L::Word::ZERO);
        physical += group_size;
    }
    let written = before + groups * L::GROUP;
    if count > written {
        singles(memory, first + written, count - written, physical);
    }
}

/// A single word is the common case, and not worth a loop.
#[inline]
fn fill<L: Level>(
    memory: &mut impl TableMemory<L::Word>,
    table: Table<L>,
    first: usize,
    count: usize,
    value: L::Word,
    step: L::Word,
) {
    if count == 1 {
        memory.write(table.address, first, value);
    } else {
        memory.fill(table.address, first, count, value, step);
    }
}
