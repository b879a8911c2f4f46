//! Unmapping.

use super::survey::{SurveyRefusal, split, survey};
use super::walk::next_table;
use super::{Range, index, indexes, size, slot};
use crate::format::{Entry, Format, Level, Table};
use crate::{Gather, TableChain, TableMemory, UnmapError, Word};
use vcm::Span;

/// Whether a table has a page left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Remains {
    Something,
    Nothing,
}

/// Unmaps `range`. Tells whether the table is empty now, unless it is the root.
#[inline]
pub(crate) fn unmap<L: Level>(
    table: Table<L>,
    format: &L::Format,
    memory: &mut impl TableMemory<L::Word>,
    range: Range,
    gather: &mut Gather,
) -> Result<Remains, UnmapError> {
    let here = slot::<L>(range.at);
    if !L::LAST && !range.covers(here) && range.end <= here.end {
        // All of it goes below one entry: if that leads to a table, this is not yet the anchor.
        let place = index::<L>(range.at);
        if let Entry::Table(child) = L::entry(memory.read(table.address, place).into()) {
            if unmap(child, format, memory, range, gather)? == Remains::Something {
                return Ok(Remains::Something);
            }
            memory.write(table.address, place, L::Word::ZERO);
            memory.publish(table.address, place..place + 1);
            gather.tables_mut().push(child.address, L::Format::TABLE_BYTES, memory);
            return Ok(remains(table, format, memory, place..place + 1));
        }
    }
    if L::LEAF && (range.at | range.end) & (size::<L>() - 1) == 0 && all_single(memory, table, range) {
        // The short way, for what most calls are: nothing to split, nothing below.
        let first = index::<L>(range.at);
        let words = first..first + ((range.end - range.at) >> L::SHIFT) as usize;
        clear(memory, table, words.clone());
        if let Some(span) = Span::inclusive(range.at, range.end - 1) {
            gather.add(span, size::<L>());
        }
        return Ok(remains(table, format, memory, words));
    }
    unmap_at_anchor(table, format, memory, range, gather)
}

#[inline(never)]
fn unmap_at_anchor<L: Level>(
    table: Table<L>,
    format: &L::Format,
    memory: &mut impl TableMemory<L::Word>,
    range: Range,
    gather: &mut Gather,
) -> Result<Remains, UnmapError> {
    let mut survey = survey(table, memory, range, &|_| true).map_err(|refusal| match refusal {
        SurveyRefusal::NotMapped { at } | SurveyRefusal::MixedSecurity { at } => UnmapError::NotMapped { at },
    })?;
    let Range { at, end } = survey.affected();
    if range.at != at || range.end != end {
        split(table, format, memory, &mut survey)?;
    }
    let left = remove(table, memory, range, survey.nested(), gather.tables_mut());
    if let Some(span) = Span::inclusive(at, end - 1) {
        gather.add(span, survey.granule());
    }
    Ok(match left {
        Remains::Something => Remains::Something,
        Remains::Nothing => remains(table, format, memory, indexes::<L>(range)),
    })
}

/// Clears all entries in `range`, which consists of whole pages, and unlinks the tables that become empty. Tells
/// whether an entry with a byte in the range remains.
fn remove<L: Level>(
    table: Table<L>,
    memory: &mut impl TableMemory<L::Word>,
    range: Range,
    nested: bool,
    dead: &mut TableChain,
) -> Remains {
    let words = indexes::<L>(range);
    if L::LAST || !nested {
        clear(memory, table, words);
        return Remains::Nothing;
    }
    let base = slot::<L>(range.at).at;
    let mut left = Remains::Nothing;
    let (mut clear_from, mut next) = (words.start, words.start);
    while let Some(place) = next_table(memory, table, next..words.end) {
        next = place + 1;
        let Entry::Table(child) = L::entry(memory.read(table.address, place).into()) else {
            continue;
        };
        let slot = slot::<L>(base + ((place - words.start) as u64) * size::<L>());
        if range.covers(slot) {
            bury(child, memory, dead);
            continue;
        }
        let below = range.clamp(slot);
        if remove(child, memory, below, true, dead) == Remains::Nothing
            && is_empty(child, memory, indexes::<L::Child>(below))
        {
            dead.push(child.address, L::Format::TABLE_BYTES, memory);
            continue;
        }
        left = Remains::Something;
        clear(memory, table, clear_from..place);
        clear_from = next;
    }
    clear(memory, table, clear_from..words.end);
    left
}

/// Whether all entries of `range` are pages of their own.
#[inline]
fn all_single<L: Level>(memory: &impl TableMemory<L::Word>, table: Table<L>, range: Range) -> bool {
    let (mask, value) = L::LEAF_TEST;
    if range.end - range.at == size::<L>() {
        return memory.read(table.address, index::<L>(range.at)) & mask == value;
    }
    memory.first_unlike(table.address, indexes::<L>(range), mask, value).is_none()
}

#[inline]
fn clear<L: Level>(memory: &mut impl TableMemory<L::Word>, table: Table<L>, words: core::ops::Range<usize>) {
    match words.len() {
        0 => return,
        1 => memory.write(table.address, words.start, L::Word::ZERO),
        count => memory.fill(table.address, words.start, count, L::Word::ZERO, L::Word::ZERO),
    }
    memory.publish(table.address, words);
}

/// Adds a table and all below it to the list of tables that wait for invalidation. Their entries stay as they are:
/// with the entry that leads to the table gone, only a translation cache still finds them.
fn bury<L: Level>(table: Table<L>, memory: &mut impl TableMemory<L::Word>, dead: &mut TableChain) {
    if !L::LAST {
        let mut next = 0;
        while let Some(place) = next_table(memory, table, next..L::ENTRIES) {
            if let Entry::Table(child) = L::entry(memory.read(table.address, place).into()) {
                bury(child, memory, dead);
            }
            next = place + 1;
        }
    }
    dead.push(table.address, L::Format::TABLE_BYTES, memory);
}

/// Whether the table, whose entries in `cleared` are zero, is empty. The root is not asked: it stays.
#[inline]
fn remains<L: Level>(
    table: Table<L>,
    format: &L::Format,
    memory: &impl TableMemory<L::Word>,
    cleared: core::ops::Range<usize>,
) -> Remains {
    if L::DEPTH != format.start() && is_empty(table, memory, cleared) {
        Remains::Nothing
    } else {
        Remains::Something
    }
}

/// Whether all entries outside `cleared` are zero. Those next to it are looked at first: mappings cluster.
#[inline]
fn is_empty<L: Level>(
    table: Table<L>,
    memory: &impl TableMemory<L::Word>,
    cleared: core::ops::Range<usize>,
) -> bool {
    let used = |index: usize| memory.read(table.address, index) != L::Word::ZERO;
    if cleared.start > 0 && used(cleared.start - 1) || cleared.end < L::ENTRIES && used(cleared.end) {
        return false;
    }
    others_are_zero(memory, table, cleared)
}

#[inline(never)]
fn others_are_zero<L: Level>(
    memory: &impl TableMemory<L::Word>,
    table: Table<L>,
    cleared: core::ops::Range<usize>,
) -> bool {
    [0..cleared.start, cleared.end..L::ENTRIES]
        .into_iter()
        .all(|words| memory.first_unlike(table.address, words, L::Word::ONES, L::Word::ZERO).is_none())
}
