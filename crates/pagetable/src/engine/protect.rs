//! Changing attributes.

use super::survey::{SurveyRefusal, split, survey};
use super::{Range, index, indexes, slot};
use crate::format::{Bits, Entry, Format, LeafSize, Level, Table};
use crate::{Gather, ProtectError, TableMemory, UnmapError};

/// Gives all pages of `range` the attributes `bits`.
pub(crate) fn protect<L: Level>(
    table: Table<L>,
    format: &L::Format,
    memory: &mut impl TableMemory<L::Word>,
    range: Range,
    bits: Bits<L>,
    gather: &mut Gather,
) -> Result<(), ProtectError> {
    if !L::LAST && range.is_part_of_entry::<L>() {
        let place = index(table, range.at);
        if let Entry::Table(child) = L::entry(memory.read(table.address, place).into()) {
            if !L::Format::allows(child.inherited, bits) {
                return Err(ProtectError::MixedSecurity { at: slot::<L>(range.at).at });
            }
            return protect(child, format, memory, range, bits, gather);
        }
    }
    let permits = |inherited| L::Format::allows(inherited, bits);
    let mut survey = survey(table, memory, range, &permits).map_err(|refusal| match refusal {
        SurveyRefusal::NotMapped { at } => ProtectError::Span(UnmapError::NotMapped { at }),
        SurveyRefusal::MixedSecurity { at } => ProtectError::MixedSecurity { at },
    })?;
    let Range { at, end } = survey.affected();
    if range.at != at || range.end != end {
        split(table, format, memory, &mut survey).map_err(UnmapError::Table)?;
    }
    rewrite(table, memory, range, bits);
    gather.add(Range { at, end }, survey.granule());
    Ok(())
}

/// Writes `bits` into the entries of all pages in `range`, which consists of whole pages.
fn rewrite<L: Level>(table: Table<L>, memory: &mut impl TableMemory<L::Word>, range: Range, bits: Bits<L>) {
    let words = indexes(table, range);
    let mut at = slot::<L>(range.at).at;
    for place in words.clone() {
        let slot = slot::<L>(at);
        at = slot.end;
        match L::entry(memory.read(table.address, place).into()) {
            Entry::Free => {}
            Entry::Leaf { physical, size: LeafSize::Single } => {
                memory.write(table.address, place, L::leaf(physical, bits).into());
            }
            Entry::Leaf { physical, size: LeafSize::Group { log2 } } => {
                // Each of the group in its turn, with the address that it has.
                memory.write(table.address, place, L::group(physical, bits, log2).into());
            }
            Entry::Table(child) => rewrite(child, memory, range.clamp(slot), bits),
        }
    }
    memory.publish(table.address, words);
}
