//! Which slot has which guest physical addresses.

use super::mapping::HostMapping;
use super::protection::Protection;
use crate::Error;
use std::collections::{BTreeMap, BTreeSet};
use vcm::Span;

/// A part of the guest's physical space with memory.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) number: u32,
    pub(super) span: Span,
    pub(super) protection: Protection,
    /// Kept until the kernel has removed the slot.
    pub(super) memory: HostMapping,
}

/// The slots of a virtual machine, by their first address.
#[derive(Debug)]
pub(crate) struct Slots {
    by_address: BTreeMap<u64, Slot>,
    /// Numbers below `next` that are free again.
    free: BTreeSet<u32>,
    next: u32,
    limit: u32,
    reserved: &'static [(u64, u64, &'static str)],
}

impl Slots {
    pub(crate) const fn new(limit: u32, reserved: &'static [(u64, u64, &'static str)]) -> Self {
        Self { by_address: BTreeMap::new(), free: BTreeSet::new(), next: 0, limit, reserved }
    }

    pub(super) const fn limit(&self) -> u32 {
        self.limit
    }

    pub(super) fn used(&self) -> usize {
        self.by_address.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.by_address.values()
    }

    /// The number for a new slot at `span`, which stays free until it is [inserted](Self::insert).
    pub(super) fn plan(&self, span: Span) -> Result<u32, Error> {
        let what = || format!("guest physical {:#x} to {:#x}", span.first(), span.last());
        let window = |&&(first, len, _): &&(u64, u64, &str)| {
            Span::new(first, len).is_some_and(|own| own.overlaps(span))
        };
        if let Some((first, len, whose)) = self.reserved.iter().find(window) {
            return Err(Error::argument(
                what(),
                format!("{first:#x} to {:#x} is for the {whose}", first + (len - 1)),
            ));
        }
        if let Some(other) = self.by_address.range(..=span.last()).next_back().map(|(_, slot)| slot)
            && other.span.overlaps(span)
        {
            let (first, last) = (other.span.first(), other.span.last());
            return Err(Error::argument(what(), format!("there is memory at {first:#x} to {last:#x}")));
        }
        if self.by_address.len() >= self.limit as usize {
            return Err(Error::argument(
                what(),
                format!(
                    "{} memory slots are used, and KVM has {} (KVM_CAP_NR_MEMSLOTS): map larger pieces, or several of them in one call",
                    self.by_address.len(),
                    self.limit
                ),
            ));
        }
        Ok(self.free.first().copied().unwrap_or(self.next))
    }

    pub(super) fn insert(&mut self, slot: Slot) {
        if !self.free.remove(&slot.number) {
            self.next = self.next.max(slot.number + 1);
        }
        self.by_address.insert(slot.span.first(), slot);
    }

    /// The first addresses of the slots in `span`.
    pub(super) fn inside(&self, span: Span) -> Result<Vec<u64>, Error> {
        let reaching = self.by_address.range(..=span.last()).rev().map(|(_, slot)| slot.span);
        let touched: Vec<Span> = reaching.take_while(|other| other.last() >= span.first()).collect();
        match touched.iter().find(|other| !span.covers(**other)) {
            Some(other) => Err(Error::argument(
                format!("guest physical {:#x} to {:#x}", span.first(), span.last()),
                format!(
                    "only a part of the mapping at {:#x} to {:#x}, which goes as a whole",
                    other.first(),
                    other.last()
                ),
            )),
            None => Ok(touched.iter().rev().map(|other| other.first()).collect()),
        }
    }

    pub(super) fn get(&self, first: u64) -> Option<&Slot> {
        self.by_address.get(&first)
    }

    /// Forgets a slot that the kernel has removed. What was its memory.
    pub(super) fn remove(&mut self, first: u64) -> Option<HostMapping> {
        let slot = self.by_address.remove(&first)?;
        self.free.insert(slot.number);
        Some(slot.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryFile;

    const PAGE: u64 = 4096;

    fn slots(limit: u32) -> Slots {
        Slots::new(limit, &[(0x10_0000, PAGE, "clock")])
    }

    fn map(slots: &mut Slots, page: u64) -> Result<u32, Error> {
        let span = Span::new(page * PAGE, PAGE).unwrap();
        let number = slots.plan(span)?;
        let file = MemoryFile::new("page", PAGE).unwrap();
        let memory = HostMapping::new(&[file.range(0, PAGE).unwrap()]).unwrap();
        slots.insert(Slot { number, span, protection: Protection::ReadWrite, memory });
        Ok(number)
    }

    #[test]
    fn the_end_has_a_number_and_what_is_free_is_used_again() {
        let mut slots = slots(3);
        assert_eq!([0, 2, 4].map(|page| map(&mut slots, page).unwrap()), [0, 1, 2]);
        let error = map(&mut slots, 6).unwrap_err().to_string();
        assert!(error.contains("3 memory slots are used, and KVM has 3"), "{error}");
        assert!(slots.remove(2 * PAGE).is_some());
        assert!(slots.remove(2 * PAGE).is_none());
        assert_eq!(map(&mut slots, 6).unwrap(), 1);
        assert_eq!(slots.used(), 3);
    }

    #[test]
    fn a_plan_that_is_not_carried_out_takes_nothing() {
        let slots = slots(1);
        let span = Span::new(0, PAGE).unwrap();
        assert_eq!((slots.plan(span).unwrap(), slots.plan(span).unwrap()), (0, 0));
    }

    #[test]
    fn what_others_answer_at_is_theirs() {
        let error = map(&mut slots(3), 0x100).unwrap_err().to_string();
        assert!(error.contains("0x100000 to 0x100fff is for the clock"), "{error}");
    }

    #[test]
    fn only_whole_mappings_are_inside() {
        let mut slots = slots(9);
        for page in [1, 2, 4] {
            map(&mut slots, page).unwrap();
        }
        let inside = |first: u64, last: u64| slots.inside(Span::inclusive(first, last).unwrap());
        assert_eq!(inside(PAGE, 5 * PAGE - 1).unwrap(), [PAGE, 2 * PAGE, 4 * PAGE]);
        assert_eq!(inside(0, 0).unwrap(), Vec::<u64>::new());
        assert_eq!(inside(0, u64::MAX).unwrap().len(), 3);
        assert!(inside(PAGE + 1, 3 * PAGE).is_err());
        assert!(inside(PAGE, 4 * PAGE).is_err());
    }
}
