//! Mapping.

use super::fresh::{Needed, allocate};
use super::write::{Run, Stream, write};
use super::{Range, index, indexes, size, slot};
use crate::format::{Bits, Entry, Format, Level, Table};
use crate::{Segment, TableError, TableMemory, Word};

/// Why the engine refused to map. Who is in the way is found out afterwards.
#[derive(Debug)]
pub(crate) enum MapRefusal {
    Occupied,
    MixedSecurity { at: u64 },
    Table(TableError),
}

/// Segments as runs, those that are physically contiguous joined.
#[derive(Clone, Debug)]
pub(crate) struct Merge<I, B> {
    segments: core::iter::Fuse<I>,
    pending: Option<Segment>,
    at: u64,
    bits: B,
}

impl<I: Iterator<Item = Segment>, B> Merge<I, B> {
    #[inline]
    pub(crate) fn new(at: u64, segments: I, bits: B) -> Self {
        Self { segments: segments.fuse(), pending: None, at, bits }
    }
}

impl<I: Iterator<Item = Segment>, B: Copy> Iterator for Merge<I, B> {
    type Item = Run<B>;

    #[inline]
    fn next(&mut self) -> Option<Run<B>> {
        let first = self.pending.take().or_else(|| self.segments.next())?;
        let mut run = Run { at: self.at, physical: first.physical.raw(), len: first.len, bits: self.bits };
        for segment in self.segments.by_ref() {
            if segment.physical.raw() != run.physical + run.len {
                self.pending = Some(segment);
                break;
            }
            run.len += segment.len;
        }
        self.at += run.len;
        Some(run)
    }
}

/// Maps `runs`, which fill `range`, all with `bits`.
pub(crate) fn map<L: Level, I: Iterator<Item = Run<Bits<L>>> + Clone>(
    table: Table<L>,
    format: &L::Format,
    memory: &mut impl TableMemory<L::Word>,
    range: Range,
    runs: I,
    bits: Bits<L>,
) -> Result<(), MapRefusal> {
    match below(table, memory, range, bits)? {
        Some(child) => map(child, format, memory, range, runs, bits),
        None => map_at_anchor(table, format, memory, range, runs, bits),
    }
}

/// The table that all of `range` goes into, when `table` is not yet the anchor: when the range is part of one entry,
/// and that leads to a table.
#[inline]
fn below<L: Level>(
    table: Table<L>,
    memory: &impl TableMemory<L::Word>,
    range: Range,
    bits: Bits<L>,
) -> Result<Option<Table<L::Child>>, MapRefusal> {
    if L::LAST || !range.is_part_of_entry::<L>() {
        return Ok(None);
    }
    match L::entry(memory.read(table.address, index(table, range.at)).into()) {
        Entry::Table(child) => {
            allows(child, bits, slot::<L>(range.at))?;
            Ok(Some(child))
        }
        Entry::Free | Entry::Leaf { .. } => Ok(None),
    }
}

#[inline(never)]
fn map_at_anchor<L: Level, I: Iterator<Item = Run<Bits<L>>> + Clone>(
    table: Table<L>,
    format: &L::Format,
    memory: &mut impl TableMemory<L::Word>,
    range: Range,
    runs: I,
    bits: Bits<L>,
) -> Result<(), MapRefusal> {
    let mut needed = Needed::new();
    check(memory, table, range, bits, &mut needed)?;
    if !L::LAST {
        for run in runs.clone() {
            needed.count::<L>(format, &run);
        }
    }
    let mut fresh = allocate(format, memory, needed.tables()).map_err(MapRefusal::Table)?;
    write(memory, format, table, &mut Stream::new(runs), range.end, &mut fresh);
    debug_assert!(fresh.is_empty(), "fewer tables were needed than counted");
    fresh.free(memory);
    Ok(())
}

/// That nothing is mapped in `range`, and that pages with `bits` may be below the tables at its ends.
fn check<L: Level>(
    memory: &impl TableMemory<L::Word>,
    table: Table<L>,
    range: Range,
    bits: Bits<L>,
    needed: &mut Needed,
) -> Result<(), MapRefusal> {
    let mut whole = range;
    if !L::LAST {
        let (first, last) = (slot::<L>(range.at), slot::<L>(range.end - 1));
        if !range.covers(first) {
            check_below(memory, table, range.clamp(first), bits, needed)?;
            whole.at = first.end;
        }
        if last != first && !range.covers(last) {
            check_below(memory, table, range.clamp(last), bits, needed)?;
        }
        whole.end &= !(size::<L>() - 1);
    }
    if whole.at >= whole.end || is_free(memory, table, whole) { Ok(()) } else { Err(MapRefusal::Occupied) }
}

/// The same for a part of one entry.
fn check_below<L: Level>(
    memory: &impl TableMemory<L::Word>,
    table: Table<L>,
    range: Range,
    bits: Bits<L>,
    needed: &mut Needed,
) -> Result<(), MapRefusal> {
    match L::entry(memory.read(table.address, index(table, range.at)).into()) {
        Entry::Free => Ok(()),
        Entry::Leaf { .. } => Err(MapRefusal::Occupied),
        Entry::Table(child) => {
            allows(child, bits, slot::<L>(range.at))?;
            needed.has_table::<L>(range.at);
            check(memory, child, range, bits, needed)
        }
    }
}

#[inline]
fn allows<L: Level>(table: Table<L>, bits: Bits<L>, slot: Range) -> Result<(), MapRefusal> {
    if L::Format::allows(table.inherited, bits) {
        Ok(())
    } else {
        Err(MapRefusal::MixedSecurity { at: slot.at })
    }
}

/// Whether the entries of `range` are all zero.
#[inline]
pub(super) fn is_free<L: Level>(memory: &impl TableMemory<L::Word>, table: Table<L>, range: Range) -> bool {
    if range.end - range.at == size::<L>() {
        return memory.read(table.address, index(table, range.at)) == L::Word::ZERO;
    }
    memory.first_unlike(table.address, indexes(table, range), L::Word::ONES, L::Word::ZERO).is_none()
}
