//! Unmapping.

use super::survey::{SurveyRefusal, split, survey};
use super::walk::next_table;
use super::{Range, index, indexes, size, slot};
use crate::format::{Entry, Format, Level, Table};
use crate::{Gather, TableChain, TableMemory, UnmapError, Word};

/// Whether a table, or a range of it, is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    Something,
    Nothing,
}

/// Unmaps `range`, and unlinks the tables that become empty.
pub(crate) fn unmap<L: Level>(
    table: Table<L>,
    format: &L::Format,
    memory: &mut impl TableMemory<L::Word>,
    range: Range,
    gather: &mut Gather,
) -> Result<(), UnmapError> {
    if clear_pages(table, format, memory, range, gather)? == Left::Nothing {
        prune(table, format, memory, range, gather.tables_mut());
    }
    Ok(())
}

/// Clears the entries of all pages in `range`. Tells what is left in the lowest table that has all of it.
fn clear_pages<L: Level>(
    table: Table<L>,
    format: &L::Format,
    memory: &mut impl TableMemory<L::Word>,
    range: Range,
    gather: &mut Gather,
) -> Result<Left, UnmapError> {
    match below(table, memory, range) {
        Some(child) => clear_pages(child, format, memory, range, gather),
        None => clear_at_anchor(table, format, memory, range, gather),
    }
}

/// The table that all of `range` is in, when `table` is not yet the anchor: when the range is part of one entry, and
/// that leads to a table.
#[inline]
fn below<L: Level>(
    table: Table<L>,
    memory: &impl TableMemory<L::Word>,
    range: Range,
) -> Option<Table<L::Child>> {
    if L::LAST || !range.is_part_of_entry::<L>() {
        return None;
    }
    match L::entry(memory.read(table.address, index(table, range.at)).into()) {
        Entry::Table(child) => Some(child),
        Entry::Free | Entry::Leaf { .. } => None,
    }
}

fn clear_at_anchor<L: Level>(
    table: Table<L>,
    format: &L::Format,
    memory: &mut impl TableMemory<L::Word>,
    range: Range,
    gather: &mut Gather,
) -> Result<Left, UnmapError> {
    let mut survey = survey(table, memory, range, &|_| true).map_err(|refusal| match refusal {
        SurveyRefusal::NotMapped { at } | SurveyRefusal::MixedSecurity { at } => UnmapError::NotMapped { at },
    })?;
    let Range { at, end } = survey.affected();
    if range.at != at || range.end != end {
        split(table, format, memory, &mut survey)?;
    }
    let removed = remove(table, memory, range, survey.nested(), gather.tables_mut());
    gather.add(Range { at, end }, survey.granule());
    Ok(match removed {
        Left::Something => Left::Something,
        Left::Nothing => left(table, format, memory, indexes(table, range)),
    })
}

/// Unlinks the lowest table on the way to `range`, which is empty now, and all above it that become empty. The root
/// stays.
pub(crate) fn prune<L: Level>(
    table: Table<L>,
    format: &L::Format,
    memory: &mut impl TableMemory<L::Word>,
    range: Range,
    dead: &mut TableChain,
) -> Left {
    let Some(child) = below(table, memory, range) else {
        return Left::Nothing;
    };
    if prune(child, format, memory, range, dead) == Left::Something {
        return Left::Something;
    }
    let words = indexes(table, range);
    clear(memory, table, words.clone());
    dead.push(child.address, L::Format::TABLE_BYTES, memory);
    left(table, format, memory, words)
}

/// What is left in a table of which `cleared` was cleared. The root counts as in use.
fn left<L: Level>(
    table: Table<L>,
    format: &L::Format,
    memory: &impl TableMemory<L::Word>,
    cleared: core::ops::Range<usize>,
) -> Left {
    if L::DEPTH != format.start() && is_empty(memory, table, cleared) {
        Left::Nothing
    } else {
        Left::Something
    }
}

/// Clears all entries in `range`, which consists of whole pages, and unlinks the tables that become empty. Tells
/// whether an entry with a byte in the range remains.
fn remove<L: Level>(
    table: Table<L>,
    memory: &mut impl TableMemory<L::Word>,
    range: Range,
    nested: bool,
    dead: &mut TableChain,
) -> Left {
    let words = indexes(table, range);
    if L::LAST || !nested {
        clear(memory, table, words);
        return Left::Nothing;
    }
    let base = slot::<L>(range.at).at;
    let mut left = Left::Nothing;
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
        let cleared = indexes(child, below);
        if remove(child, memory, below, true, dead) == Left::Nothing && is_empty(memory, child, cleared) {
            dead.push(child.address, L::Format::TABLE_BYTES, memory);
            continue;
        }
        left = Left::Something;
        clear(memory, table, clear_from..place);
        clear_from = next;
    }
    clear(memory, table, clear_from..words.end);
    left
}

/// Clears entries.
#[inline]
pub(super) fn clear<L: Level>(
    memory: &mut impl TableMemory<L::Word>,
    table: Table<L>,
    words: core::ops::Range<usize>,
) {
    match words.len() {
        0 => return,
        1 => memory.write(table.address, words.start, L::Word::ZERO),
        // The same, for a length that the compiler sees.
        // (A group of 2^n entries is bit n, so where there is one size of group, that is its number of entries.)
        count if L::GROUPS.is_power_of_two() && count == L::GROUPS as usize => {
            memory.fill(table.address, words.start, L::GROUPS as usize, L::Word::ZERO, L::Word::ZERO);
        }
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

/// Whether all entries outside `cleared` are zero.
pub(super) fn is_empty<L: Level>(
    memory: &impl TableMemory<L::Word>,
    table: Table<L>,
    cleared: core::ops::Range<usize>,
) -> bool {
    !is_used_beside(memory, table, cleared.clone())
        && [0..cleared.start, cleared.end..L::ENTRIES]
            .into_iter()
            .all(|words| memory.first_unlike(table.address, words, L::Word::ONES, L::Word::ZERO).is_none())
}

/// Whether an entry next to `words` is in use. Mappings cluster: mostly one is, and the table is not empty.
#[inline]
pub(super) fn is_used_beside<L: Level>(
    memory: &impl TableMemory<L::Word>,
    table: Table<L>,
    words: core::ops::Range<usize>,
) -> bool {
    let used = |index: usize| memory.read(table.address, index) != L::Word::ZERO;
    // Above first: ranges are mostly unmapped in ascending order.
    words.end < L::ENTRIES && used(words.end) || words.start > 0 && used(words.start - 1)
}
