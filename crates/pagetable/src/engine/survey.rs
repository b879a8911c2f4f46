//! The reading pass of unmapping and protecting (is all of it mapped, and which pages must be split?), and the split.

use super::fresh::{Needed, allocate};
use super::walk::{Page, page};
use super::write::{Run, Stream, write};
use super::{Range, indexes, size, slot};
use crate::format::{Bits, Entry, Inherited, Level, Table};
use crate::{TableError, TableMemory};
use vcm::PhysicalAddress;

/// What is known of a range in which everything is mapped.
#[derive(Debug)]
pub(super) struct Survey<B> {
    range: Range,
    /// The page that starts before the range and reaches into it.
    head: Option<Page<B>>,
    /// The page that reaches beyond the end of the range; may be the same.
    tail: Option<Page<B>>,
    /// What the smallest entry covers, in bytes.
    granule: u64,
    /// Whether there are tables below the anchor.
    nested: bool,
    needed: Needed,
}

/// Why the range cannot be changed.
#[derive(Debug)]
pub(super) enum SurveyRefusal {
    NotMapped { at: u64 },
    MixedSecurity { at: u64 },
}

impl<B: Copy> Survey<B> {
    #[inline]
    fn new(range: Range) -> Self {
        Self { range, head: None, tail: None, granule: u64::MAX, nested: false, needed: Needed::new() }
    }

    /// The range with all of the pages that are only partly in it.
    #[inline]
    pub(super) fn affected(&self) -> Range {
        let at = self.head.map_or(self.range.at, |page| page.at);
        let end = self.tail.map_or(self.range.end, |page| page.range().end);
        Range { at, end }
    }

    #[inline]
    pub(super) const fn granule(&self) -> u64 {
        self.granule
    }

    /// Whether there are tables below the anchor, counting those that splitting makes.
    #[inline]
    pub(super) const fn nested(&self) -> bool {
        self.nested || self.head.is_some() || self.tail.is_some()
    }

    /// Whether the page was found to be cut by an end of the range.
    #[inline]
    fn note(&mut self, page: Page<B>) {
        if page.at < self.range.at {
            self.head = Some(page);
        }
        if page.range().end > self.range.end {
            self.tail = Some(page);
        }
    }
}

/// Finds out whether all of `range`, which is in `table`, is mapped, and whether every table that it passes, or
/// that splitting makes, satisfies `permits`.
#[inline]
pub(super) fn survey<L: Level>(
    table: Table<L>,
    memory: &impl TableMemory<L::Word>,
    range: Range,
    permits: &impl Fn(Inherited<L>) -> bool,
) -> Result<Survey<Bits<L>>, SurveyRefusal> {
    let mut survey = Survey::new(range);
    look(table, memory, range, permits, &mut survey)?;
    Ok(survey)
}

fn look<L: Level>(
    table: Table<L>,
    memory: &impl TableMemory<L::Word>,
    range: Range,
    permits: &impl Fn(Inherited<L>) -> bool,
    survey: &mut Survey<Bits<L>>,
) -> Result<(), SurveyRefusal> {
    let words = indexes(table, range);
    let base = slot::<L>(range.at).at;
    let address = |index: usize| base + (((index - words.start) as u64) << L::SHIFT);
    let (mask, value) = L::LEAF_TEST;
    let mut next = words.start;
    while next < words.end {
        if L::LEAF {
            let stop = memory.first_unlike(table.address, next..words.end, mask, value).unwrap_or(words.end);
            if stop > next {
                survey.granule = survey.granule.min(size::<L>());
                // Of pages one entry in size, only the first and the last can be cut.
                if !L::LAST {
                    for index in [next, stop - 1] {
                        if !range.covers(slot::<L>(address(index))) {
                            cut(table, memory, index, address(index), permits, survey)?;
                        }
                    }
                }
                next = stop;
                continue;
            }
        }
        let at = address(next);
        let descriptor = L::Descriptor::from(memory.read(table.address, next));
        match L::entry(descriptor) {
            Entry::Free => return Err(SurveyRefusal::NotMapped { at: at.max(range.at) }),
            Entry::Leaf { .. } => {
                survey.granule = survey.granule.min(size::<L>());
                let end = cut(table, memory, next, at, permits, survey)?;
                next += ((end - at) >> L::SHIFT) as usize;
            }
            Entry::Table(child) => {
                let slot = slot::<L>(at);
                if !permits(child.inherited) {
                    return Err(SurveyRefusal::MixedSecurity { at });
                }
                if !range.covers(slot) {
                    survey.needed.has_table::<L>(at);
                }
                survey.nested = true;
                look(child, memory, range.clamp(slot), permits, survey)?;
                next += 1;
            }
        }
    }
    Ok(())
}

/// Notes the page at `index` where an end of the range cuts it. Returns where the page ends.
fn cut<L: Level>(
    table: Table<L>,
    memory: &impl TableMemory<L::Word>,
    index: usize,
    at: u64,
    permits: &impl Fn(Inherited<L>) -> bool,
    survey: &mut Survey<Bits<L>>,
) -> Result<u64, SurveyRefusal> {
    let descriptor = L::Descriptor::from(memory.read(table.address, index));
    let Entry::Leaf { physical, size: leaf } = L::entry(descriptor) else {
        return Ok(at + size::<L>());
    };
    let page = page(table, descriptor, at, physical, leaf);
    let pages = page.range();
    for end in [survey.range.at, survey.range.end] {
        // Cut within one entry: its parts will be in a table, which says what the page said.
        if pages.at < end && end < pages.end && end & (size::<L>() - 1) != 0 {
            let made = L::entry(L::table(PhysicalAddress::new(0), page.bits));
            if let Entry::Table(made) = made
                && !permits(made.inherited)
            {
                return Err(SurveyRefusal::MixedSecurity { at: slot::<L>(end).at });
            }
        }
    }
    survey.note(page);
    Ok(pages.end)
}

/// Splits the pages that the ends of the range cut, so that the range consists of whole pages. What is translated,
/// and how, does not change.
pub(super) fn split<L: Level>(
    table: Table<L>,
    format: &L::Format,
    memory: &mut impl TableMemory<L::Word>,
    survey: &mut Survey<Bits<L>>,
) -> Result<(), TableError> {
    let Range { at, end } = survey.range;
    let part = |page: Page<Bits<L>>, from: u64, to: u64| {
        let (from, to) = (from.max(page.at), to.min(page.range().end));
        let physical = page.physical + from.wrapping_sub(page.at);
        (from < to).then(|| Run { at: from, physical, len: to - from, bits: page.bits })
    };
    let head = survey.head.map(|page| [part(page, 0, at), part(page, at, end), part(page, end, u64::MAX)]);
    // When one page is cut by both ends, the head has all three parts of it.
    let tail = survey
        .tail
        .filter(|page| page.at >= at)
        .map(|page| [part(page, 0, end), part(page, end, u64::MAX), None]);
    let runs = head.into_iter().chain(tail).flatten().flatten();
    for run in runs.clone() {
        survey.needed.count::<L>(format, &run);
    }
    let mut fresh = allocate(format, memory, survey.needed.tables())?;
    write(memory, format, table, &mut Stream::new(runs), survey.affected().end, &mut fresh);
    debug_assert!(fresh.is_empty(), "fewer tables were needed than counted");
    fresh.free(memory);
    Ok(())
}
